#!/usr/bin/python3
"""report_failures: the runner's own events for inspections that do not run: once when it begins, an ok when
it is healed; and never for what is not the inspection's fault."""
import os
import shutil
import signal
import subprocess
import time

from harness import BINARY, Daemon, clean_env, project, report, run_all, simple, wait_for, workers_of
from remote import shop

EACH = "@every 1s"


def bad(text="broken", **kw):
    return simple(f'  error("{text}")', schedule=EACH, **kw)


def good(**kw):
    return simple("  return", schedule=EACH, **kw)


def own(p, *args):
    """The runner's own events."""
    return [e for e in p.events(*args) if "selfmon_function" in e["dimension_tags"]]


def wait_own(p, count, seconds=30):
    return wait_for(lambda: len(own(p)) >= count and own(p), f"{count} own events", seconds)


def more_runs(p, id_, n=3, outcome=None):
    """Waits for n further runs of an inspection."""
    def count():
        return len([r for r in p.runs("--id", id_) if outcome in (None, r["outcome"])])
    before = count()
    wait_for(lambda: count() >= before + n, f"{n} more runs of {id_}", 40)


def test_once_and_healed():
    """a failing inspection is reported once, whatever comes after, and once when it is healed"""
    with project() as p:
        p.script("a.lua", bad("no such thing", title="The shop"))
        p.script("fine.lua", good())
        d = p.daemon()
        event = wait_own(p, 1)[0]
        assert event["title"] == "Inspection does not run: The shop", event
        assert event["status"] == "error" and event["id"] == "a.run", event
        assert event["dimension_tags"] == {"selfmon_function": "a.run"}, event
        run = p.runs("--id", "a.run")[0]
        for part in ("**failed**", "no such thing", "inspections/a.lua:3", run["run"], "Since: 20"):
            assert part in event["message"], (part, event["message"])
        more_runs(p, "a.run")
        assert len(own(p)) == 1
        p.script("a.lua", bad("another thing", title="The shop"))
        wait_for(lambda: "another" in (p.runs("--id", "a.run")[-1]["error"] or ""), "the new text")
        more_runs(p, "a.run", 2)
        assert len(own(p)) == 1, own(p)
        p.script("a.lua", good(title="The shop"))
        healed = wait_own(p, 2)[1]
        assert healed["status"] == "ok" and healed["title"] == "Inspection runs again: The shop", healed
        assert healed["dimension_tags"] == {"selfmon_function": "a.run"}, healed
        more_runs(p, "a.run")
        assert len(own(p)) == 2 and {e["id"] for e in own(p)} == {"a.run"}
        p.script("a.lua", bad())
        assert wait_own(p, 3)[2]["status"] == "error"
        wait_for(lambda: {e["delivery"] for e in own(p)} == {"delivered"}, "delivered")
        assert d.stop() == 0


