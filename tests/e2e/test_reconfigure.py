"""A daemon takes another configuration between two runs, and keeps the one it has when the new one is wrong."""
import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import time

from harness import BINARY, project, report, wait_for, workers_of, run_all, simple
from remote import RATE, SECRET, Platform

SANITIZED = any(mark in pathlib.Path(BINARY).read_bytes() for mark in (b"__asan_init", b"__tsan_init"))
EVERY = 'monitor{ title = "%s", schedule = "@every 1s", params = { n = 0 }%s }\nfunction run(params, ctx)\n%s\nend\n'


def every(body='  print("n=" .. params.n)', title="Test", keys=""):
    """A script that runs each second and says its parameter."""
    return EVERY % (title, ", " + keys if keys else "", body)


def conf(p, text, name="selfmon.conf.lua"):
    """Writes the configuration as editors do: a whole file over the old one."""
    new = p.dir / (name + ".new")
    new.write_text(text if text.startswith("return") else f"return {{ {text} }}\n")
    new.rename(p.dir / name)


class Running:
    """A daemon that says what it does on `err`."""

    def __init__(self, p, *args, env=None):
        self.p, self.d = p, p.daemon(*args, env=env)
        self.d.wait_line("loaded", seconds=30)
        self.seen = 0

    def said(self, *words, seconds=30):
        """Waits for a line after those seen before that holds all the words."""
        def find():
            lines = self.d.err.splitlines()
            for number in range(self.seen, len(lines)):
                if all(w in lines[number] for w in words):
                    self.seen = number + 1
                    return lines[number]
            return None
        try:
            return wait_for(find, f"a line with {words}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- err\n{self.d.err}\n--- out\n{self.d.out}") from None

    def change(self, text, *words):
        """Another configuration, and the line that says so."""
        conf(self.p, text)
        os.kill(self.d.pid, signal.SIGHUP)
        return self.said("configuration: read again", *words)

    def refused(self, text, *words):
        conf(self.p, text)
        os.kill(self.d.pid, signal.SIGHUP)
        return self.said("error: configuration:", *words)

    def status(self):
        done = self.p.run("status", "--json")
        assert done.code == 0, done
        return done.json()

    def logged(self, text, id="a.run", seconds=30):
        """Waits for a run of id, begun from now on, whose log holds the text; gives it."""
        since = len(self.p.runs("--id", id))

        def find():
            for run in self.p.runs("--log", "--id", id)[since:]:
                if any(text in line["text"] for line in run["log"]):
                    return run
            return None
        return wait_for(find, f"a run of {id} that says {text!r}", seconds)


@contextlib.contextmanager
def running(config, *args, env=None, **scripts):
    with project() as p:
        conf(p, config)
        for name, text in (scripts or {"a": every()}).items():
            p.script(name + ".lua", text)
        yield Running(p, *(args or ("inspections/",)), env=env)


def test_params():
    """params: the next run has them; the line says what changed; what is the same says nothing"""
    with running('params = { ["a.run"] = { n = 1 } }') as r:
        r.logged("n=1")
        line = r.change('params = { ["a.run"] = { n = 2 } }')
        assert line.endswith("configuration: read again: params (1 inspection changed)"), line
        run = r.logged("n=2")
        assert run["outcome"] == "ok", run
        before = r.status()["configuration"]
        conf(r.p, '\n\n  params = { ["a.run"] = { n = 2 } }')
        os.kill(r.d.pid, signal.SIGHUP)
        wait_for(lambda: r.status()["configuration"]["reloads"] > before["reloads"], "a reading")
        assert r.d.err.count("read again") == 1, r.d.err
        assert r.status()["configuration"]["loaded_at"] > before["loaded_at"]
        assert r.d.stop() == 0


