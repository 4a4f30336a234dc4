"""Rows of the fault matrix: what the platform, the network, names and certificates can do to a daemon."""
import contextlib
import email.utils
import gzip
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from faults import Oracle, descriptors, five_checks, producer, rows  # noqa: E402
from harness import BINARY, Skip, clean_env, run_all, wait_for  # noqa: E402
from remote import Authority, Trap, many, report, script, shop  # noqa: E402

WRITE = "/v1/write/keyevent"
QUIET = "report_failures = false, workers = 2"
EVERY = 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run(params) '


def listed(p):
    return p.events("-n", "1000000")


def ok_runs(p, id="a.run"):
    return [r for r in p.runs("--id", id) if r["outcome"] == "ok"]


def delivered(p, seconds=60):
    wait_for(lambda: all(e["delivery"] == "delivered" for e in listed(p)), "everything is delivered", seconds)


def memory(pid, what="VmRSS"):
    """KiB of a process: VmRSS now, VmHWM at most."""
    return int(re.search(what + r":\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


class Raw:
    """A TCP server that does with each connection what a function says; keeps what came."""

    def __init__(self, serve, port=0):
        self.serve, self.received, self.count, self.over = serve, b"", 0, threading.Event()
        self.server = socket.create_server(("127.0.0.1", port))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.count += 1
                threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                while data := connection.recv(65536):
                    self.received += data
            connection.settimeout(60)
            self.serve(self, connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.close()


def test_strange_retry_after():
    """Retry-After of ten years, as a number and as a date: waits one hour at most; garbage: the usual backoff"""
    far = email.utils.formatdate(time.time() + 315360000, usegmt=True)
    waits = {}
    for value, least, most in (("315360000", 3000, 3600), ("99999999999999999999999", 3000, 3600), (far, 3000, 3600),
                               ("soon", 0, 60), ("", 0, 60), ("-5", 0, 60)):
        with shop() as (p, platform):
            platform.misbehave(WRITE, times=None, status=429, headers={"Retry-After": value})
            p.script("a.lua", script(report("x")))
            done = p.once("--drain", "1")
            assert done.code == 1, (value, done)
            now = time.time()
            state = p.dir / ".selfmon"
            [(due,)] = rows(state, "SELECT due_ms FROM outbox")
            waits[value] = due / 1000 - now
            assert least - 120 < waits[value] <= most + 1, (value, waits[value])
            platform.behave()
            p.script("a.lua", script())
            assert p.once("--drain", "20").code == 0, "at the next start it is due at once"
            assert platform.titles() == ["x"]
    print("# waits: " + ", ".join(f"{k or 'empty'}: {max(v, 0):.0f} s" for k, v in waits.items()).replace(far, "the same as a date"))


def test_one_poison_of_fifty():
    """400 for one event of fifty: 49 arrive, one is refused, visible; how late the others are"""
    with shop() as (p, platform):
        platform.poison = lambda event: event.title == "E17"
        p.script("a.lua", script(many(50)))
        p.once("--drain", "25")
        assert sorted(e.title for e in platform.events) == sorted(f"E{n}" for n in range(1, 51) if n != 17)
        assert not platform.duplicates()
        [refused] = [e for e in listed(p) if e["delivery"] == "refused"]
        assert refused["title"] == "E17" and "400" in refused["reason"], refused
        times = [c.at for c in platform.writes]
        assert max(times) - min(times) < 20
        print(f"# 49 arrived, 1 refused, {len(platform.writes)} writes, the last one {max(times) - min(times):.2f} s after the first")


def test_one_too_large():
    """413 for one event however small its batch: it is refused, the others arrive"""
    with shop() as (p, platform):
        def holds(call):
            body = gzip.decompress(call.body) if call.headers.get("Content-Encoding") == "gzip" else call.body
            return b"E13" in body
        platform.misbehave(WRITE, times=None, status=413, body="{}", when=holds)
        p.script("a.lua", script(many(30)))
        p.once("--drain", "25")
        states = {e["title"]: e["delivery"] for e in listed(p)}
        assert states.pop("E13") == "refused" and set(states.values()) == {"delivered"}, states
        assert len(platform.events) == 29 and not platform.duplicates()
        print(f"# 29 arrived, 1 refused, {len(platform.writes)} writes")


def test_cut_and_reset():
    """answers cut off or reset after the event was taken, or before: sent again with the same id, until it is confirmed"""
    woes = [dict(status=500, body="{", cut=True, after=True), dict(reset=True, after=True), dict(reset=True),
            dict(status=200, body="", cut=True, headers={"Content-Type": "text/html"})]
    with shop() as (p, platform), Oracle() as oracle:
        p.account('timeout = "3s"', QUIET)
        for woe in woes:
            platform.misbehave(WRITE, times=2, **woe)
            p.script("a.lua", producer(oracle, 5))
            done = p.once("--drain", "40")
            assert done.code == 0, (woe, done)
        print(f"# {len(woes)} ways: {five_checks(oracle, listed(p), platform.events, 'cut and reset')}")
        assert platform.duplicates(), "nothing was sent twice"
        platform.check()


def drip(raw, connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while not raw.over.wait(0.3):
        connection.sendall(b" ")


def test_silent_and_dripping():
    """no answer at all, and one byte at a time: ended by the time limit, again with the same id, nothing left behind"""
    flat = []
    for serve in (lambda raw, c: raw.over.wait(120), drip):
        with shop() as (p, platform), Oracle() as oracle, Raw(serve) as raw:
            p.account('timeout = "1s"', QUIET)
            p.script("a.lua", producer(oracle, 2, "@every 1s"))
            good = p.env["SELFMON_OPENWAY_URL"]
            p.env["SELFMON_OPENWAY_URL"] = f"http://127.0.0.1:{raw.port}"
            d = p.daemon()
            wait_for(lambda: raw.count >= 2, "two tries", 60)
            before = threads(d.pid), descriptors(d.pid)
            wait_for(lambda: raw.count >= 6 and len(ok_runs(p)) >= 4, "six tries, and runs go on", 90)
            after = threads(d.pid), descriptors(d.pid)
            assert after[0] <= before[0] + 2 and after[1] <= before[1] + 5, (before, after)
            flat.append(f"{raw.count} tries, threads {before[0]} to {after[0]}, descriptors {before[1]} to {after[1]}")
            assert "delivered" not in {e["delivery"] for e in listed(p)}
            assert d.stop(seconds=60) == 0, d.err
            p.env["SELFMON_OPENWAY_URL"] = good
            p.script("a.lua", producer(oracle, 1))
            d = p.daemon()
            d.wait_line("loaded", seconds=60)
            delivered(p)
            assert d.stop() == 0
            counts = five_checks(oracle, listed(p), platform.events, "silent and dripping")
    print(f"# silent: {flat[0]}; dripping: {flat[1]}; {counts}")


class Names:
    """A name server on port 53 of an address of its own that answers nothing, or SERVFAIL to everything."""

    def __init__(self, address, answers):
        self.address, self.answers, self.asked = address, answers, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(4096)
                self.asked += 1
                if self.answers:
                    self.socket.sendto(data[:2] + b"\x81\x82" + data[4:6] + bytes(6) + data[12:], peer)

    def close(self):
        self.socket.close()


def with_names(address, answers, what):
    """A daemon whose resolver is ours, in a mount namespace of its own: the platform's name and a script's."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        raise Skip("needs root and a mount namespace, for an /etc/resolv.conf of its own")
    names = Names(address, answers)
    try:
        with shop() as (p, platform), Oracle() as oracle:
            p.account('timeout = "2s"', QUIET)
            p.write("resolv.conf", f"nameserver {address}\noptions timeout:30 attempts:3\n")
            p.script("tick.lua", 'monitor{ title = "tick", schedule = "@every 1s" }\nfunction run() end')
            p.script("a.lua", producer(oracle, 2))
            p.script("asks.lua", 'monitor{ title = "asks", schedule = "@every 2s", timeout = 20 }\nfunction run()\n'
                     'local t = require "selfmon.time"\nlocal began = t.monotonic()\n'
                     'local res, err, code = require("selfmon.http").get("http://shop.example.org/", { timeout = 1 })\n'
                     'assert(not res)\nprint(("%s after %.1f"):format(code, t.monotonic() - began))\nend')
            assert p.once().code == 0, "registered, while the resolver works"
            good = dict(p.env)
            p.env["SELFMON_OPENWAY_URL"] = "https://openway.example.org"
            p.script("b.lua", producer(oracle, 2, "@every 1s"))
            wrapper = p.write("wrapper", '#!/bin/sh\nmount --make-rprivate / && mount --bind "$PWD/resolv.conf" '
                              '/etc/resolv.conf && exec "$@"\n')
            with open(p.dir / "out", "w") as out:
                process = subprocess.Popen(["unshare", "-m", "sh", str(wrapper), BINARY, "run", "inspections/"], cwd=p.dir,
                                           env=clean_env(**p.env), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                wait_for(lambda: len(ok_runs(p, "asks.run")) >= 4 and len(ok_runs(p, "tick.run")) >= 8, "runs", 90)
                wait_for(lambda: any(e["attempts"] >= 2 for e in listed(p) if e["delivery"] != "delivered"), "two tries", 60)
                assert names.asked, "the name server was never asked: this tests nothing"
                late = [r["late"] or 0 for r in p.runs("--id", "tick.run")]
                assert max(late) < 10, late
                text = [line["text"] for r in p.runs("--log", "--id", "asks.run") for line in r["log"]]
                took = [float(t.split()[-1]) for t in text if "after" in t]
                assert took and max(took) < 10, text
            finally:
                process.terminate()
                code = process.wait(timeout=60)
            assert code == 0, (p.dir / "out").read_text()
            p.env.update(good)
            p.script("b.lua", producer(oracle, 1))
            d = p.daemon()
            d.wait_line("loaded", seconds=60)
            delivered(p)
            assert d.stop() == 0
            counts = five_checks(oracle, listed(p), platform.events, what)
            print(f"# {what}: {names.asked} questions, requests of 1 s end after {max(took):.1f} s, other runs at most "
                  f"{max(late):.1f} s late; {counts}")
    finally:
        names.close()


def test_names_that_fail():
    """DNS answers SERVFAIL: backoff, other runs are not late, delivered once names work again"""
    with_names("127.0.53.1", True, "DNS fails")


def test_names_that_hang():
    """DNS does not answer: the time limit holds, other runs are not late, delivered once names work again"""
    with_names("127.0.53.2", False, "DNS hangs")


def test_old_tls_and_stalled():
    """a server of TLS 1.0 only, and one that never shakes hands: unregistered, no byte of the key leaves"""
    with tempfile.TemporaryDirectory(prefix="selfmon-ca-") as folder:
        authority = Authority(folder)
        cert, key = authority.issue("shop")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.load_cert_chain(str(cert), str(key))
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1
        shaken = []

        def handshake(raw, connection):
            secure = old.wrap_socket(connection, server_side=True)  # the client's hello was read: it fails or it does not
            shaken.append(secure)

        for name, serve in (("stalled", lambda raw, c: raw.over.wait(60)), ("tls 1.0", handshake)):
            with shop() as (p, platform), Raw(serve) as raw:
                if name == "tls 1.0":
                    raw.handle = lambda c: plain(c, raw, handshake)
                p.write("ca.pem", authority.ca.read_text())
                p.account(f'ca = "{p.dir}/ca.pem", timeout = "1s"')
                for server in ("OPENAPI", "OPENWAY"):
                    p.env[f"SELFMON_{server}_URL"] = f"https://127.0.0.1:{raw.port}"
                p.script("a.lua", script(report("x")))
                done = p.once("--wait", "3", "--drain", "1", "--json")
                assert done.code == 1 and done.json()[0]["outcome"] == "unregistered", (name, done)
                assert raw.count and not shaken, (name, raw.count)
                secrets = (platform.key, platform.key_id, platform.token)
                assert not any(s.encode() in raw.received for s in secrets), name
                print(f"# {name}: {raw.count} connections, no byte of a key; {done.json()[0]['error'][:90]}")


def plain(connection, raw, serve):
    """A connection whose first bytes are left for the handshake."""
    with contextlib.suppress(OSError, ssl.SSLError), connection:
        connection.settimeout(5)
        serve(raw, connection)


def test_redirects_of_every_kind():
    """redirects to file:, ftp:, another host and in a loop: the platform's are held and never followed"""
    with Trap() as trap:
        for path in ("/self_built_checker/list", WRITE):
            for target in ("file:///etc/passwd", f"ftp://127.0.0.1:{trap.ports['openapi']}/", trap.url("openapi") + "/x", WRITE):
                with shop() as (p, platform):
                    p.script("a.lua", script(report("x")))
                    platform.misbehave(path, times=None, status=302, headers={"Location": target})
                    done = p.once("--wait", "2", "--drain", "2")
                    assert done.code == 1 and "302" in done.out + done.err, (path, target, done)
                    assert "root:" not in done.out + done.err
                    assert len([c for c in platform.calls if c.path.endswith(path)]) <= 4, "it went in circles"
        assert not trap.calls, [c.url for c in trap.calls]
    print("# 8 redirects, 0 requests to another host")


def endless(kind):
    def serve(raw, connection):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        if kind == "headers":
            connection.sendall(head)
            while not raw.over.is_set():
                connection.sendall(b"X-More: " + b"x" * 8000 + b"\r\n")
        elif kind == "bomb":
            bomb = gzip.compress(b"\0" * (512 << 20), 9)
            connection.sendall(head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
        else:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            while not raw.over.is_set():
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
    return serve


def test_answers_without_end():
    """a body or headers without end and a gzip bomb, from OpenWay and OpenAPI at once: memory within twice the cap of each"""
    cap, most = 16 << 10, {}  # KiB of one answer
    for kind in ("body", "headers", "bomb"):
        with shop() as (p, platform), contextlib.ExitStack() as stack:
            p.account('timeout = "5s"', QUIET + ", config_max_age = 1")
            p.script("a.lua", EVERY + report("E") + " end")
            d = p.daemon()
            wait_for(lambda: platform.events, "the first event", 60)
            before = memory(d.pid)
            platform.stop()
            raws = [stack.enter_context(Raw(endless(kind), platform.ports[s])) for s in ("openapi", "openway")]
            runs = len(ok_runs(p))
            wait_for(lambda: all(r.count >= 2 for r in raws), f"two such answers of each ({kind})", 90)
            wait_for(lambda: len(ok_runs(p)) >= runs + 3, "runs go on", 60)
            most[kind] = memory(d.pid, "VmHWM") - before
            assert most[kind] < 2 * cap * len(raws), (kind, most)
            assert d.process.poll() is None, d.err
            assert d.stop(seconds=60) == 0
    print("# at most " + ", ".join(f"{v / 1024:.1f} MiB more ({k})" for k, v in most.items()))


def test_registration_fails():
    """registration answers 500, 409, nothing, and what nobody understands: runs go on, a change is registered afterwards"""
    woes = dict(error=dict(status=500), conflict=dict(status=409, body='{"code":409,"success":false,"content":{},'
                '"errorCode":"ft.Conflict","message":"there","traceId":"t"}'), timeout=dict(delay=4),
                unknown=dict(body='{"what":1}'))
    with shop() as (p, platform), Oracle() as oracle:
        p.account('timeout = "1s"', QUIET + ", config_max_age = 1")
        p.script("a.lua", producer(oracle, 1, "@every 1s"))
        d = p.daemon()
        wait_for(lambda: platform.events, "the first event", 60)
        for n, (name, woe) in enumerate(woes.items()):
            platform.misbehave("/api/v1/", times=None, **woe)
            text = producer(oracle, 1, "@every 1s").replace('"Producer"', f'"Title {n}"')
            p.script("a.lua", text)
            before, began = len(oracle.acked), len(platform.calls)
            wait_for(lambda: len(oracle.acked) >= before + 4, f"runs go on ({name})", 60)
            wait_for(lambda: any("/api/v1/" in c.url for c in platform.calls[began:]), f"it is asked ({name})", 60)
            platform.behave()
            wait_for(lambda: platform.checkers.of_func("a.run")["jsonScript"]["title"] == f"Title {n}",
                     f"the change is registered ({name})", 120)
        p.script("a.lua", producer(oracle, 1))
        delivered(p)
        assert d.stop() == 0
        assert len(platform.checkers.created) == 1
        print(f"# {len(woes)} ways, runs go on in each; {five_checks(oracle, listed(p), platform.events, 'registration fails')}")


def test_strange_parameters():
    """parameters of a wrong type, unknown ones, and 10 MB of them: `bad_params` or ignored, the daemon and others go on"""
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", QUIET + ", config_max_age = 1")
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s", params = { n = 1, s = "" } }\nfunction run(params) '
                 'print("n", params.n, #params.s) end')
        p.script("tick.lua", producer(oracle, 1, "@every 1s"))
        d = p.daemon()
        wait_for(lambda: ok_runs(p) and ok_runs(p, "tick.run"), "runs", 60)
        row, before = platform.checkers.of_func("a.run"), memory(d.pid)

        def newest():
            return max(p.runs("--id", "a.run"), key=lambda r: r["started"])
        row["jsonScript"]["callKwargs"] = {"n": {"deep": [1, 2]}}
        wait_for(lambda: newest()["outcome"] == "bad_params", "bad_params", 60)
        assert "n" in newest()["error"], newest()
        row["jsonScript"]["callKwargs"] = {"n": 7, "colour": "red", "x" * 300: 1}
        wait_for(lambda: newest()["outcome"] == "ok", "unknown ones are ignored", 60)
        row["jsonScript"]["callKwargs"] = {"s": "x" * (10 << 20)}
        ticks, count = len(ok_runs(p, "tick.run")), len(p.runs("--id", "a.run"))
        wait_for(lambda: len(p.runs("--id", "a.run")) >= count + 4 and len(ok_runs(p, "tick.run")) >= ticks + 4,
                 "10 MB: it goes on", 90)
        said = max((r for r in p.runs("--id", "a.run") if r["outcome"]), key=lambda r: r["started"])["outcome"]
        more = memory(d.pid, "VmHWM") - before
        row["jsonScript"]["callKwargs"] = {"n": 8}
        wait_for(lambda: newest()["outcome"] == "ok", "mended", 60)
        p.script("tick.lua", producer(oracle, 1))
        delivered(p)
        assert d.process.poll() is None and d.stop() == 0, d.err
        print(f"# with 10 MB the run is {said}, {more / 1024:.0f} MiB more at most; "
              f"{five_checks(oracle, listed(p), platform.events, 'parameters')}")


if __name__ == "__main__":
    run_all(globals())
