"""The main road: script -> run -> report -> durable -> delivered, on the embedded platform."""
import os
import signal
import stat

from harness import BINARY, ROOT, project, report, run_all, simple, wait_for, workers_of


def test_first_run_shows_what_it_did():
    """a daemon's first run: header, loaded line, one line a run, clean end on SIGTERM"""
    with project() as p:
        p.script("demo/hello.lua", simple(report("warning", "Disk is nearly full")))
        d = p.daemon()
        d.wait_line("selfmon-lua", "node local")
        d.wait_line("loaded 1 inspection in")
        line = d.wait_line("demo/hello.run", "event")
        assert " ok " in line and "1 event" in line and "warning" in line, line
        assert "Disk is nearly full" in line, line
        assert d.stop() == 0, d.err
        mode = stat.S_IMODE((p.dir / ".selfmon").stat().st_mode)
        assert mode == 0o700, oct(mode)
        for name in ("selfmon.db", "secret"):
            assert stat.S_IMODE((p.dir / ".selfmon" / name).stat().st_mode) == 0o600, name


def test_event_is_stored_and_delivered():
    """an event is there with its fields, delivered to the embedded platform"""
    with project() as p:
        p.script("demo/hello.lua", simple(report("critical", "Gone", '{ host = "db1", port = 5432 }')))
        done = p.once()
        assert done.code == 0, done
        events = p.events()
        assert len(events) == 1, events
        e = events[0]
        assert e["status"] == "critical" and e["title"] == "Gone" and e["message"] == "text", e
        assert e["dimension_tags"] == {"host": "db1", "port": "5432"}, e
        assert e["id"] == "demo/hello.run" and e["delivery"] == "delivered", e
        assert e["event_id"].startswith("event-") and len(e["event_id"]) == 38, e


def test_report_returns_the_id():
    """report returns the id of the stored event, a list for a list, an empty list for none"""
    with project() as p:
        p.script("a.lua", simple('''
  local r = EventReporter()
  print(r:report{ title = "a", message = "m", status = "info" })
  local two = r:report{ { title = "b", message = "m", status = "ok" }, { title = "c", message = "m", status = "error" } }
  print(#two, two[1], two[2])
  print(#r:report{})'''))
        assert p.once().code == 0
        ids = [e["event_id"] for e in p.events()]
        log = [line["text"].split() for line in p.runs("--log")[0]["log"]]
        assert log == [[ids[0]], ["2", ids[1], ids[2]], ["0"]], (log, ids)


def test_parameters_set_on_the_platform():
    """a parameter set there is used by the next run; one that does not fit is said at once"""
    with project() as p:
        p.script("demo/p.lua", '''
monitor{ title = "P", params = { threshold = 90, name = "x" } }
function run(params)
  print(math.type(params.threshold), params.threshold, params.name)
end''')
        assert p.once().code == 0
        done = p.run("local", "set", "demo/p.run", "threshold=75", "name=wörld")
        assert done.code == 0, done
        assert p.once().code == 0
        texts = [r["log"][-1]["text"].split() for r in p.runs("--log")]
        assert texts == [["integer", "90", "x"], ["integer", "75", "wörld"]], texts
        bad = p.run("local", "set", "demo/p.run", "treshold=1")
        assert bad.code == 64 and 'did you mean "threshold"' in bad.err, bad
        bad = p.run("local", "set", "demo/p.run", "threshold=many")
        assert bad.code == 64 and "threshold" in bad.err and "number" in bad.err, bad
        bad = p.run("local", "set", "demo/q.run", "threshold=1")
        assert bad.code == 1 and 'did you mean "demo/p.run"' in bad.err, bad
        assert p.run("local", "unset", "demo/p.run", "threshold").code == 0
        assert p.once().code == 0
        assert p.runs("--log")[-1]["log"][-1]["text"].split()[1] == "90"