def test_schedule_and_timezone():
    """schedule and timezone: due times are computed anew; those of others stay"""
    with running('schedule = { ["b.run"] = "0 3 * * *" }', a=every(), b=simple()) as r:
        def item(id):
            return next(i for i in r.p.run("list", "--json").json() if i["id"] == id)
        assert item("b.run")["next"].endswith("T03:00:00Z"), item("b.run")
        r.change('schedule = { ["b.run"] = "0 4 * * *" }', "schedule (1 inspection changed)")
        assert item("b.run")["next"].endswith("T04:00:00Z"), item("b.run")
        r.change('schedule = { ["b.run"] = "0 4 * * *" }, timezone = "Asia/Shanghai"', "timezone")
        assert item("b.run")["next"].endswith("T20:00:00Z"), item("b.run")
        assert item("b.run")["timezone"] == "Asia/Shanghai"
        r.change('schedule = { ["b.run"] = "@every 1s" }')
        r.d.wait_line("ok", "b.run")
        wait_for(lambda: [x for x in r.p.runs("--id", "b.run") if x["trigger"] == "schedule"], "a run of b.run", 30)
        assert r.d.stop() == 0


def test_instances():
    """instances: new, changed and removed ones, while the script itself runs on"""
    one = 'instances = { ["a.run"] = { shop = { schedule = "@every 1s", params = { n = %d } } } }'
    with running("") as r:
        r.change(one % 7, "instances (1 inspection changed)")
        r.logged("n=7", "a.run@shop")
        r.change(one % 8)
        r.logged("n=8", "a.run@shop")
        r.change("", "instances")
        assert [i["id"] for i in r.p.run("list", "--json").json()] == ["a.run"]
        count = len(r.p.runs("--id", "a.run@shop"))
        r.logged("n=0")
        r.logged("n=0")
        assert len(r.p.runs("--id", "a.run@shop")) <= count + 1  # one may have been under way
        assert r.d.stop() == 0


def test_grant_and_keys():
    """grant and keys: a permission comes and goes; a pinned key holds from the next run"""
    body = '  print("got", pcall(require "selfmon.secret", "shop"))'
    with running("", a=every(body, keys='permissions = { "secret:shop" }')) as r:
        r.logged("is not granted")
        r.change('grant = { ["a.run"] = { "secret:shop" } }', "grant (1 inspection changed)")
        granted = r.logged("got")
        assert not any("is not granted" in line["text"] for line in granted["log"]), granted
        r.change('keys = { ["a.run"] = "pinned-key" }', "grant", "keys")
        r.logged("is not granted")
        assert r.p.run("list", "--json").json()[0]["ref_key"] == "pinned-key"
        wait_for(lambda: any(i["refKey"] == "pinned-key" for i in r.p.run("local", "show", "--json").json()),
                 "the object under the pinned key", 30)
        assert r.d.stop() == 0


def test_limits():
    """limits: the next run has other ceilings; one above its ceiling is told once, with both values"""
    hungry = '  local t = {}\n  for i = 1, 400000 do t[i] = { i } end\n  print("fed")'
    with running('limits = { memory = "64MiB" }', a=every(hungry, keys='limits = { memory = 48 << 20 }')) as r:
        r.logged("fed")
        r.change('limits = { memory = "8MiB" }', "limits (1 inspection changed)")
        told = [line for line in r.d.err.splitlines() if "above the ceiling" in line]
        assert told == ["warning: inspections/a.lua:1: a.run: limits.memory = 48 MiB is above the ceiling of 8 MiB "
                        "(limits.memory, selfmon.conf.lua:1); it gets 8 MiB"], r.d.err
        run = wait_for(lambda: next((x for x in r.p.runs() if x["outcome"] == "limit"), None), "a limit", 30)
        assert "memory" in run["error"], run
        small = set(workers_of(r.d.pid))
        r.change('limits = { memory = "64MiB" }')
        r.logged("fed")
        # What the system allows a worker is decided when it is made.
        wait_for(lambda: not small & set(workers_of(r.d.pid)), "other workers", 30)
        assert len(workers_of(r.d.pid)) <= len(small) + 1
        assert r.d.stop() == 0


