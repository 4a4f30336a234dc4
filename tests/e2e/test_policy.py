"""`events = {…}`: recoveries, changes, confirmation, mutes and maintenance windows, with a real daemon on
the embedded platform: what was delivered is what a person would have seen."""
import json
import time

from harness import project, run_all, wait_for

# Reports what the file of its state says: one line a dimension, "name status".
SCRIPT = '''monitor{{ title = "Policy", schedule = "@every 1s", params = {{ url = {url!r}, fail = false }},
  events = {events} }}
function run(params)
  local text = require "selfmon.http".get(params.url).body
  for name, status in text:gmatch("(%w+) (%w+)") do
    if name == "fail" then error("incomplete") end
    EventReporter():report{{ title = "State of " .. name, message = "text", status = status,
      dimension_tags = {{ d = name }} }}
  end
end
'''


class World:
    """A page whose text the script reads: what the inspected world says."""

    def __init__(self):
        import http.server
        import threading
        world = self
        self.text, self.reads = "", 0

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = world.text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                world.reads += 1

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, text, reads=2):
        """Changes the world, and waits until so many runs have seen it."""
        self.text = text
        until = self.reads + reads + 1  # one may have begun before
        wait_for(lambda: self.reads >= until, f"{reads} runs that read {text!r}", 40)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def delivered(p):
    """(dimension, status) in the order of the embedded platform."""
    rows = [e for e in p.events() if e["delivery"] == "delivered"]
    return [(e["dimension_tags"].get("d"), e["status"]) for e in rows if "d" in e["dimension_tags"]]


def of(p, name):
    return [status for d, status in delivered(p) if d == name]


def test_recover_and_change():
    """a problem is told once, its end once; an incomplete run ends nothing; it survives kill -9"""
    world = World()
    try:
        with project() as p:
            p.script("a.lua", SCRIPT.format(url=world.url, events="{ recover = true, on_change = true }"))
            world.text = "disk warning cpu critical"
            daemon = p.daemon()
            wait_for(lambda: of(p, "disk") == ["warning"] and of(p, "cpu") == ["critical"], "both told", 30)
            world.say("disk warning cpu critical", 3)
            assert of(p, "disk") == ["warning"] and of(p, "cpu") == ["critical"], delivered(p)
            world.say("fail now", 3)
            assert of(p, "cpu") == ["critical"], "an incomplete run recovered something"
            daemon.kill()
            daemon = p.daemon()
            world.say("disk warning", 2)
            wait_for(lambda: of(p, "cpu") == ["critical", "ok"], "the recovery of cpu", 30)
            world.say("", 2)
            wait_for(lambda: of(p, "disk") == ["warning", "ok"], "the recovery of disk", 30)
            last = [e for e in p.events() if e["status"] == "ok" and e["dimension_tags"] == {"d": "disk"}][0]
            assert last["title"] == "State of disk" and "No longer reported" in last["message"], last
            world.say("", 2)
            assert len(delivered(p)) == 4, delivered(p)
            own = [e["status"] for e in p.events() if "selfmon_function" in e["dimension_tags"]]
            assert own == ["error", "ok"], f"the failing run is reported once, and healed once: {own}"
            assert daemon.stop() == 0
    finally:
        world.close()


def test_confirm():
    """with confirm a change needs that many runs in a row"""
    world = World()
    try:
        with project() as p:
            p.script("a.lua", SCRIPT.format(
                url=world.url, events="{ recover = true, on_change = true, confirm = { fail = 3, ok = 2 } }"))
            world.text = "disk warning"
            p.daemon()
            wait_for(lambda: of(p, "disk") == ["warning"], "told after three", 40)
            rows = [e for e in p.events() if e["dimension_tags"] == {"d": "disk"}]
            assert [e["delivery"] for e in rows[:2]] == ["held_back", "held_back"], rows[:2]
            assert [(e["policy"]["rule"], e["policy"]["count"], e["policy"]["of"]) for e in rows[:2]] == [
                ("confirm", 1, 3), ("confirm", 2, 3)], rows[:2]
            world.say("", 3)
            wait_for(lambda: of(p, "disk") == ["warning", "ok"], "recovered after two", 30)
    finally:
        world.close()