def test_each_bad_outcome():
    """timeout, limit, crashed and bad_params are reported with their sentence"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { params = { ["params.run"] = { n = "many" } } }')
        p.script("slow.lua", 'monitor{ title = "slow", schedule = "@every 1s", timeout = 1 }\n'
                             'function run() while true do end end\n')
        p.script("big.lua", 'monitor{ title = "big", schedule = "@every 1s" }\n'
                            'function run() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end\n')
        p.script("params.lua", 'monitor{ title = "params", schedule = "@every 1s", params = { n = 1 } }\n'
                               'function run() end\n')
        p.script("crash.lua", 'monitor{ title = "crash", schedule = "@every 1s" }\n'
                              'function run() require "selfmon.time".sleep(20) end\n')
        d = p.daemon()

        wait_for(lambda: {e["id"] for e in own(p)} >= {"slow.run", "big.run", "params.run"}, "three", 60)
        by_id = {e["id"]: e["message"] for e in own(p)}
        assert "**timeout**" in by_id["slow.run"] and "**limit**" in by_id["big.run"], by_id
        assert "**bad_params**" in by_id["params.run"] and "many" in by_id["params.run"], by_id
        end = time.monotonic() + 60
        while not own(p, "--id", "crash.run"):
            assert time.monotonic() < end, p.runs("--id", "crash.run")
            for pid in workers_of(d.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.7)
        assert "**crashed**" in own(p, "--id", "crash.run")[0]["message"]
        d.kill()


def test_survives_restarts():
    """which inspections fail survives kill -9: no second event, and the ok comes from the next process"""
    with project() as p:
        p.script("a.lua", bad())
        d = p.daemon()
        first = wait_own(p, 1)[0]
        d.kill()
        d = p.daemon()
        more_runs(p, "a.run", 3, "failed")
        assert [e["event_id"] for e in own(p)] == [first["event_id"]], own(p)
        d.kill()
        p.script("a.lua", good())
        d = p.daemon()
        assert [e["status"] for e in wait_own(p, 2)] == ["error", "ok"]
        assert d.stop() == 0


def test_file_that_no_longer_loads():
    """a file that loaded before: reported under its functions' keys, healed when mended; a new one never"""
    with project() as p:
        p.script("a.lua", good(title="First") + 'monitor{ title = "Second" }\nfunction other() end\n')
        p.script("new.lua", "monitor{ title = ")
        d = p.daemon()
        d.wait_line("a.run", "ok")
        p.script("a.lua", good(title="First") + "this is not Lua\n")
        events = wait_own(p, 2)
        assert {e["id"] for e in events} == {"a.run", "a.other"}, events
        assert all(e["status"] == "error" and "does not load; its last good version keeps running" in e["message"]
                   and "inspections/a.lua:5" in e["message"] for e in events), events
        more_runs(p, "a.run", 3, "ok")
        assert len(own(p)) == 2, "an ok run of the last good version does not mend the file"
        d.kill()
        d = p.daemon()
        more_runs(p, "a.run", 2, "ok")
        assert len(own(p)) == 2, own(p)
        p.script("a.lua", good(title="First") + 'monitor{ title = "Second" }\nfunction other() end\n')
        assert sorted(e["status"] for e in wait_own(p, 4)) == ["error", "error", "ok", "ok"]
        assert not [e for e in own(p) if e["id"].startswith("new")]
        assert d.stop() == 0


def test_renamed_and_removed():
    """a rename with `was` keeps the fault and its dimension; a removed inspection is closed"""
    with project() as p:
        p.script("a.lua", bad(title="Old name"))
        p.script("gone.lua", bad())
        d = p.daemon()
        wait_own(p, 2)
        (p.dir / "inspections/a.lua").unlink()
        p.script("b.lua", 'monitor{ title = "New name", schedule = "@every 1s", was = {"a.run"} }\n'
                          'function run() error("still") end\n')
        more_runs(p, "b.run", 3, "failed")
        assert len(own(p)) == 2, own(p)
        p.script("b.lua", 'monitor{ title = "New name", schedule = "@every 1s", was = {"a.run"} }\n'
                          'function run() end\n')
        healed = wait_own(p, 3)[2]
        assert healed["status"] == "ok" and healed["dimension_tags"] == {"selfmon_function": "a.run"}, healed
        assert healed["id"] == "b.run", healed
        (p.dir / "inspections/gone.lua").unlink()
        closed = wait_own(p, 4, 60)[3]
        assert closed["status"] == "ok" and closed["id"] == "gone.run" and "was removed" in closed["message"], closed
        assert d.stop() == 0


