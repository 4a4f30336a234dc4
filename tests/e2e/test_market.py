#!/usr/bin/python3
"""`market`: ready-made inspections: list, install from the program, a folder and an archive, diff and upgrade
without touching an edit; hostile archives; two at once."""
import contextlib
import gzip
import hashlib
import http.server
import io
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading

from harness import BINARY, ROOT, clean_env, project, run_all

sys.path.insert(0, str(ROOT / "tests" / "fakes"))
import certificates

HEADER = re.compile(r"-- from market: source=(\S+) version=(\S+) sha256=([0-9a-f]{64})\n")
SCRIPT = 'monitor{ title = "Shop", schedule = "@hourly" }\nfunction run() print(require "lib.shop".name) end\n'
LIB = 'return { name = "shop" }\n'


def sha(text):
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def market(p, *args, code=0):
    done = p.run("market", *args)
    assert done.code == code, done
    return done


def path(p, name):
    return p.dir / "inspections" / name


def split(p, name):
    text = path(p, name).read_text()
    found = HEADER.match(text)
    assert found, text[:200]
    return found, text[found.end():]


def as_old(p, name, text):
    """A file as an older version of the program had installed it."""
    path(p, name).parent.mkdir(exist_ok=True)
    path(p, name).write_text(f"-- from market: source=selfmon-lua version=0.0.9 sha256={sha(text)}\n{text}")


def tree(p):
    base = p.dir / "inspections"
    return {str(f.relative_to(base)): f.read_text() for f in base.rglob("*") if f.is_file()}


def test_list():
    """list: name, what it checks, needs; all that is shipped and nothing else"""
    with project() as p:
        rows = p.run("market", "list", "--json").json()
        shipped = {str(f.relative_to(ROOT / "inspections"))[:-4] for f in (ROOT / "inspections").rglob("*.lua")
                   if not f.name.endswith("_spec.lua") and not f.name.endswith(".conf.lua") and f.parts[-2] != "lib"
                   and "lib" not in f.relative_to(ROOT / "inspections").parts[:1]}
        assert {r["name"] for r in rows} == shipped and shipped, (rows, shipped)
        for r in rows:
            assert r["title"] and r["checks"] and r["inspections"] and r["spec"] and r["state"] is None, r
        (endpoint,) = [r for r in rows if r["name"] == "http/endpoint"]
        assert endpoint["params"] == ["urls"] and endpoint["tags"] == ["http"], endpoint
        out = market(p, "list").out
        assert all(r["name"] in out and r["title"] in out for r in rows), out
        market(p, "install", "host/disk")
        assert re.search(r"host/disk +installed", market(p, "list").out)


def test_install():
    """install: script, spec and modules with a header; they load, pass their spec and are clean"""
    with project() as p:
        out = market(p, "install", "host/disk", "tls").out
        assert "installed  host/disk.lua" in out and "installed  tls/certificate_spec.lua" in out, out
        for name in ("host/disk.lua", "host/disk_spec.lua", "tls/certificate.lua"):
            found, text = split(p, name)
            assert text == (ROOT / "inspections" / name).read_text()
            assert found.group(1) == "selfmon-lua" and found.group(3) == sha(text), found.group(0)
        assert not path(p, "host/load.lua").exists()
        assert p.run("test", "inspections").code == 0
        assert p.run("lint", "inspections").code == 0
        before = tree(p)
        assert "installed" not in market(p, "install", "host/disk").out
        assert tree(p) == before
        done = market(p, "install", "host/dsk", code=1)
        assert 'did you mean "host/disk"?' in done.err, done
        assert tree(p) == before


def test_everything_installs():
    """all of it installs into an empty root, passes its specs and draws no finding"""
    with project() as p:
        folders = sorted({f.relative_to(ROOT / "inspections").parts[0] for f in (ROOT / "inspections").rglob("*.lua")
                          if len(f.relative_to(ROOT / "inspections").parts) > 1})
        market(p, "install", *[f for f in folders if f != "lib"])
        installed = {n for n in tree(p) if not n.startswith("lib/")}
        shipped = {str(f.relative_to(ROOT / "inspections")) for f in (ROOT / "inspections").rglob("*.lua")
                   if not f.name.endswith(".conf.lua")}
        assert installed == {n for n in shipped if not n.startswith("lib/")}
        done = p.run("lint", "inspections")
        assert done.code == 0, done
        assert p.run("test", "inspections", timeout=300).code == 0