def test_mute_and_unmute():
    """muted events are kept and made up for at the end: what began is told, what ended as well"""
    world = World()
    try:
        with project() as p:
            p.script("a.lua", SCRIPT.format(url=world.url, events="{ recover = true, on_change = true }"))
            world.text = "gone warning"
            daemon = p.daemon()
            wait_for(lambda: of(p, "gone") == ["warning"], "told", 30)
            done = p.run("mute", "a.run", "1h", "--reason", "release")
            assert done.code == 0 and "a.run" in done.out, done
            listed = p.run("mute", "--json").json()
            assert len(listed) == 1 and listed[0]["reason"] == "release", listed
            world.say("stays error brief critical", 2)
            world.say("stays error", 2)
            assert delivered(p) == [("gone", "warning")], delivered(p)
            done = p.run("unmute", "a.run")
            assert done.code == 0, done
            wait_for(lambda: of(p, "stays") == ["error"] and of(p, "gone") == ["warning", "ok"],
                     "what differs is sent", 30)
            assert of(p, "brief") == [], delivered(p)
            assert daemon.stop() == 0
    finally:
        world.close()


def test_maintenance_window():
    """in a maintenance window runs go on and nothing is sent; it is made up for when the window is gone"""
    world = World()
    try:
        with project() as p:
            p.write("selfmon.conf.lua", 'return { maintenance = { { match = "a.*", cron = "* * * * *", '
                                        'duration = "2m", reason = "upgrade" } } }')
            p.script("a.lua", SCRIPT.format(url=world.url, events="{ recover = true }"))
            p.script("b.lua", SCRIPT.format(url=world.url, events="{ recover = true, on_change = true }"))
            world.text = "disk error"
            daemon = p.daemon()
            wait_for(lambda: len(delivered(p)) == 1, "that of b is told", 30)
            world.say("disk error", 4)
            rows = p.events()
            held = [e for e in rows if e["id"] == "a.run"]
            assert held and all(e["delivery"] == "held_back" for e in held), held
            assert "upgrade" in held[0]["policy"]["why"], held[0]
            assert daemon.stop() == 0
            p.write("selfmon.conf.lua", "return { }")
            daemon = p.daemon()
            wait_for(lambda: any(e["id"] == "a.run" and e["delivery"] == "delivered" for e in p.events()),
                     "it is made up for", 30)
            assert daemon.stop() == 0
    finally:
        world.close()


def test_mute_without_a_daemon():
    """mute works on the store alone, and says what it does not understand"""
    with project() as p:
        p.script("a.lua", '''monitor{ title = "T", schedule = "0 0 1 1 *" }
function run() EventReporter():report{ title = "x", message = "m", status = "warning" } end''')
        assert p.once().code == 0
        done = p.run("mute", "a.run", "2 bananas", "--reason", "x")
        assert done.code == 64 and "duration" in done.err, done
        done = p.run("mute", "a.run", "1h")
        assert done.code == 64 and "--reason" in done.err, done
        assert p.run("mute", "a.run", "d=1,e=2", "1h", "--reason", "x").code == 0
        listed = p.run("mute", "--json").json()
        assert json.loads(listed[0]["dimension"]) == {"d": "1", "e": "2"}, listed
        assert p.run("mute", "a.run", "1h", "--reason", "all").code == 0
        assert p.once().code == 0
        assert p.events()[-1]["delivery"] == "held_back", p.events()[-1]
        done = p.run("unmute", "a.run")
        assert done.code == 0, done
        assert p.run("mute", "--json").json() == []
        done = p.run("unmute", "a.run")
        assert done.code == 1 and "not muted" in done.err, done


if __name__ == "__main__":
    run_all(globals())
