"""`run --once --trace http`: each request of the scripts as a line on standard error, in order, without secrets."""
import contextlib
import http.server
import json
import re
import socket
import threading

from harness import project, run_all


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/old"):
            self.send_response(302)
            self.send_header("Location", "/new?token=abc123&page=2")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"12345")

    do_POST = do_GET

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def script(base, body):
    return (f'local http = require "selfmon.http"\nlocal base = "{base}"\n'
            'monitor{ title = "T", schedule = "0 0 1 1 *", first_run = false, '
            f'permissions = {{ "secret:shop" }} }}\nfunction run()\n{body}\nend\n')


def lines(done):
    return [line.split(": trace: ", 1)[1] for line in done.err.splitlines() if ": trace: " in line]


TIMES = r"\d+\.\d{3} s \(dns \d\.\d{3} connect \d\.\d{3} tls 0\.000 first byte \d\.\d{3}\) from 127\.0\.0\.1"


def test_lines():
    """method, address, status, bytes, timings, remote address, redirects and errors, in the order of the script"""
    with socket.socket() as closed, site() as base, project() as p:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refused
        refused = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        p.script("a.lua", script(base, f'''
          http.get(base .. "/one?q=1")
          http.all{{ base .. "/none", base .. "/old", {{ url = base .. "/three", method = "POST", body = "x" }} }}
          http.get("{refused}")'''))
        for how in (("--dry-run",), ()):
            done = p.once("--trace", "http", *how)
            assert done.code == 0, done
            got = lines(done)
            assert len(got) == 5, done
            assert re.fullmatch(rf"GET {base}/one\?q=1 200 5 bytes {TIMES}", got[0]), got
            assert re.fullmatch(rf"GET {base}/none 404 5 bytes {TIMES}", got[1]), got
            assert re.fullmatch(rf"GET {base}/old 200 5 bytes {TIMES}, 1 redirect to {base}/new\?token=\*\*\*&page=2", got[2]), got
            assert re.fullmatch(rf"POST {base}/three 200 5 bytes {TIMES}", got[3]), got
            assert re.fullmatch(rf"GET {refused} failed after \d+\.\d{{3}} s: connect: .*refused.*", got[4]), got
            assert "trace" not in done.out
        assert lines(p.once()) == []


def test_masked():
    """a known secret and what sounds like one in a query do not show; headers and bodies never do"""
    with site() as base, project() as p:
        p.write("shop", "s3cr3t-of-the-shop").chmod(0o600)
        p.write("selfmon.conf.lua", 'return { secrets = { shop = { file = "shop" } }, grant = { ["**"] = { "secret:shop" } } }')
        p.script("a.lua", script(base, '''
          local s = require "selfmon.secret" "shop"
          http.get(base .. "/x", { auth = { "user", s }, headers = { ["X-Key"] = s }, query = { page = 1, api_key = "k-literal" } })
          http.get(base .. "/s3cr3t-of-the-shop?Password=p-literal&ok=1")
          http.post(base .. "/y", { body = "body-literal" })'''))
        done = p.once("--trace", "http", "--dry-run")
        said = done.out + done.err
        assert len(lines(done)) == 3, done
        for hidden in ("s3cr3t", "k-literal", "p-literal", "body-literal"):
            assert hidden not in said, (hidden, said)
        assert "api_key=***&page=1" in said and "Password=***&ok=1" in said, said


def test_by_a_daemon():
    """while a daemon holds the state directory it traces for us, and nobody else"""
    with site() as base, project() as p:
        p.script("a.lua", script(base, 'http.get(base .. "/one")'))
        d = p.daemon()
        d.wait_line("loaded")
        done = p.once("--trace", "http")
        assert done.code == 0 and len(lines(done)) == 1, done
        assert lines(p.once()) == []
        logs = [[line["level"] for line in run["log"]] for run in p.runs("--log")]
        assert sorted(levels.count("trace") for levels in logs) == [0, 1], logs
        assert d.stop() == 0


def test_many():
    """a great trace neither ends the run nor fills its log: beginning and end are kept"""
    with site() as base, project() as p:
        p.write("selfmon.conf.lua", 'return { limits = { log = "8KiB" } }')
        p.script("a.lua", script(base, 'for i = 1, 400 do assert(http.get(base .. "/n" .. i)) end print "done"'))
        done = p.once("--trace", "http", "--json")
        assert done.code == 0 and json.loads(done.out)[0]["outcome"] == "ok", done
        got = lines(done)
        assert got[0].startswith(f"GET {base}/n1 ") and got[-1].startswith(f"GET {base}/n400 "), got[-1:]
        assert "lines left out" in done.err and "done" in done.err


def test_usage():
    """--trace goes with --once, and knows http only"""
    with project() as p:
        done = p.run("run", "--trace", "http", "inspections/")
        assert done.code == 64 and "--trace goes with --once" in done.err, done
        done = p.once("--trace", "dns")
        assert done.code == 64 and "--trace: expected http" in done.err, done


run_all(globals())
