"""Certificates of every kind for tests, made with the openssl command in a directory of the test."""
import pathlib
import subprocess

CONFIG = """[ca]
default_ca = the_ca
[the_ca]
dir = {dir}
database = {dir}/index
serial = {dir}/serial
new_certs_dir = {dir}
certificate = {dir}/ca.pem
private_key = {dir}/ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
commonName = selfmon test
"""


class Authority:
    """A private CA in `folder`; `ca` is its certificate."""

    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        (self.dir / "index").touch()
        (self.dir / "serial").write_text("01\n")
        (self.dir / "config").write_text(CONFIG.format(dir=self.dir))
        self.ca = self.dir / "ca.pem"
        self.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.dir / "ca.key", "-out", self.ca,
                 "-subj", "/CN=selfmon test CA", "-days", "30", "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def run(self, *args):
        subprocess.run(["openssl", *map(str, args[:1]), "-config", str(self.dir / "config"), *map(str, args[1:])],
                       check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def issue(self, name, san="IP:127.0.0.1,DNS:localhost", dates=("20200101000000Z", "20400101000000Z")):
        """(certificate, key) signed by this CA; dates give its life."""
        key, request, cert = (self.dir / f"{name}.{end}" for end in ("key", "csr", "pem"))
        self.run("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request,
                 "-subj", f"/CN={name}", "-addext", f"subjectAltName={san}")
        self.run("ca", "-batch", "-notext", "-in", request, "-out", cert, "-startdate", dates[0],
                 "-enddate", dates[1])
        return cert, key

    def expired(self, name="expired"):
        return self.issue(name, dates=("20200101000000Z", "20200201000000Z"))

    def self_signed(self, name="alone"):
        cert, key = self.dir / f"{name}.pem", self.dir / f"{name}.key"
        self.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "30",
                 "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        return cert, key