def test_ceiling_in_lint():
    """lint tells a limit above its ceiling"""
    with project() as p:
        p.script("a.lua", every(keys='limits = { events = 5000 }, timeout = 60'))
        conf(p, 'limits = { wall = "10s" }')
        found = p.run("lint", "--json")
        text = [f["message"] for f in found.json() if f["rule"] == "SM012"]
        assert found.code == 1 and len(text) == 2, found
        assert "limits.events = 5000 is above the ceiling of 1000 (limits.events, default)" in text[0], text
        assert "timeout = 60 s is above the ceiling of 10 s (limits.wall, selfmon.conf.lua:1)" in text[1], text


def test_net():
    """net: what scripts may reach changes with the next run"""
    body = '  local ok, why = require "selfmon.http".get("http://127.0.0.1:9/")\n  print(why)'
    with running("", a=every(body)) as r:
        first = r.logged("")["log"][0]["text"]
        r.change('net = "public"', "net (1 inspection changed)")
        denied = wait_for(lambda: next((x for x in r.p.runs("--log") if x["log"] and x["log"][0]["text"] != first),
                                       None), "another answer", 30)
        assert "net" in denied["log"][0]["text"] or "allowed" in denied["log"][0]["text"], denied
        r.change("", "net")
        r.logged(first)
        assert r.d.stop() == 0


def test_pool():
    """workers: the pool grows and shrinks; isolation = "process" gives each run its own"""
    slow = '  require "selfmon.time".sleep(4)\n  print("slept")'
    with running("workers = 1", a=every(), b=simple(slow)) as r:
        wait_for(lambda: len(workers_of(r.d.pid)) == 1, "one worker", 30)
        r.change("workers = 4", "workers")
        wait_for(lambda: len(workers_of(r.d.pid)) == 4, "four workers", 30)
        r.change("workers = 2, runs_per_worker = 1, max_running = 7", "workers", "runs_per_worker", "max_running")
        wait_for(lambda: len(workers_of(r.d.pid)) == 2, "two workers", 30)
        r.change('workers = 1, isolation = "process"', "isolation")
        wait_for(lambda: any(w["alone"] for w in r.status()["workers"]["workers"]), "a worker of its own", 30)
        r.change("workers = 1")
        wait_for(lambda: len(workers_of(r.d.pid)) == 1, "one worker", 30)
        # A run under way ends as it began.
        run = wait_for(lambda: next((x for x in r.p.runs("--id", "b.run", "--log") if x["outcome"]), None),
                       "the end of b.run", 30)
        assert run["outcome"] == "ok" and run["seconds"] > 3.9 and run["attempt"] == 1, run
        assert r.d.stop() == 0


def test_log():
    """log: level and format change at once"""
    with running('log = { level = "warn" }') as r:
        conf(r.p, 'log = { format = "json" }')
        os.kill(r.d.pid, signal.SIGHUP)
        line = json.loads(r.said("configuration: read again: log"))
        assert line["level"] == "info" and line["msg"] == "configuration: read again: log", line
        ran = json.loads(r.said("a.run", "ok"))
        assert "a.run" in ran["msg"], ran
        shown = len(r.d.out)
        conf(r.p, 'log = { level = "debug", format = "text" }')
        os.kill(r.d.pid, signal.SIGHUP)
        assert r.said("configuration: read again: log") == "configuration: read again: log"
        wait_for(lambda: "a.run" in r.d.out[shown:], "lines for a person", 30)
        assert r.d.stop() == 0


def test_outbox_limit():
    """limits.outbox and min_free: what the store takes"""
    with running("", a=every(report())) as r:
        wait_for(lambda: r.p.runs(), "a run", 30)
        r.change('limits = { min_free = "1TiB" }', "limits")
        run = wait_for(lambda: next((x for x in r.p.runs() if x["outcome"] == "failed"), None), "a refusal", 30)
        assert "outbox is full" in run["error"] and "limits.min_free" in run["error"], run
        r.change("")
        count = len(r.p.runs())
        wait_for(lambda: [x for x in r.p.runs()[count + 1:] if x["outcome"] == "ok"], "a run that reports", 30)
        assert r.d.stop() == 0