def test_the_program_alone():
    """the executable carries them: copied alone it installs"""
    with project() as p:
        shutil.copy(BINARY, p.dir / "alone")
        done = subprocess.run([p.dir / "alone", "market", "install", "host/load"], cwd=p.dir, env=clean_env(),
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and path(p, "host/load.lua").exists(), done


def test_edits_are_kept():
    """upgrade: what is unedited is replaced, an edit stays and the new version lies beside it"""
    with project() as p:
        as_old(p, "host/disk.lua", "-- old\n")
        as_old(p, "host/load.lua", "-- old too\n")
        edited = path(p, "host/load.lua").read_text() + "-- mine\n"
        path(p, "host/load.lua").write_text(edited)
        mine = path(p, "host/memory.lua")
        mine.write_text("-- written by hand\n")
        done = market(p, "diff", code=1)
        assert "host/disk.lua: newer (selfmon-lua 0.0.9)" in done.out, done
        assert "host/load.lua: edited, newer" in done.out and "+-- mine" in done.out, done
        assert "memory" not in done.out
        done = market(p, "upgrade", code=1)
        assert "upgraded   host/disk.lua" in done.out and "kept       host/load.lua" in done.out, done
        assert split(p, "host/disk.lua")[1] == (ROOT / "inspections/host/disk.lua").read_text()
        assert path(p, "host/load.lua").read_text() == edited
        beside = path(p, "host/load.lua.new").read_text()
        assert beside.endswith((ROOT / "inspections/host/load.lua").read_text()) and HEADER.match(beside)
        assert mine.read_text() == "-- written by hand\n"
        # An edit of the newest version: nothing to bring.
        market(p, "install", "host/disk")
        now = path(p, "host/disk.lua").read_text().replace("default = 85", "default = 80", 1)
        path(p, "host/disk.lua").write_text(now)
        done = market(p, "upgrade", "host/disk")
        assert "edited     host/disk.lua" in done.out and path(p, "host/disk.lua").read_text() == now, done
        assert not path(p, "host/disk.lua.new").exists()
        done = market(p, "diff", "host/disk", code=1)
        assert "+    warning  = { type = \"number\", default = 80" in done.out, done
        assert done.out.count("\n@@ ") == 1 and "load" not in done.out, done
        found = p.run("market", "diff", "--json").json()
        assert {f["file"]: f["state"] for f in found} == {"host/disk.lua": "edited", "host/disk_spec.lua": "same",
                                                          "host/load.lua": "edited, newer",
                                                          "host/load_spec.lua": "same"}, found
        # The edited file taken as it is shipped now is no edit any more.
        shutil.move(path(p, "host/load.lua.new"), path(p, "host/load.lua"))
        assert "edited     host/disk.lua" in market(p, "upgrade").out


def test_diff_is_a_patch():
    """the difference that is shown turns one text into the other (patch -R)"""
    with project() as p:
        market(p, "install", "host/disk")
        original = split(p, "host/disk.lua")[1]
        head = path(p, "host/disk.lua").read_text()[:-len(original)]
        lines = original.splitlines()
        changed = ["-- first"] + lines[:5] + lines[9:30] + ["-- inserted", "-- two"] + lines[30:-3] + ["end -- last"]
        path(p, "host/disk.lua").write_text(head + "\n".join(changed) + "\n")
        text = market(p, "diff", code=1).out.split("\n", 1)[1]
        (p.dir / "a.lua").write_text(original)
        done = subprocess.run(["patch", "-s", str(p.dir / "a.lua")], input=text, text=True, capture_output=True)
        assert done.returncode == 0, (done, text)
        assert (p.dir / "a.lua").read_text() == "\n".join(changed) + "\n"


def test_foreign_files():
    """a file that did not come from the market is never touched: nothing at all is written"""
    with project() as p:
        path(p, "tls").mkdir()
        path(p, "tls/certificate.lua").write_text("-- mine\n")
        before = tree(p)
        done = market(p, "install", "host/disk", "tls", code=1)
        assert "tls/certificate.lua is there already" in done.err and tree(p) == before, (done, tree(p))
        # The same text without the header is no conflict.
        path(p, "tls/certificate.lua").write_text((ROOT / "inspections/tls/certificate.lua").read_text())
        assert "same       tls/certificate.lua" in market(p, "install", "tls").out


def test_links_in_the_root():
    """a link in the root does not lead a file out of it"""
    with project() as p:
        outside = p.dir / "outside"
        outside.mkdir()
        path(p, "host").symlink_to(outside)
        done = market(p, "install", "host/disk", code=1)
        assert "host" in done.err and not list(outside.iterdir()), done
        path(p, "host").unlink()
        path(p, "host").mkdir()
        path(p, "host/disk.lua").symlink_to(outside / "target.lua")
        done = market(p, "install", "host/disk", code=1)
        assert not list(outside.iterdir()) and path(p, "host/disk.lua").is_symlink(), done
        assert not path(p, "host/disk_spec.lua").exists() and not [f for f in os.listdir(path(p, "host")) if "market" in f]


def test_folder():
    """install from a folder takes its inspections and modules, and upgrades from there"""
    with project() as p:
        source = p.dir / "more"
        for name, text in (("inspections/shop/a.lua", SCRIPT), ("inspections/lib/shop.lua", LIB),
                           ("inspections/shop/a_spec.lua", "-- spec\n"), ("README.md", "x"), ("setup.lua", "-- no\n")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        market(p, "install", "./more")
        assert set(tree(p)) == {"shop/a.lua", "shop/a_spec.lua", "lib/shop.lua"}, tree(p)
        assert split(p, "shop/a.lua")[0].group(1) == str(source)
        (source / "inspections/shop/a.lua").write_text(SCRIPT.replace("Shop", "Shop 2"))
        (source / "inspections/shop/b.lua").write_text(SCRIPT)
        out = market(p, "upgrade").out
        assert "upgraded   shop/a.lua" in out and "same       lib/shop.lua" in out and "shop/b" not in out, out
        assert "Shop 2" in path(p, "shop/a.lua").read_text()
        shutil.rmtree(source)
        done = market(p, "upgrade")
        assert "is not there any more" in done.err, done


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        if name in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.server.files.get(name)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server(**files):
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.moved = dict(files), {}
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made, f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def tar(members, format=tarfile.GNU_FORMAT):
    """A .tar.gz of (name, text or TarInfo)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=format) as t:
        for name, what in members:
            if isinstance(what, tarfile.TarInfo):
                t.addfile(what)
                continue
            data = what.encode() if isinstance(what, str) else what
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return (name, info)


GOOD = [("repo-1/README.md", "x"), ("repo-1/inspections/shop/a.lua", SCRIPT), ("repo-1/inspections/lib/shop.lua", LIB),
        ("repo-1/tests/x.lua", "-- no\n"), ("repo-1/inspections/.hidden.lua", "-- no\n")]


def test_archive():
    """an archive is installed when its checksum is the one given; ustar, GNU and pax; redirects"""
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with project() as p, server() as (s, base):
            data = tar(GOOD, format)
            s.files["a.tar.gz"] = data
            s.moved["moved.tar.gz"] = "/a.tar.gz"
            done = market(p, "install", f"{base}/moved.tar.gz", "--sha256", sha(data).upper())
            assert set(tree(p)) == {"shop/a.lua", "lib/shop.lua"}, (tree(p), done)
            found, text = split(p, "shop/a.lua")
            assert text == SCRIPT and found.group(1) == f"{base}/moved.tar.gz" and found.group(2) == sha(data)[:12]
            done = market(p, "upgrade")
            assert "--sha256" in done.err, done
            # Its next version, over an edit.
            path(p, "lib/shop.lua").write_text(path(p, "lib/shop.lua").read_text() + "-- mine\n")
            data = tar([(n, t.replace("shop", "SHOP") if n.endswith("shop.lua") else t) for n, t in GOOD])
            s.files["b.tar.gz"] = data
            done = market(p, "install", f"{base}/b.tar.gz", "--sha256", sha(data), code=1)
            assert "kept       lib/shop.lua" in done.out and path(p, "lib/shop.lua.new").exists(), done


def test_https():
    """over https with a certificate that is trusted; refused with one that is not"""
    with project() as p, server() as (s, base):
        authority = certificates.Authority(p.dir / "ca")
        cert, key = authority.issue("market")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        s.socket = context.wrap_socket(s.socket, server_side=True)
        s.files["a.tar.gz"] = tar(GOOD)
        address = base.replace("http://", "https://") + "/a.tar.gz"
        args = ("market", "install", address, "--sha256", sha(s.files["a.tar.gz"]))
        done = p.run(*args)
        assert done.code == 1 and "certificate" in done.err and tree(p) == {}, done
        done = p.run(*args, env={"SSL_CERT_FILE": str(authority.ca)})
        assert done.code == 0 and set(tree(p)) == {"shop/a.lua", "lib/shop.lua"}, done


def test_what_is_left_to_do():
    """install says which parameters to set and what to grant"""
    with project() as p:
        rows = {r["name"]: r for r in p.run("market", "list", "--json").json()}
        done = market(p, "install", *rows)
        for name, r in rows.items():
            line = next((x for x in done.err.splitlines() if x.startswith(name + ":")), "")
            assert all(word in line for word in r["params"] + r["permissions"]), (name, line)
            assert bool(line) == bool(r["params"] or r["permissions"]), (name, line)


def test_other_layouts():
    """an archive without a folder around it, and one without inspections/"""
    for names, want in ((["inspections/a.lua", "x.lua"], {"a.lua"}), (["top/host/a.lua", "top/lib/b.lua"], {"host/a.lua", "lib/b.lua"}),
                        (["host/a.lua", "host/b.lua"], {"host/a.lua", "host/b.lua"}), (["./r/inspections/h/a.lua"], {"h/a.lua"}),
                        (["host/a.lua", "lib/b.lua"], {"host/a.lua", "lib/b.lua"}), (["a.lua"], {"a.lua"})):
        with project() as p, server() as (s, base):
            s.files["a"] = tar([(n, "-- x\n") for n in names])
            market(p, "install", f"{base}/a", "--sha256", sha(s.files["a"]))
            assert set(tree(p)) == want, (names, tree(p))


def refused(data, sentence, sum=None, extra=()):
    with project() as p, server() as (s, base):
        s.files["a.tar.gz"] = data
        outside = set(os.listdir(p.dir))
        done = market(p, "install", f"{base}/a.tar.gz", "--sha256", sum or sha(data), *extra, code=1)
        assert sentence in done.err, (sentence, done)
        assert tree(p) == {} and set(os.listdir(p.dir)) - outside <= {".selfmon"}, (tree(p), os.listdir(p.dir))


def test_hostile_archives():
    """names that climb, links, devices, twins, bombs, what is cut off: one sentence, and nothing is written"""
    good = GOOD[1:3]
    for name in ("../evil.lua", "inspections/../../evil.lua", "/tmp/evil.lua", "inspections//evil.lua", "a/./b.lua",
                 "inspections/\x1b[31m.lua", "inspections\\evil.lua", ".."):
        refused(tar([*good, (name, "x")]), "leads elsewhere")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        refused(tar([*good, special("repo-1/inspections/l.lua", kind, "/etc/passwd")]), "is a link, a device")
    refused(tar([*good, special("repo-1/inspections/shop", tarfile.SYMTYPE, "/tmp"), ("repo-1/inspections/shop/b.lua", "x")]),
            "is a link")
    refused(tar([*good, good[0]]), "twice")
    refused(tar([("repo-1/inspections/" + "x" * 300 + ".lua", "x")], tarfile.PAX_FORMAT), "255 bytes")
    refused(tar([("repo-1/inspections/" + "x" * 300 + ".lua", "x")], tarfile.GNU_FORMAT), "is a link, a device or another thing")
    refused(tar([("a.lua", b"x" * (2 << 20))]), "longer than")
    refused(tar([("big.bin", b"\0" * (70 << 20))]), "unpacks to more than 64 MiB")
    refused(tar([(f"f{i}", "") for i in range(10001)]), "more than 10000 members")
    refused(tar([("README.md", "x")]), "there is no inspection in it")
    refused(tar(good)[:-40], "damaged")
    refused(b"\x1f\x8b" + b"x" * 100, "damaged")
    refused(b"hello", "damaged")
    refused(b"", "")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as t:
        info = tarfile.TarInfo("a.lua")
        info.size = 2000
        t.addfile(info, io.BytesIO(b"x" * 2000))
    refused(gzip.compress(raw.getvalue()[:1024]), "cut off")


def test_checksum_and_address():
    """another checksum, none, plain http, a password in the address: refused before anything is unpacked"""
    refused(tar(GOOD), "its sha256 is", sum="0" * 64)
    with project() as p, server() as (s, base):
        s.files["a"] = tar(GOOD)
        done = market(p, "install", f"{base}/a", code=64)
        assert "--sha256" in done.err, done
        done = market(p, "install", "http://example.com/a.tar.gz", "--sha256", "0" * 64, code=64)
        assert "https only" in done.err, done
        done = market(p, "install", "https://user:geheim@example.com/a", "--sha256", "0" * 64, code=64)
        assert "geheim" not in done.err and "name or password" in done.err, done
        s.moved["away"] = "http://example.com/x"
        done = market(p, "install", f"{base}/away", "--sha256", "0" * 64, code=1)
        assert "https only" in done.err, done
        s.moved["round"] = "/round"
        assert "redirects" in market(p, "install", f"{base}/round", "--sha256", "0" * 64, code=1).err
        assert "answered 404" in market(p, "install", f"{base}/none", "--sha256", "0" * 64, code=1).err
        assert market(p, "install", "host/disk", "--sha256", "0" * 64, code=64)
        assert market(p, "instal", code=64) and market(p, "install", code=64)
        assert tree(p) == {}


def test_no_partial_install():
    """when one file cannot be written none is, and nothing is left lying about"""
    with project() as p:
        path(p, "tls").write_text("a file where a folder has to be\n")
        before = tree(p)
        done = market(p, "install", "host", "tls", code=1)
        assert "tls" in done.err and tree(p) == before, (done, tree(p))


def test_two_at_once():
    """several at the same time: each ends well, the files are whole"""
    with project() as p:
        procs = [subprocess.Popen([BINARY, "market", "install", "host", "tls", "http"], cwd=p.dir, env=clean_env(),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
        out = [q.communicate(timeout=120) for q in procs]
        assert all(q.returncode == 0 for q in procs), out
        assert sum(o.count("installed  host/disk.lua") for o, _ in out) == 1, out
        for name, text in tree(p).items():
            assert HEADER.match(text) and sha(text.split("\n", 1)[1]) == HEADER.match(text).group(3), name
        assert not [n for n in tree(p) if "market" in n or n.endswith(".new")], tree(p).keys()


def test_killed():
    """killed at any moment: no script stands without what it requires, and the next install completes it"""
    whole = None
    for delay in range(8):
        with project() as p:
            source = p.dir / "more"
            for i in range(20):
                for name, text in ((f"s/a{i}.lua", SCRIPT.replace("lib.shop", f"lib.l{i}")), (f"lib/l{i}.lua", LIB)):
                    (source / name).parent.mkdir(parents=True, exist_ok=True)
                    (source / name).write_text(text)
            process = subprocess.Popen([BINARY, "market", "install", "./more"], cwd=p.dir, env=clean_env(),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=0.003 * delay * delay + 0.01)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            names = {n for n in tree(p) if not os.path.basename(n).startswith(".")}
            for n in names:
                assert HEADER.match(path(p, n).read_text()), n
                assert not n.startswith("s/") or f"lib/l{n[3:-4]}.lua" in names, names
            market(p, "install", "./more")
            whole = whole or tree(p)
            assert set(tree(p)) == set(whole) and len(whole) == 40, len(tree(p))


def test_page():
    """docs/inspections.md is what `market doc` prints"""
    with project() as p:
        text = market(p, "doc").out
        assert text == (ROOT / "docs/inspections.md").read_text(), \
            "docs/inspections.md is not current: make pages"


run_all(globals())
