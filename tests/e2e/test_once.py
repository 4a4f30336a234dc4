"""run --once: exit codes, selection, dry run, JSON, parameters of -p."""
import json
import subprocess

from harness import BINARY, clean_env, project, report, run_all, simple, wait_for


def test_exit_codes():
    """0 all ran, 1 some did not end well, 2 with --fail-on, 1 goes before 2"""
    with project() as p:
        p.script("ok.lua", simple())
        assert p.once().code == 0
        assert p.once("--fail-on", "info").code == 0
        p.script("warn.lua", simple(report("warning")))
        assert p.once().code == 0
        assert p.once("--fail-on", "warning").code == 2
        assert p.once("--fail-on", "error").code == 0
        p.script("bad.lua", simple('  error("no")'))
        assert p.once().code == 1
        assert p.once("--fail-on", "warning").code == 1


def test_disabled_is_no_failure():
    """a disabled inspection is skipped without script code and without a failure"""
    with project() as p:
        p.script("a.lua", simple('  error("ran")'))
        assert p.once().code == 1
        assert p.run("local", "disable", "a.run").code == 0
        done = p.once("--json")
        assert done.code == 0 and done.json()[0]["outcome"] == "disabled", done


def test_dry_run():
    """--dry-run: events as JSON on standard output, nothing created"""
    with project() as p:
        p.script("a.lua", simple(report("critical", "Fire", '{ room = "1" }')))
        done = p.once("--dry-run")
        assert done.code == 0, done
        events = done.json()
        assert [(e["id"], e["title"], e["status"], e["dimension_tags"]) for e in events] == \
            [("a.run", "Fire", "critical", {"room": "1"})], events
        assert events[0]["event_id"].startswith("event-"), events
        assert "a.run" in done.err, done
        assert not (p.dir / ".selfmon").exists()


def test_json_is_one_document():
    """--json prints one object per inspection with id outcome events error seconds"""
    with project() as p:
        p.script("a.lua", simple(report()))
        p.script("b.lua", simple('  error("boom")'))
        done = p.once("--json")
        items = json.loads(done.out)
        assert [sorted(i) for i in items] == [["error", "events", "id", "outcome", "seconds"]] * 2, items
        by_id = {i["id"]: i for i in items}
        assert by_id["a.run"]["events"] == 1 and by_id["a.run"]["error"] is None, items
        assert by_id["b.run"]["outcome"] == "failed" and "inspections/b.lua:3: boom" in by_id["b.run"]["error"], items


def test_selection():
    """paths, -k and --tags select; nothing selected is a usage error"""
    with project() as p:
        for name in ("x/a", "x/b", "y/c"):
            p.script(f"{name}.lua", simple())
        p.script("t.lua", 'monitor{ title = "t", tags = { "db", "prod" } }\nfunction run() end')
        ids = lambda *args: sorted(i["id"] for i in p.run("run", "--once", "--json", *args).json())
        assert ids("inspections/x") == ["x/a.run", "x/b.run"]
        assert ids("inspections/x/a.lua") == ["x/a.run"]
        assert ids("inspections/x/a.lua", "inspections/y") == ["x/a.run", "y/c.run"]
        assert ids("-k", "x/") == ["x/a.run", "x/b.run"]
        assert ids("-k", "*/c.run") == ["y/c.run"]
        assert ids("--tags", "nothere,prod") == ["t.run"]
        done = p.once("-k", "nothing")
        assert done.code == 64 and "no inspection is selected" in done.err, done


def test_broken_file_beside_a_selected_one():
    """a broken file outside the selected paths does not make the run fail"""
    with project() as p:
        p.script("good/a.lua", simple())
        p.script("bad/b.lua", "function (")
        assert p.run("run", "--once", "inspections/good").code == 0
        assert p.once().code == 1