def test_retention():
    """retention: what is older goes at once"""
    with running("", a=simple(), b=simple()) as r:
        wait_for(lambda: len(r.p.runs()) == 2, "two runs", 30)
        r.d.stop()
        base = sqlite3.connect(r.p.dir / ".selfmon" / "selfmon.db")
        with base:
            base.execute("UPDATE runs SET started_ns = started_ns - 10800000000000, "
                         "finished_ns = finished_ns - 10800000000000 WHERE id = 'a.run'")
        base.close()
        r.d = r.p.daemon()
        r.d.wait_line("loaded", seconds=30)
        r.seen = 0
        r.change('retention = { runs = "1h" }', "retention")
        wait_for(lambda: {x["id"] for x in r.p.runs()} == {"b.run"}, "the old run to go", 30)
        assert r.d.stop() == 0


def test_next_start():
    """state_dir, inspections, listen, health_listen and the association secret wait for the next start"""
    with running("") as r:
        key = r.p.run("key", "a.run").out.split()[0]
        (r.p.dir / "other").mkdir()
        conf(r.p, 'return {\n  state_dir = "elsewhere",\n  inspections = "other",\n  listen = "127.0.0.1:1",\n'
                  '  health_listen = "127.0.0.1:2",\n  secret = "another-secret-of-ours",\n'
                  '  params = { ["a.run"] = { n = 4 } } }\n')
        os.kill(r.d.pid, signal.SIGHUP)
        for line, name in enumerate(("state_dir", "inspections", "listen", "health_listen", "secret"), 2):
            r.seen = 0
            r.said(f"warning: {name} changed in selfmon.conf.lua:{line}; it takes effect at the next start")
        r.said("configuration: read again: params (1 inspection changed)")
        wait_for(lambda: "n=4" in json.dumps(r.p.run("runs", "--json", "--log", "--state-dir", ".selfmon").json()),
                 "the parameter", 30)
        listed = r.p.run("list", "--json", "--state-dir", ".selfmon").json()
        assert [i["ref_key"] for i in listed] == [key], listed
        assert not (r.p.dir / "elsewhere").exists()
        shown = r.d.err.count("next start")
        conf(r.p, (r.p.dir / "selfmon.conf.lua").read_text().replace("n = 4", "n = 5"))
        os.kill(r.d.pid, signal.SIGHUP)
        r.said("configuration: read again: params")
        assert r.d.err.count("next start") == shown, r.d.err
        assert "another-secret-of-ours" not in r.d.err
        assert r.d.stop() == 0


BAD = [
    ("return {", "selfmon.conf.lua:1: "),
    ("return {\n parms = {} }", 'selfmon.conf.lua:2: unknown key "parms"; did you mean "params"?'),
    ("return {\n workers = 0 }", "selfmon.conf.lua:2: workers: expected a whole number from 1 to 256, got 0"),
    ('return { secret_file = "open" }', "open"),
    ('return { params = { ["a.run"] = { n = file "none" } } }', "none"),
    ("return (function() while true do end end)()", "selfmon.conf.lua"),  # 5 s of CPU or 10 s in all
    ('return { accounts = { default = { api_key_id = "x", node = "cn3" } } }', "api_key"),
]


def test_bad_stays():
    """a wrong configuration: the former one stays, one line, status and count; mended: said"""
    with running('params = { ["a.run"] = { n = 1 } }') as r:
        r.p.write("open", "secret").chmod(0o644)
        for number, (text, words) in enumerate(BAD, 1):
            line = r.refused(text, words)
            assert line.endswith("; the former one stays"), line
            shown = r.status()["configuration"]
            assert words in shown["error"] and shown["failures"] >= number, shown
            assert shown["file"] == str(r.p.dir / "selfmon.conf.lua"), shown
            text = r.p.run("status").out
            assert "configuration:" in text and shown["error"][:60] in text, text
        done = r.p.run("runs", "--json", "--log")
        assert done.code == 0 and "the daemon works on with the former one" in done.err, done
        assert {line["text"] for x in done.json() for line in x["log"]} == {"n=1"}, done
        shown = r.d.out.count("a.run")
        wait_for(lambda: r.d.out.count("a.run") > shown + 1, "runs meanwhile", 30)
        r.change('params = { ["a.run"] = { n = 2 } }')
        logs = [line["text"] for x in r.p.runs("--log") for line in x["log"]]
        assert set(logs) == {"n=1"}, logs
        assert "selfmon.conf.lua is in order again" in r.d.err
        assert r.status()["configuration"]["error"] is None
        r.logged("n=2")
        assert r.d.stop() == 0