def test_parameters_through_a_running_daemon():
    """edit a parameter while the daemon runs: the next run uses it; disabled: no script code runs"""
    with project() as p:
        p.script("tick.lua", '''
monitor{ title = "T", schedule = "@every 1s", params = { word = "first" } }
function run(params) print(params.word) end''')
        d = p.daemon()
        d.wait_line("ok", "tick.run")
        assert p.run("local", "set", "tick.run", "word=second").code == 0
        wait_for(lambda: any(line["text"] == "second" for r in p.runs("--log") for line in r["log"]),
                 "a run with the new parameter")
        assert p.run("local", "disable", "tick.run").code == 0
        d.wait_line("disabled", "tick.run")
        count = len([r for r in p.runs() if r["outcome"] == "ok"])
        wait_for(lambda: len([r for r in p.runs() if r["outcome"] == "disabled"]) >= 3,
                 "three disabled slots")
        assert len([r for r in p.runs() if r["outcome"] == "ok"]) == count
        assert p.run("local", "enable", "tick.run").code == 0
        wait_for(lambda: len([r for r in p.runs() if r["outcome"] == "ok"]) > count, "enabled again")
        assert d.stop() == 0


def test_deleted_is_registered_anew():
    """deleted on the platform: registered again at the next run, under a new UUID and the same key"""
    with project() as p:
        p.script("a.lua", simple())
        assert p.once().code == 0
        before = p.run("list", "--json").json()[0]
        assert before["registered"] and before["enabled"], before
        assert p.run("local", "delete", "a.run").code == 0
        assert p.once().code == 0
        after = p.run("list", "--json").json()[0]
        assert after["ref_key"] == before["ref_key"] and after["uuid"] != before["uuid"], (before, after)


def test_registered_text_and_parameters():
    """title, cleaned doc, definition, args and kwargs are what the platform holds"""
    with project() as p:
        p.script("demo/reg.lua", '''
monitor<title = "Shop", doc = [[
    Checks the shop.

      - indented
  ]], params = { max_ms = 800, url = "https://x/" }>
function check(params) end''')
        assert p.once().code == 0
        item = p.run("local", "show", "--json").json()[0]
        info = item["jsonScript"]["refFuncInfo"]
        assert item["title"] == "Shop", item
        assert info["funcId"] == "demo__reg.check", info
        assert info["definition"] == "check(max_ms=800, url='https://x/')", info
        assert info["args"] == ["max_ms", "url"] and info["kwargs"]["max_ms"] == {"default": 800}, info
        assert info["description"] == "Checks the shop.\n\n  - indented", repr(info["description"])


def test_changed_script_runs_without_restart():
    """a saved change runs without a restart; a broken one keeps the last good version"""
    with project() as p:
        p.script("t.lua", simple('  print("one")', schedule="@every 1s"))
        d = p.daemon()
        d.wait_line("ok", "t.run")
        p.script("t.lua", simple('  print("two")', schedule="@every 1s"))
        said = lambda word: any(line["text"] == word for r in p.runs("--log") for line in r["log"])
        wait_for(lambda: said("two"), "the new text")
        p.script("t.lua", "monitor{ title = 'x' } function run( end")
        wait_for(lambda: any(i.get("outcome") == "load_error" for i in p.run("list", "--json").json()),
                 "the load error in list")
        listed = p.run("list", "--json").json()
        assert [i["stale"] for i in listed] == [True, True], listed
        count = len(p.runs())
        wait_for(lambda: len(p.runs()) > count, "the last good version goes on")
        p.script("t.lua", simple('  print("three")', schedule="@every 1s"))
        wait_for(lambda: said("three"), "the mended text")
        assert d.stop() == 0


def test_readers_and_once_beside_a_daemon():
    """readers and run --once work while a daemon holds the state directory; a second daemon does not"""
    with project() as p:
        p.script("a.lua", simple(report()))
        d = p.daemon()
        d.wait_line("ok", "a.run")
        done = p.once("--json")
        assert done.code == 0 and done.json()[0]["outcome"] == "ok", done
        assert len(p.events()) == 2
        assert p.run("list").code == 0 and "a.run" in p.run("list").out
        second = p.run("run", "inspections/")
        assert second.code == 1 and f"held by process {d.pid} (run)" in second.err, second
        assert d.stop() == 0
        assert len(p.events()) == 2


