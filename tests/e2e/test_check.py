#!/usr/bin/python3
"""selfmon-lua check: a line, performance data and an exit code as a monitoring plugin has them, in each state; and
read back by our own reader of plugins."""
import re
import subprocess
import time

from harness import BINARY, project, report, run_all, simple, wait_for

LINE = re.compile(r"^(OK|WARNING|CRITICAL|UNKNOWN) - (.*?)(?: \| time=(\d+\.\d+)s;;;0 events=(\d+);;;0)?$")


def check(p, *args, env=None):
    """Exit code, status, text, events and further lines."""
    done = p.run("check", *args, env=env)
    lines = done.out.splitlines()
    found = LINE.match(lines[0]) if lines else None
    assert found, done
    codes = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}
    assert codes[found[1]] == done.code, done
    return done.code, found[2], found[4] and int(found[4]), lines[1:]


def test_every_status():
    """ok, info → OK; warning → WARNING; error, critical → CRITICAL; a run that did not end well → UNKNOWN"""
    with project() as p:
        for status, code in (("ok", 0), ("info", 0), ("warning", 1), ("error", 2), ("critical", 2)):
            p.script(f"s/{status}.lua", simple(report(status, f"Is {status}")))
            assert check(p, f"s/{status}.run") == (code, f"Is {status}", 1, []), status
        p.script("s/none.lua", simple())
        assert check(p, "s/none.run") == (0, "s/none.run: nothing to report", 0, [])
        p.script("s/fails.lua", simple(report("warning") + '\n  error("no luck")'))
        code, text, events, lines = check(p, "s/fails.run")
        assert code == 3 and text.startswith("s/fails.run: failed: ") and "no luck" in text and events == 1, text
        assert lines == ["WARNING: Something"], lines
        p.script("s/slow.lua", 'monitor{ title = "x", timeout = 1 }\nfunction run() while true do end end')
        code, text, _, _ = check(p, "s/slow.run")
        assert code == 3 and "s/slow.run: timeout" in text, text
        p.run("local", "disable", "s/none.run")
        code, text, _, _ = check(p, "s/none.run")
        assert code == 3 and "disabled" in text, text


def test_several_events():
    """the worst event is on the first line, each further one on its own; | and line feeds do no harm"""
    with project() as p:
        p.script("a.lua", simple("\n".join((report("info", "one", '{ n = 1 }'), report("error", "two | a=1", '{ n = 2 }'),
                                             report("warning", "three\\nlines", '{ n = 3 }')))))
        for more in ([], ["--dry-run"]):
            code, text, events, lines = check(p, "a.run", *more)
            assert (code, text, events) == (2, "two \u00a6 a=1, and 2 more", 3), text
            assert sorted(lines) == ["OK: one", "WARNING: three lines"], lines
        assert len(p.events()) == 3  # the dry run stored nothing


def test_what_is_run():
    """an id means exactly that one; a file all of its own; what is not there, or does not load, is UNKNOWN"""
    with project() as p:
        p.script("a.lua", simple(report("warning")))
        p.script("aa.lua", simple(report("critical")))
        p.script("two.lua", 'monitor{ title = "x" }\nfunction one()\n' + report("warning") + '\nend\n'
                 'monitor{ title = "y" }\nfunction two()\n' + report("critical", "Worse") + "\nend")
        p.script("bad.lua", "this is no Lua")
        assert check(p, "a.run")[0] == 1
        assert check(p, "inspections/a.lua")[0] == 1
        assert check(p, "inspections/two.lua") == (2, "Worse, and 1 more", 2, ["WARNING: Something"])
        assert check(p, "two.one")[:3] == (1, "Something", 1)
        for args, words in ((["b.run"], ["no inspection is selected"]), (["bad.run"], ["bad.lua:1"]),
                            (["inspections/bad.lua"], ["bad.lua:1"]), ([], ["expected one id or file"]),
                            (["a.run", "b"], ["expected one id or file"]), (["a.run", "--wrong"], ["unknown option --wrong"]),
                            (["a.run", "--timeout", "x"], ["--timeout"]), (["a.run", "-p", "x=1"], ["no such parameter"]),
                            (["inspections/a.lua", "-p", "x=1"], ["ID:NAME=VALUE"])):
            code, text, _, _ = check(p, *args)
            assert code == 3 and all(w in text for w in words), (args, text)
        p.write("selfmon.conf.lua", "return { nonsense = 1 }")
        code, text, _, _ = check(p, "a.run")
        assert code == 3 and "nonsense" in text, text


def test_parameters_and_timeout():
    """-p holds for this run; --timeout ends all of it in time"""
    with project() as p:
        p.script("a.lua", 'monitor{ title = "x", timeout = 600, params = { limit = 5, text = "" } }\n'
                 'function run(params)\n  if params.limit > 50 then EventReporter():report{ title = params.text, '
                 'message = "m", status = "critical" } end\n'
                 '  if params.limit == 7 then require "selfmon.time".sleep(600) end\nend')
        assert check(p, "a.run")[0] == 0
        assert check(p, "a.run", "-p", "limit=60", "-p", "text=a:b=c")[:2] == (2, "a:b=c")
        assert check(p, "a.run", "-p", "a.run:limit=60", "-p", "text=t")[:2] == (2, "t")
        began = time.monotonic()
        assert check(p, "a.run", "-p", "limit=7", "--timeout", "2s")[:2] == (3, "no answer within 2 s")
        assert time.monotonic() - began < 60
        assert check(p, "a.run")[0] == 0  # nothing is held


def test_while_a_daemon_runs():
    """the daemon that holds the state directory does the work, with the same answer"""
    with project() as p:
        p.script("a.lua", simple(report("warning", "Watch out")))
        daemon = p.daemon()
        daemon.wait_line("a.run", "warning")
        assert check(p, "a.run") == (1, "Watch out", 1, [])
        wait_for(lambda: len(p.runs("--id", "a.run")) >= 2, "the run is in the daemon's ledger")
        assert daemon.stop() == 0


def test_read_as_a_plugin():
    """exec.nagios reads what check says"""
    with project() as p:
        p.script("a.lua", simple(report("critical", "It's down | now")))
        p.script("b.lua", f'''
monitor{{ title = "b", permissions = {{ "exec:{BINARY}" }}, timeout = 60 }}
function run()
  local r = assert(require "selfmon.exec".nagios{{ cmd = "{BINARY}", args = {{ "check", "a.run", "--state-dir",
    "{p.dir}/other", "-c", "{p.dir}/none.lua" }}, cwd = "{p.dir}", timeout = 50 }})
  print(require "cjson".encode{{ r.status, r.text, r.perfdata[1].label, r.perfdata[2].value, #r.bad_perfdata }})
end''')
        p.write("none.lua", "return {}")
        p.write("selfmon.conf.lua", f'return {{ grant = {{ ["b.run"] = {{ "exec:{BINARY}" }} }} }}')
        done = p.run("run", "--once", "-k", "b.run", "inspections/")
        assert '["critical","CRITICAL - It\'s down \u00a6 now","time",1,0]' in done.err + done.out, done


def test_help():
    """--help has an example and is no result"""
    with project() as p:
        done = p.run("check", "--help")
        assert done.code == 0 and "selfmon-lua check host/disk.run" in done.out, done
        assert subprocess.run([BINARY, "check", "nothing"], cwd="/", capture_output=True).returncode == 3


if __name__ == "__main__":
    run_all(globals())