def test_watched():
    """the file and those it reads are watched: no signal is needed; of two quick changes the last one counts"""
    with project() as p:
        p.write("n.txt", "a\n")
        conf(p, 'return { params = { ["a.run"] = { n = ({ a = 1, b = 2, c = 3 })[file "n.txt"] } } }')
        p.script("a.lua", every())
        r = Running(p)
        r.logged("n=1")
        p.write("n.txt", "b\n")
        r.said("configuration: read again: params")
        r.logged("n=2")
        (p.dir / "n.txt").unlink()
        r.said("error: configuration: selfmon.conf.lua:1:", "n.txt")
        p.write("n.txt", "c\n")
        r.said("configuration: read again: params")
        p.write("key", "a-secret-that-is-open").chmod(0o644)
        conf(p, 'return { secrets = { k = { file = "key" } }, params = { ["a.run"] = { n = 4 } } }')
        r.said("error: configuration:", "can be read by others")
        (p.dir / "key").chmod(0o600)
        r.said("configuration: read again: params")
        for number in range(10, 30, 2):
            conf(p, f'params = {{ ["a.run"] = {{ n = {number} }} }}')
            time.sleep(0.003 * (number % 7))
            conf(p, f'params = {{ ["a.run"] = {{ n = {number + 1} }} }}')
        r.logged("n=29")
        failures = r.status()["configuration"]["failures"]
        (p.dir / "selfmon.conf.lua").write_text("return {")
        r.said("error: configuration: selfmon.conf.lua:1:")
        (p.dir / "selfmon.conf.lua").write_text('return { params = { ["a.run"] = { n = 30 } } }')
        r.said("configuration: read again: params")
        assert r.status()["configuration"]["failures"] > failures
        assert r.d.stop() == 0


def test_adversarial_files():
    """the file goes and comes back, is a FIFO, a directory, a gigabyte, a link: nothing hangs, nothing is lost"""
    with running('params = { ["a.run"] = { n = 1 } }') as r:
        path = r.p.dir / "selfmon.conf.lua"

        def wrong(*words):
            os.kill(r.d.pid, signal.SIGHUP)
            r.said("error: configuration:", *words)
        path.unlink()
        wrong("selfmon.conf.lua: the file is gone")
        os.mkfifo(path)
        wrong("is not a regular file")
        path.unlink()
        path.mkdir()
        wrong("it is a directory")
        path.rmdir()
        with open(path, "w") as big:
            big.truncate(1 << 30)
        wrong("selfmon.conf.lua")
        path.unlink()
        path.symlink_to("nowhere.lua")
        wrong("selfmon.conf.lua")
        path.unlink()
        (r.p.dir / "real.lua").write_text('return { params = { ["a.run"] = { n = 3 } } }')
        path.symlink_to("real.lua")
        os.kill(r.d.pid, signal.SIGHUP)
        r.said("configuration: read again: params")
        r.logged("n=3")
        assert r.d.stop() == 0


def test_hanging_file():
    """a configuration that waits for ever does not stop the daemon, nor its end"""
    with running("") as r:
        conf(r.p, 'return { secrets = { s = { command = { "sleep", "600" } } }, '
                  'accounts = { default = { node = "cn3", api_key_id = "wsak_123456", api_key = secret "s" } } }')
        os.kill(r.d.pid, signal.SIGHUP)
        shown = r.d.out.count("a.run")
        wait_for(lambda: r.d.out.count("a.run") > shown + 2, "runs meanwhile", 30)
        began = time.monotonic()
        assert r.d.stop() == 0
        assert time.monotonic() - began < 8, "the end waited for the command"