def test_p_overrides_for_this_run_only():
    """-p overrides platform and configuration for this run only, and the summary says so"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { params = { ["a.run"] = { n = 2 } } }')
        p.script("a.lua", 'monitor{ title = "a", params = { n = 1, list = { "x" } } }\n'
                          'function run(params) print(params.n .. " " .. table.concat(params.list, "+")) end')
        assert p.once().code == 0
        assert p.run("local", "set", "a.run", "n=3").code == 0
        assert p.once().code == 0
        done = p.once("-p", "a.run:n=4", "-p", "a.run:list=u,v")
        assert done.code == 0 and "-p" in done.out, done
        assert p.once().code == 0
        assert [r["log"][0]["text"] for r in p.runs("--log")] == ["2 x", "3 x", "4 u+v", "3 x"]
        done = p.once("-p", "a.run:n=many", "--json")
        assert done.code == 1 and done.json()[0]["outcome"] == "bad_params", done


def test_print_goes_to_standard_error():
    """print shows on standard error as `id: text`, in order, tabs and lines readable"""
    with project() as p:
        p.script("a.lua", simple('  print("one", 2, nil)\n  print("l1\\nl2")\n  require "selfmon.log".warn("careful", '
                                 '{ n = 1 })'))
        done = p.once()
        lines = [line for line in done.err.splitlines() if line.startswith("a.run: ")]
        assert lines[0].split() == ["a.run:", "one", "2", "nil"], lines
        assert "\\t" not in lines[0] and lines[1:3] == ["a.run: l1", "a.run: l2"], lines
        assert lines[3].startswith("a.run: warn: careful") and "n=1" in lines[3].replace(" ", ""), lines


def test_fresh_state_every_run():
    """no global survives from one run to the next, lib modules neither"""
    with project() as p:
        p.script("lib/m.lua", "return { n = 0 }")
        p.script("a.lua", simple('  local m = require "lib.m"\n  m.n = m.n + 1\n  counter = (counter or 0) + 1\n'
                                 '  print(m.n .. " " .. counter)'))
        for _ in range(3):
            assert p.once().code == 0
        assert {r["log"][0]["text"] for r in p.runs("--log")} == {"1 1"}


def test_ctx():
    """ctx tells who runs and why, and is read-only"""
    with project() as p:
        p.script("a.lua", simple('  print(ctx.id .. " " .. ctx.trigger .. " " .. ctx.attempt .. " " .. ctx.account .. '
                                 '" " .. ctx.node .. " " .. #ctx.run_id .. " " .. math.type(ctx.slot))\n'
                                 '  ctx.id = "x"').replace("run(params)", "run(params, ctx)"))
        item = p.once("--json").json()[0]
        assert item["outcome"] == "failed" and "read-only" in item["error"], item
        assert p.runs("--log")[0]["log"][0]["text"] == "a.run once 1 default local 32 integer"


def test_many_inspections():
    """500 inspections in one go, all ok, all events delivered once"""
    with project() as p:
        for n in range(500):
            p.script(f"m/i{n:03}.lua", simple(report()))
        done = p.once("--json", timeout=120)
        assert done.code == 0, done.err[-2000:]
        assert len(done.json()) == 500
        events = p.events()
        assert len(events) == 500 and {e["delivery"] for e in events} == {"delivered"}


def test_instances():
    """instances of one script have their own parameters and keys"""
    with project() as p:
        p.write("selfmon.conf.lua", '''return { instances = { ["a.run"] = {
          shop = { params = { url = "s" } }, blog = { params = { url = "b" } } } } }''')
        p.script("a.lua", 'monitor{ title = "a", params = { url = "" } }\nfunction run(params) print(params.url) end')
        done = p.once("--json")
        assert done.code == 0, done
        logs = {r["id"]: r["log"][0]["text"] for r in p.runs("--log")}
        assert logs["a.run@shop"] == "s" and logs["a.run@blog"] == "b", logs
        keys = {i["ref_key"] for i in p.run("list", "--json").json()}
        assert len(keys) == len(p.run("list", "--json").json())


def test_two_at_the_same_time():
    """a second run --once waits for the first one, at most --wait; both run everything"""
    with project() as p:
        p.script("a.lua", simple('  require "selfmon.time".sleep(2)'))
        command = [BINARY, "run", "--once", "inspections/"]
        with subprocess.Popen(command, cwd=p.dir, env=clean_env(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as first:
            assert any("loaded" in line for line in first.stdout)
            wait_for(lambda: "another `run --once`" in p.once("--wait", "0.1").err, "the first one running")
            done = p.once("--wait", "0.1")
            assert done.code == 1 and "another `run --once`" in done.err, done
            assert p.once().code == 0
            first.communicate()
            assert first.returncode == 0
        assert len(p.runs()) == 2, p.runs()


run_all(globals())