def test_kill_9_after_report_keeps_the_event():
    """kill -9 of the daemon after report returned: the event is there after the next start, once"""
    with project() as p:
        p.script("slow.lua", simple(report() + '\n  require "selfmon.time".sleep(30)'))
        d = p.daemon()
        wait_for(lambda: p.events(), "the event")
        ids = [e["event_id"] for e in p.events()]
        d.kill()
        wait_for(lambda: not workers_of(d.pid), "the workers end with their daemon")
        after = p.events()
        assert [e["event_id"] for e in after] == ids, after
        d = p.daemon()
        d.wait_line("loaded")
        wait_for(lambda: p.events()[0]["delivery"] == "delivered", "delivery after the restart")
        assert [e["event_id"] for e in p.events()] == ids
        run = [r for r in p.runs() if r["outcome"] == "cancelled"]
        assert len(run) == 1, p.runs()
        assert d.stop() == 0


def test_killed_worker_run_is_repeated_alone():
    """kill -9 of a worker during a run: that run is repeated alone, nothing else changes"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("slow.lua", simple('  require "selfmon.time".sleep(2)\n  print("done")'))
        d = p.daemon()
        d.wait_line("loaded")
        wait_for(lambda: any(r["id"] == "slow.run" for r in p.runs()), "the run has begun")
        victim = wait_for(lambda: workers_of(d.pid), "a worker")
        for pid in victim:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: [r for r in p.runs() if r["outcome"] == "ok"], "the repeated run")
        runs = p.runs("--log")
        assert [(r["attempt"], r["outcome"]) for r in runs] == [(1, "cancelled"), (2, "ok")], runs
        assert "repeated alone" in runs[0]["error"], runs
        p.script("after.lua", simple(report()))
        d.wait_line("after.run")
        assert d.stop() == 0


def test_sigterm_gives_running_ones_time():
    """SIGTERM lets a running inspection end, then exits 0 and keeps its event"""
    with project() as p:
        p.script("slow.lua", simple('  require "selfmon.time".sleep(1)\n' + report()))
        d = p.daemon()
        wait_for(lambda: p.runs(), "the run has begun")
        assert d.stop() == 0
        assert p.runs()[0]["outcome"] == "ok", p.runs()
        assert p.events()[0]["delivery"] == "delivered", p.events()


def test_json_log():
    """--log-format json: every line of the daemon is one JSON object on standard error"""
    import json
    with project() as p:
        p.script("a.lua", simple(report("warning", "Tab\\tand \\\"quote\\\"")))
        d = p.daemon("--log-format", "json", "inspections/")
        wait_for(lambda: "a.run" in d.err and "event" in d.err, "the run in the log")
        assert d.stop() == 0 and d.out == "", d.out
        lines = [json.loads(line) for line in d.err.splitlines()]
        assert all({"time", "level", "msg"} <= set(line) for line in lines), lines
        assert any('and "quote"' in line["msg"] for line in lines), lines


def test_shipped_inspections():
    """the shipped inspections run, each with outcome ok"""
    with project() as p:
        done = p.run("run", "--once", "--json", "--state-dir", str(p.dir / "state"),
                     str(ROOT / "inspections"))
        ids = {r["id"]: r["outcome"] for r in done.json()}
        assert done.code == 0, done
        assert {"host/disk.run", "host/memory.run", "host/load.run", "http/endpoint.run",
                "tls/certificate.run", "demo/example.run"} <= set(ids), ids
        assert set(ids.values()) == {"ok"}, ids


def test_the_binary_alone():
    """the executable copied alone to an empty directory works"""
    import shutil
    with project() as p:
        shutil.copy(BINARY, p.dir / "alone")
        p.script("a.lua", simple(report()))
        import subprocess
        done = subprocess.run([str(p.dir / "alone"), "run", "--once", "inspections/"], cwd=p.dir,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done


def test_registered_once():
    """the embedded platform shows what was registered: it is not told again at every run"""
    with project() as p:
        p.script("a.lua", simple(schedule="@every 1s"))
        d = p.daemon("inspections/")
        wait_for(lambda: d.out.count("a.run ") >= 7, "seven runs", 60)
        assert "still shows" not in d.out + d.err, d.out + d.err
        assert d.stop() == 0, d.err


run_all(globals())