def test_file_appears():
    """a configuration file where there was none is found"""
    with project() as p:
        p.script("a.lua", every())
        r = Running(p)
        r.change('params = { ["a.run"] = { n = 6 } }', "params")
        r.logged("n=6")
        assert r.d.stop() == 0


def test_flags_and_environment():
    """flag and environment still go before the file"""
    with project() as p:
        conf(p, "")
        p.script("a.lua", every())
        r = Running(p, "--state-dir", "mine", "inspections/", env={"SELFMON_LISTEN": "127.0.0.1:3"})
        conf(p, 'state_dir = "other", listen = "127.0.0.1:4", params = { ["a.run"] = { n = 2 } }')
        os.kill(r.d.pid, signal.SIGHUP)
        r.said("configuration: read again: params")
        assert "next start" not in r.d.err, r.d.err
        assert not (p.dir / "other").exists() and (p.dir / "mine").exists()
        assert r.d.stop() == 0


def test_early_hangup():
    """HUP from the first line of main on neither ends the daemon nor is lost; workers do not inherit the hold"""
    def mask(pid, name):
        with open(f"/proc/{pid}/status") as status:
            return int(next(line for line in status if line.startswith(name)).split()[1], 16) & 1

    for step in range(8):
        with project() as p:
            p.script("a.lua", every())
            conf(p, "")
            d = p.daemon()
            wait_for(lambda: mask(d.pid, "SigBlk:") or mask(d.pid, "SigCgt:"), "main", 30)
            end = time.monotonic() + step * 0.002
            while time.monotonic() < end:
                pass
            os.kill(d.pid, signal.SIGHUP)
            d.wait_line("ok", "a.run", seconds=30)
            wait_for(lambda: p.run("status", "--json").json()["configuration"]["reloads"] == 1, "one reading", 30)
            for pid in workers_of(d.pid):
                assert mask(pid, "SigBlk:") == 0
            assert d.stop() == 0


def test_hangup_storm():
    """a thousand HUPs in a second: a handful of readings, and the last change counts"""
    with running('params = { ["a.run"] = { n = 1 } }') as r:
        began = time.monotonic()
        for number in range(1000):
            os.kill(r.d.pid, signal.SIGHUP)
            if number == 500:
                conf(r.p, 'params = { ["a.run"] = { n = 2 } }')
            if number % 10 == 0:
                time.sleep(0.005)
        took = time.monotonic() - began
        r.said("configuration: read again: params")
        r.logged("n=2")
        reloads = r.status()["configuration"]["reloads"]
        assert 1 <= reloads <= 5 * took + 5, (reloads, took)
        assert r.d.stop() == 0


def workspace(platform, more=""):
    """Fields of an account that talks to this stand-in."""
    return (f'node = {{ openapi = "{platform.url("openapi")}", openway = "{platform.url("openway")}" }}, '
            f'api_key_id = "{platform.key_id}", api_key = "{platform.key}", {RATE}, {more}')


def accounts(more="", **fields):
    inner = ", ".join(f"{name} = {{ {text} }}" for name, text in fields.items())
    return f'return {{ secret = "{SECRET}", accounts = {{ {inner} }}, {more} }}'


def delivered(p):
    return {e["event_id"]: e["delivery"] for e in p.events()}


def test_account_node():
    """another node: what is under way ends at the old one, the rest goes to the new one, nothing is lost or doubled"""
    with Platform() as old, Platform() as new:
        old.misbehave("/v1/write/keyevent", times=None, delay=0.7, after=True)
        with running(accounts(default=workspace(old)), a=every(report())) as r:
            wait_for(lambda: len(old.events) >= 2, "events at the old workspace", 30)
            r.change(accounts(default=workspace(new)), "accounts")
            wait_for(lambda: len(new.events) >= 3, "events at the new workspace", 30)
            assert len(new.checkers.created) == 1, new.checkers.created
            calls = len(old.of("/list"))
            shown = [a for a in r.status()["accounts"] if a["name"] == "default"]
            assert len(shown) == 1 and shown[0]["openapi"] == new.url("openapi"), shown
            r.change(accounts(default='node = "local"'), "accounts")
            count = len(r.p.runs())
            wait_for(lambda: len([x for x in r.p.runs() if x["outcome"] == "ok"]) >= count + 2, "local runs", 30)
            wait_for(lambda: "pending" not in delivered(r.p).values(), "the outbox to be empty", 60)
            assert len(old.of("/list")) == calls, "the old workspace is still asked"
            assert r.d.stop() == 0
            ids = [e.id for e in old.events + new.events]
            assert len(ids) == len(set(ids)), "an event went to both"
            known = delivered(r.p)
            assert set(ids) <= set(known) and len(known) > len(ids), (len(ids), len(known))
        old.check()
        new.check()


