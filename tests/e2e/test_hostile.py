"""Scripts that loop, eat memory, hang in C or crash Lua: each shows its true outcome, and the others in
the same second are not disturbed."""
import pathlib
import time

from harness import project, report, run_all, simple, wait_for, workers_of

HOSTILE = pathlib.Path(__file__).resolve().parent.parent / "data" / "hostile"

SCRIPT = '''monitor{{ title = "{name}", timeout = 2, schedule = "0 0 1 1 *" }}
function run(params, ctx)
  local http, sleep, log = require "selfmon.http", require "selfmon.time".sleep, require "selfmon.log"
  local report = function(e) return EventReporter():report(e) end
{body}
end
'''

EXPECTED = {
    "c01_while_true": {"timeout"},
    "e01_rep_bomb": {"limit"},
    "d04_pattern_exponential": {"timeout"},
    "d14_weak_metatable": {"limit", "crashed"},
    "f05_close_chain": {"crashed"},
}


def body(name):
    return (HOSTILE / f"{name}.lua").read_text()


def test_hostile_beside_good_ones():
    """each hostile script ends with its true outcome; the good ones beside them are not disturbed"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 2 }")
        for name in EXPECTED:
            # The ones about memory have time enough to get there on a slow machine.
            text = SCRIPT.format(name=name, body=body(name))
            p.script(f"hostile/{name}.lua",
                     text.replace("timeout = 2", "timeout = 15") if "limit" in EXPECTED[name] else text)
        for n in range(10):
            p.script(f"good/g{n}.lua", simple('  require "selfmon.time".sleep(0.2)\n' + report()))
        began = time.monotonic()
        done = p.once("--json", timeout=120)
        took = time.monotonic() - began
        results = {i["id"]: i for i in done.json()}
        assert done.code == 1, done
        for name, outcomes in EXPECTED.items():
            item = results[f"hostile/{name}.run"]
            assert item["outcome"] in outcomes, item
            assert item["error"], item
        for n in range(10):
            assert results[f"good/g{n}.run"]["outcome"] == "ok", results[f"good/g{n}.run"]
        assert len(p.events()) == 10, len(p.events())
        assert took < 40, took
        shown = {r["id"]: r["outcome"] for r in p.runs() if r["outcome"] != "cancelled"}
        for name, outcomes in EXPECTED.items():
            assert shown[f"hostile/{name}.run"] in outcomes, shown


def test_timeout_names_limit_and_line():
    """the error of a timeout names the limit and the script's line"""
    with project() as p:
        p.script("loop.lua", SCRIPT.format(name="loop", body="  local n = 0\n  while true do n = n + 1 end"))
        item = p.once("--json").json()[0]
        assert item["outcome"] == "timeout" and "2 s" in item["error"], item
        assert "inspections/loop.lua:" in item["error"], item


def test_memory_limit_names_limit_and_setting():
    """the error of the memory limit names limit, line and setting, and pcall does not catch it"""
    with project() as p:
        p.script("mem.lua", SCRIPT.format(
            name="mem", body="  local t = {}\n  while true do\n    pcall(function() for i = 1, 1e9 do t[#t + 1] = "
                             "('x'):rep(1000) .. #t end end)\n  end"))
        item = p.once("--json").json()[0]
        assert item["outcome"] == "limit" and "32 MiB" in item["error"], item
        assert "limits.memory" in item["error"] and "inspections/mem.lua:" in item["error"], item


def test_event_reported_before_the_hang_survives():
    """an event reported before a run hangs for ever is stored once and delivered"""
    with project() as p:
        p.script("hang.lua", SCRIPT.format(name="hang", body=report() + "\n" + body("d04_pattern_exponential")))
        item = p.once("--json").json()[0]
        assert item["outcome"] == "timeout", item
        events = p.events()
        assert len(events) == 1 and events[0]["delivery"] == "delivered", events


def test_daemon_survives_and_replaces_workers():
    """a daemon keeps its schedule while a script hangs its worker again and again; no zombies stay"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 2 }")
        p.script("hang.lua", SCRIPT.format(name="hang", body=body("d04_pattern_exponential")).replace(
            "0 0 1 1 *", "@every 3s").replace("timeout = 2", "timeout = 1"))
        p.script("tick.lua", simple(schedule="@every 1s"))
        d = p.daemon()
        wait_for(lambda: len([r for r in p.runs("--id", "hang.run") if r["outcome"] == "timeout"]) >= 2,
                 "two timeouts", 30)
        ticks = wait_for(lambda: (lambda seen: seen if len(seen) >= 4 else None)(p.runs("--id", "tick.run")),
                         "four ticks")
        assert {r["outcome"] for r in ticks if r["outcome"]} == {"ok"}, ticks
        assert d.process.poll() is None
        wait_for(lambda: len(workers_of(d.pid)) <= 4, "dead workers are gone")
        assert d.stop() == 0, d.err


run_all(globals())
