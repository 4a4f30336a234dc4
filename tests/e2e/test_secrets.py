"""No secret appears in any output, log, process list or the database."""
import http.server
import os
import threading
import pathlib

from harness import project, report, run_all, simple, wait_for, workers_of

SECRETS = {"assoc": "association-secret-0123456789", "conf": "conf-value-abcdefghij", "env": "env-value-klmnopqrst"}


def bytes_of(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_configured_secret_is_nowhere():
    """the configured association secret is in no output, no database, no argument, no worker environment"""
    with project() as p:
        (p.write("key", SECRETS["assoc"] + "\n")).chmod(0o600)
        p.write("selfmon.conf.lua",
                'return { secret_file = "key", secrets = { shop = { env = "SHOP" } } }')
        p.script("a.lua", 'monitor{ title = "x", schedule = "@every 1s" }\nfunction run()\n'
                          '  print(require "cjson".encode({ 1 }))\n' + report() + "\nend")
        d = p.daemon("-v", "inspections/", env={"SHOP": SECRETS["env"]})
        d.wait_line("ok", "a.run")
        shown = [p.run(*args, env={"SHOP": SECRETS["env"]}) for args in
                 (("list", "--json"), ("events", "--json"), ("runs", "--log", "--json"), ("key", "a.run"))]
        process_text = b""
        for pid in [d.pid, *workers_of(d.pid)]:
            process_text += pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in workers_of(d.pid):
            process_text += pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert d.stop() == 0
        seen = bytes_of(p.dir / ".selfmon") + process_text + d.out.encode() + d.err.encode()
        seen += "".join(done.out + done.err for done in shown).encode()
        for value in SECRETS.values():
            assert value.encode() not in seen, value
        assert not (p.dir / ".selfmon" / "secret").exists()


def test_generated_secret_has_its_own_file():
    """the generated secret lives in its own 0600 file and nowhere else"""
    with project() as p:
        p.script("a.lua", simple(report()))
        done = p.once("-v")
        secret = (p.dir / ".selfmon" / "secret").read_bytes()
        assert len(secret) == 32 and oct((p.dir / ".selfmon" / "secret").stat().st_mode & 0o777) == "0o600"
        others = b"".join(f.read_bytes() for f in (p.dir / ".selfmon").iterdir()
                          if f.is_file() and f.name != "secret")
        assert secret not in others and secret.hex().encode() not in others
        assert secret not in done.out.encode() + done.err.encode()


def test_secret_stays_the_same():
    """the association key is the same at the next start and after the state moved"""
    with project() as p:
        p.script("a.lua", simple())
        assert p.once().code == 0
        first = p.run("key", "a.run").out
        assert p.once().code == 0
        assert p.run("key", "a.run").out == first and len(first.split()[0]) == 32
        os.rename(p.dir / ".selfmon", p.dir / "moved")
        assert p.run("key", "a.run", "--state-dir", "moved").out == first


def test_secret_without_a_grant():
    """secret "name" without a grant raises the permission sentence at the script's line"""
    with project() as p:
        p.script("a.lua", simple('  local secret = require "selfmon.secret"\n  print(secret "shop")'))
        item = p.once("--json").json()[0]
        assert item["outcome"] == "failed", item
        assert 'inspections/a.lua:4: permission "secret:shop" is not granted to a.run: add it to grant in ' \
               'selfmon.conf.lua' in item["error"], item


def test_secret_reaches_only_the_target():
    """a granted secret goes into the request and nowhere else; read again when its file changes"""
    seen = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with project() as p:
            key = p.write("shop.key", "top-secret-of-the-shop\n")
            key.chmod(0o600)
            p.write("selfmon.conf.lua", 'return { secrets = { shop = { file = "shop.key" } }, '
                                        'grant = { ["a.run"] = { "secret:shop" } } }')
            p.script("a.lua", f'''monitor{{ title = "T", permissions = {{ "secret:shop" }} }}
function run()
  local secret = require "selfmon.secret"
  print(secret "shop")
  require "selfmon.http".get("http://127.0.0.1:{server.server_address[1]}/", {{ auth = {{ bearer = secret "shop" }} }})
end''')
            done = p.once()
            assert done.code == 0 and seen == ["Bearer top-secret-of-the-shop"], (done, seen)
            key.write_text("another-one-now\n")
            done = p.once("-v")
            assert seen[-1] == "Bearer another-one-now", seen
            assert b"top-secret" not in bytes_of(p.dir / ".selfmon") and "another-one" not in done.out + done.err
    finally:
        server.shutdown()
        server.server_close()


def test_script_has_no_environment():
    """a script sees neither the environment nor files of the host"""
    with project() as p:
        p.script("a.lua", simple('  print(os.getenv, io, debug, os.execute, package, dofile)'))
        done = p.once(env={"SHOP": SECRETS["env"]})
        assert done.code == 0, done
        text = p.runs("--log")[0]["log"][0]["text"]
        assert text.count("nil") == 6, text


def test_unreadable_by_others():
    """the state directory and its files are private whatever the umask"""
    with project() as p:
        p.script("a.lua", simple(report()))
        old = os.umask(0)
        try:
            d = p.daemon()
            d.wait_line("ok", "a.run")
            modes = {f.name: oct(f.lstat().st_mode & 0o777) for f in (p.dir / ".selfmon").iterdir()}
            assert all(mode in ("0o600", "0o700") for mode in modes.values()), modes
            assert wait_for(lambda: "control.sock" in modes, "the socket")
            assert d.stop() == 0
        finally:
            os.umask(old)


run_all(globals())