def test_account_fields():
    """report_via, timeout, rate of an account change in place: token, views and budget stay"""
    with Platform() as platform:
        with running(accounts(default=workspace(platform)), a=every(report())) as r:
            wait_for(lambda: platform.events, "an event", 30)
            tokens = len(platform.of("/workspace/get"))
            r.change(accounts(default=workspace(platform, 'report_via = "report_event", timeout = "7s"')), "accounts")
            wait_for(lambda: any(e.road != platform.events[0].road for e in list(platform.events)),
                     "an event by the other road", 30)
            assert len(platform.of("/workspace/get")) == tokens, "the token was asked for again"
            assert len(platform.checkers.created) == 1
            r.change(accounts(default=workspace(platform).replace("60000", "7")), "accounts")
            budget = r.status()["accounts"][0]["budget"]
            assert budget["key"] <= 7 and budget["workspace"] <= 7, budget
            assert r.d.stop() == 0
        platform.check()


def test_account_comes_and_goes():
    """a new account; a removed one: its events stay and status says so; back again: they are delivered"""
    instance = 'instances = { ["a.run"] = { eu = { account = "eu", schedule = "@every 1s" } } }'
    with Platform() as platform:
        with running("", a=every(report())) as r:
            platform.misbehave("/v1/write/keyevent", times=None, status=503)
            r.change(accounts(instance, eu=workspace(platform)), "accounts")
            wait_for(lambda: [e for e in r.p.events() if e["account"] == "eu"], "an event of the account", 60)
            r.change(accounts(), "accounts")
            line = wait_for(lambda: next((t for t in r.status()["trouble"] if "eu" in t), None), "trouble", 30)
            assert 'of the account "eu", which is not in the configuration' in line, line
            waits = {e["event_id"] for e in r.p.events() if e["account"] == "eu" and e["delivery"] != "delivered"}
            assert waits
            platform.behave()
            r.change(accounts(eu=workspace(platform)), "accounts")
            wait_for(lambda: waits <= {e.id for e in list(platform.events)}, "what waited", 60)
            wait_for(lambda: not [t for t in r.status()["trouble"] if "eu" in t], "no trouble", 60)
            assert r.d.stop() == 0
        platform.check()


def test_script_of_a_removed_account():
    """a script that names an account runs as long as that is in the configuration; the others in its file go on"""
    both = ('monitor{ title = "A", schedule = "@every 1s", account = "eu" }\nfunction one()\nend\n'
            'monitor{ title = "B", schedule = "@every 1s" }\nfunction two()\nend\n')
    with running('accounts = { eu = { node = "local" } }', a=both) as r:
        r.d.wait_line("ok", "a.one", seconds=30)
        r.change("", "accounts")
        assert 'error: inspections/a.lua:1: account "eu" is not in the configuration' in r.d.err, r.d.err
        assert [i["id"] for i in r.p.run("list", "--json").json() if "id" in i] == ["a.two"]
        count = len(r.p.runs("--id", "a.two"))
        wait_for(lambda: len(r.p.runs("--id", "a.two")) > count + 1, "the other one", 30)
        r.change('accounts = { eu = { node = "local" } }', "accounts")
        count = len(r.p.runs("--id", "a.one"))
        wait_for(lambda: len(r.p.runs("--id", "a.one")) > count, "the first one again", 30)
        assert r.d.stop() == 0