def test_not_the_inspections_fault():
    """a full store, a disabled inspection, a person's run --once, an override: nothing is reported"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { limits = { min_free = "1TiB" } }')
        p.script("full.lua", simple(report(), schedule=EACH))
        p.script("fails.lua", simple('  error("x")'))
        assert p.once().code == 1
        assert own(p) == []
        d = p.daemon()
        more_runs(p, "full.run", 3, "failed")
        assert "outbox is full" in p.runs("--id", "full.run")[-1]["error"]
        assert p.once("-k", "fails").code == 1
        more_runs(p, "full.run", 1, "failed")
        assert own(p) == [], own(p)
        assert d.stop() == 0
        p.write("selfmon.conf.lua", "return {}")
        p.script("full.lua", bad())
        p.run("local", "disable", "full.run")
        d = p.daemon()
        more_runs(p, "full.run", 3, "disabled")
        assert own(p) == [], own(p)
        assert d.stop() == 0


def test_no_worker_can_be_started():
    """the system gives no worker process: runs fail, and no inspection is blamed"""
    with project() as p:
        shutil.copy(BINARY, p.dir / "program")
        p.script("a.lua", good())
        d = Daemon.__new__(Daemon)
        d.project, d.out_path, d.err_path = p, p.dir / "d.out", p.dir / "d.err"
        with open(d.out_path, "w") as out, open(d.err_path, "w") as err:
            d.process = subprocess.Popen([p.dir / "program", "run", "inspections/"], cwd=p.dir, env=clean_env(),
                                         stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        d.pid = d.process.pid
        p.daemons.append(d)
        d.wait_line("a.run", "ok")
        (p.dir / "program").unlink()
        for pid in workers_of(d.pid):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: [r for r in p.runs() if r["outcome"] == "failed"
                          and "no worker process can be started" in r["error"]], "runs that fail", 60)
        p.script("a.lua", good(title="Changed"))
        d.wait_line("a.run", "failed")
        time.sleep(2)  # a scan, at least
        assert own(p) == [], own(p)
        shutil.copy(BINARY, p.dir / "program.new")
        (p.dir / "program.new").rename(p.dir / "program")
        more_runs(p, "a.run", 2, "ok")
        assert own(p) == [], own(p)
        assert d.stop() == 0


def test_switched_off():
    """report_failures = false reports nothing, and closes what was open"""
    with project() as p:
        p.script("a.lua", bad())
        d = p.daemon()
        wait_own(p, 1)
        assert d.stop() == 0
        p.write("selfmon.conf.lua", "return { report_failures = false }")
        d = p.daemon()
        closed = wait_own(p, 2)[1]
        assert closed["status"] == "ok" and "report_failures" in closed["message"], closed
        more_runs(p, "a.run", 3, "failed")
        assert len(own(p)) == 2
        assert d.stop() == 0


def test_storm():
    """300 that fail at once: one event each, at most a hundred a minute"""
    with project() as p:
        for i in range(300):
            p.script(f"s{i:03}.lua", simple('  error("x")', schedule="@every 1h"))
        d = p.daemon()
        begin = time.monotonic()
        wait_own(p, 95, 60)
        end = begin + 8
        while time.monotonic() < end:
            n, seconds = len(own(p)), time.monotonic() - begin
            assert n <= 101 + seconds * 100 / 60, (n, seconds)
        wait_for(lambda: len(own(p)) > n + 2, "the others follow", 30)
        ids = [e["id"] for e in own(p)]
        assert len(set(ids)) == len(ids)
        assert d.stop() == 0


def test_at_the_workspace():
    """a workspace gets the event under the inspection's key, and the ok of the same fault"""
    with shop() as (p, platform):
        p.script("a.lua", bad(title="The shop"))
        d = p.daemon()
        wait_for(lambda: "Inspection does not run: The shop" in platform.titles(), "the event", 30)
        p.script("a.lua", good(title="The shop"))
        wait_for(lambda: "Inspection runs again: The shop" in platform.titles(), "its end", 30)
        assert platform.titles().count("Inspection does not run: The shop") == 1
        begin, end = [e for e in platform.events if "Inspection" in e.title]
        assert "Inspection does not" in begin.title and begin.dimension == end.dimension, (begin, end)
        assert "selfmon_function" in repr(begin) and "a.run" in repr(begin), begin
        checker = begin.tags["df_monitor_checker_id"]
        assert checker and checker == end.tags["df_monitor_checker_id"], (begin, end)
        assert d.stop() == 0
        platform.check()


if __name__ == "__main__":
    run_all(globals())
