"""No secret appears in any output, log, process list or the database."""
import base64
import http.server
import json
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


def test_secret_that_comes_back():
    """a secret that a server sends back is masked in log, event and error, in each of its spellings"""
    value = 'sesame-öffne dich/"17"?'

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with project() as p:
            p.write("shop.key", value).chmod(0o600)
            p.write("selfmon.conf.lua", 'return { secrets = { shop = { file = "shop.key" } }, '
                                        'grant = { ["a.run"] = { "secret:shop" } } }')
            p.script("a.lua", f'''monitor{{ title = "T", permissions = {{ "secret:shop" }} }}
function run()
  local cjson, crypto, log = require "cjson", require "selfmon.crypto", require "selfmon.log"
  local s = require "selfmon.secret" "shop"
  local e = require "selfmon.http".post("http://127.0.0.1:{server.server_address[1]}/", {{ body = s }}).body
  assert(#e == {len(value.encode())})
  for _, text in ipairs{{ e, crypto.base64(e), crypto.base64("x" .. e), crypto.hex(e), cjson.encode{{ e }}, ("y"):rep(250) .. e }} do
    print(text)
    log.warn("got", {{ text = text, list = {{ text }} }})
    EventReporter():report{{ title = text, message = "got " .. text, status = "error", dimension_tags = {{ t = text, [("k" .. text):sub(1, 250)] = 1 }} }}
  end
  error("no: " .. e)
end''')
            done = p.once("-v", "--json")
            assert done.json()[0]["outcome"] == "failed" and "***" in done.json()[0]["error"], done
            shown = "".join(d.out + d.err for d in (done, p.run("events", "--json"), p.run("runs", "--log", "--json"),
                                                    p.run("why", "a.run")))
            seen = shown.encode() + b"".join(f.read_bytes() for f in (p.dir / ".selfmon").rglob("*") if f.is_file())
            assert seen.count(b"***") > 20, shown
            raw = value.encode()
            for spelling in (raw, json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode(),
                             raw.hex().encode(), base64.b64encode(raw)[:-4], base64.b64encode(b"x" + raw)[2:-4], raw[:-1]):
                assert spelling not in seen, (spelling, shown)
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
