#!/usr/bin/python3
"""heartbeat: an address is fetched while the daemon does what it is for, and not when it does not."""
import http.server
import threading
import time

from harness import project, report, run_all, simple, wait_for
from remote import shop
from test_service import stopped_thread, task_named

TOKEN = "/ping/3b1f-secret-of-the-beat"


class Switch(http.server.ThreadingHTTPServer):
    """A dead man's switch: keeps the time of each beat."""

    def __init__(self, port=0):
        self.beats, self.status, self.headers = [], 200, {}
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}{TOKEN}"

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.beats.append((time.monotonic(), self.path))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def beats_again(switch, n=2, seconds=40):
    before = len(switch.beats)
    wait_for(lambda: len(switch.beats) >= before + n, f"{n} more beats", seconds)


def test_beats():
    """the address is fetched at its pace; its path is in no log, no status, no doctor; changes take effect"""
    switch, other = Switch(), Switch()
    try:
        with project() as p:
            p.write("selfmon.conf.lua", f'return {{ heartbeat = {{ url = "{switch.url}", every = "5s" }} }}')
            p.script("a.lua", simple("  return", schedule="@every 1s"))
            d = p.daemon("-v", "inspections/")
            wait_for(lambda: len(switch.beats) >= 3, "three beats", 60)
            assert {path for _, path in switch.beats} == {TOKEN}, switch.beats
            assert 4 < switch.beats[2][0] - switch.beats[1][0] < 30, switch.beats
            status = p.run("status", "--json").json()
            assert status["trouble"] == [], status["trouble"]
            shown = p.run("doctor", "--config")
            assert "heartbeat.every" in shown.out and "/ping/" not in shown.out + shown.err, shown
            p.write("selfmon.conf.lua", f'return {{ heartbeat = {{ url = "{other.url}?b=2", every = "5s" }} }}')
            wait_for(lambda: other.beats, "a beat at the new address", 30)
            assert other.beats[0][1] == TOKEN + "?b=2", other.beats
            p.write("selfmon.conf.lua", "return {}")
            wait_for(lambda: d.err.count("read again") >= 2, "the second reading", 30)
            n = len(other.beats)
            time.sleep(7)
            assert len(other.beats) == n, "no beat without an address"
            assert d.stop() == 0
            assert TOKEN not in d.out + d.err, "the path is a secret"
    finally:
        switch.stop()
        other.stop()


def test_not_reached():
    """what does not answer 2xx is said once, and once when it is reached again; a redirect is not followed"""
    switch, trap = Switch(), Switch()
    port = switch.server_address[1]
    try:
        with project() as p:
            p.write("selfmon.conf.lua", f'return {{ heartbeat = {{ url = "{switch.url}", every = "5s" }} }}')
            p.script("a.lua", simple())
            switch.status, switch.headers = 302, {"Location": trap.url}
            d = p.daemon()
            beats_again(switch, 3)
            assert trap.beats == [], "a redirect is not followed"
            assert d.err.count("could not be reached: it answered 302") == 1, d.err
            trouble = p.run("status", "--json").json()["trouble"]
            assert len(trouble) == 1 and "heartbeat is not reached: it answered 302" in trouble[0], trouble
            switch.stop()
            time.sleep(6)
            switch = Switch(port)
            beats_again(switch, 1)
            wait_for(lambda: "is reached again" in d.err, "the log", 20)
            assert d.err.count("could not be reached") == 1, d.err
            assert d.stop() == 0
    finally:
        switch.stop()
        trap.stop()


def test_store_that_hangs():
    """no beat while the store does not answer; beats again when it does"""
    switch = Switch()
    try:
        with project() as p:
            p.write("selfmon.conf.lua", f'return {{ heartbeat = {{ url = "{switch.url}", every = "5s" }} }}')
            p.script("a.lua", simple("  return", schedule="@every 1s"))
            d = p.daemon()
            beats_again(switch, 1)
            with stopped_thread(task_named(d.pid, "store")):
                wait_for(lambda: "heartbeat is withheld: the store has not answered" in d.err, "the log", 30)
                n = len(switch.beats)
                time.sleep(11)
                assert len(switch.beats) == n
            beats_again(switch, 1)
            wait_for(lambda: "heartbeat goes on" in d.err, "the log", 20)
            assert d.stop() == 0
    finally:
        switch.stop()


def test_full_outbox():
    """no beat while events find no room"""
    switch = Switch()
    try:
        with project() as p:
            beat = f'heartbeat = {{ url = "{switch.url}", every = "5s" }}'
            p.write("selfmon.conf.lua", f'return {{ {beat}, limits = {{ min_free = "1TiB" }} }}')
            p.script("a.lua", simple(report(), schedule="@every 1s"))
            d = p.daemon()
            wait_for(lambda: "heartbeat is withheld: " in d.err and "limits.min_free" in d.err, "the log", 30)
            time.sleep(6)
            assert len(switch.beats) <= 1, switch.beats
            p.write("selfmon.conf.lua", f"return {{ {beat} }}")
            beats_again(switch, 2)
            assert d.stop() == 0
    finally:
        switch.stop()


def test_platform_that_refuses():
    """no beat when the platform refuses for longer than five of them; status says why; on again when it takes"""
    switch = Switch()
    try:
        with shop() as (p, platform):
            p.account("", more=f'heartbeat = {{ url = "{switch.url}", every = "5s" }}')
            p.script("a.lua", simple(report(), schedule="@every 1s"))
            d = p.daemon()
            beats_again(switch, 2)
            platform.misbehave("/", times=None, status=401, body=b'{"code":401,"errorCode":"ft.Unauthorized",'
                                                                 b'"message":"no","success":false,"content":{}}')
            n = len(switch.beats)
            wait_for(lambda: "heartbeat is withheld" in d.err, "the log", 120)
            assert len(switch.beats) >= n + 4, "a short outage is none"
            count = len(switch.beats)
            trouble = p.run("status", "--json").json()["trouble"]
            assert any("heartbeat is withheld" in text for text in trouble), trouble
            time.sleep(7)
            assert len(switch.beats) == count, "no beat while it is withheld"
            platform.behave()
            wait_for(lambda: len(switch.beats) > count, "beats again", 120)
            assert d.stop() == 0
    finally:
        switch.stop()


def test_wrong_keys():
    """what heartbeat does not understand is one sentence"""
    with project() as p:
        for value, sentence in (
                ('"hc.example"', 'heartbeat: expected an http:// or https:// address, got "hc.example"'),
                ('{ url = "https://u:p@h/" }', "heartbeat.url: expected an http:// or https:// address"),
                ('{ url = "https://h/x", every = "1s" }', 'heartbeat.every: expected a duration from 5s to 24h, got "1s"'),
                ('{ uri = "https://h/x" }', 'heartbeat: unknown key "uri"; did you mean "url"?'),
                ("true", "heartbeat: expected an address or a table with url and every, got true")):
            p.write("selfmon.conf.lua", f"return {{ heartbeat = {value} }}")
            done = p.once()
            assert done.code == 78 and sentence in done.err, (value, done)


if __name__ == "__main__":
    run_all(globals())