def test_account_keys():
    """api keys and the secrets they come from: a wrong one is mended without a restart"""
    with Platform() as platform:
        node = workspace(platform).split("api_key_id")[0]
        text = accounts('secrets = { k = { file = "%s" }, i = { file = "id" } }',
                        default=f'{node} api_key_id = secret "i", api_key = secret "k", {RATE}')
        with project() as p:
            p.write("id", "wsak_of_nobody_at_all").chmod(0o600)
            p.write("wrong", "sk_of_nobody_at_all").chmod(0o600)
            p.write("right", platform.key).chmod(0o600)
            conf(p, text % "wrong")
            p.script("a.lua", every())
            r = Running(p)
            r.d.wait_line("unregistered", "a.run", seconds=60)
            p.write("id", platform.key_id)
            r.change(text % "right", "secrets")
            r.d.wait_line("ok", "a.run", seconds=60)
            assert r.d.stop() == 0
            shown = r.d.out + r.d.err
            assert platform.key not in shown and "sk_of_nobody" not in shown, shown
        platform.check()


def test_view_age():
    """config_max_age: how often the platform is asked"""
    with Platform() as platform:
        with running(accounts("config_max_age = 0", default=workspace(platform)), a=every()) as r:
            first = len(platform.of("/list"))
            wait_for(lambda: len(platform.of("/list")) > first + 3, "questions", 30)
            r.change(accounts('config_max_age = "1h"', default=workspace(platform)), "config_max_age")
            count = len(r.p.runs())
            wait_for(lambda: len(r.p.runs()) > count + 1, "runs", 30)
            asked = len(platform.of("/list"))
            wait_for(lambda: len(r.p.runs()) > count + 5, "runs", 30)
            assert len(platform.of("/list")) == asked, "it was asked again"
            assert r.d.stop() == 0
        platform.check()


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        return len(found.read().split())


def test_many_reloads():
    """200 readings under load, good and bad in turn: no slot lost, no descriptor or process left, memory flat"""
    scripts = {f"s{i}": every() for i in range(20)}
    text = 'params = { %s }, secrets = { k = { file = "key" } }, grant = { ["*"] = { "secret:k" } }'
    with running("workers = 2", **scripts) as r:
        r.p.write("key", "a-key-of-twenty-bytes").chmod(0o600)
        fds = lambda: len(os.listdir(f"/proc/{r.d.pid}/fd"))
        before = None
        for number in range(200):
            if number % 2:
                conf(r.p, "return { parms = %d }" % number)
            else:
                conf(r.p, text % f'["s1.run"] = {{ n = {number} }}')
            seen = r.status()["configuration"]
            os.kill(r.d.pid, signal.SIGHUP)
            wait_for(lambda: (lambda c: c["reloads"] + c["failures"])(r.status()["configuration"]) >
                     seen["reloads"] + seen["failures"], "a reading", 60)
            if number == 20:
                before = (fds(), children(r.d.pid), resident(r.d.pid))
        conf(r.p, text % '["s1.run"] = { n = 1000 }')
        os.kill(r.d.pid, signal.SIGHUP)
        r.logged("n=1000", "s1.run")
        shown = r.status()["configuration"]
        assert shown["reloads"] >= 101 and shown["failures"] >= 100, shown
        wait_for(lambda: fds() <= before[0] + 2, f"{before[0]} descriptors, not {fds()}", 30)
        wait_for(lambda: children(r.d.pid) <= before[1], "no process too many", 30)
        grown = resident(r.d.pid) - before[2]  # what a sanitizer keeps back of freed memory does not count
        assert SANITIZED or grown < 8192, (before, grown)
        assert r.d.stop() == 0
        runs = r.p.runs("--id", "s2.run")
        slots = [x["slot"] for x in runs if x["slot"] is not None]
        assert len(slots) == len(set(slots)) and len(slots) > 3, slots
        assert slots == list(range(slots[0], slots[0] + len(slots))), "a slot is missing"


if __name__ == "__main__":
    run_all(globals())
