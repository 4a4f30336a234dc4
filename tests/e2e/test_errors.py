"""Bad input gets one clear sentence with file and line, the right exit code, and nothing half done."""
import os
import pathlib
import subprocess
import tempfile

from harness import BINARY, clean_env, project, report, run_all, simple, wait_for

HEAD = 'monitor{ title = "x" }\n'

# name, text, words of the sentence (its place included)
LOAD_ERRORS = [
    ("EventReporter in the main chunk", 'local r = EventReporter()\n' + HEAD + 'function run() end',
     ["inspections/bad.lua:1:", "EventReporter must be constructed inside the inspection function, not while the "
      "script is loading"]),
    ("an unknown monitor key", 'monitor{ title = "x",\n  shedule = "* * * * *" }\nfunction run() end',
     ["inspections/bad.lua:", "shedule", 'did you mean "schedule"']),
    ("a local function after monitor", HEAD + 'local function run() end',
     ["inspections/bad.lua:1:", "local function", "function run(params)", "name =", "run ="]),
    ("function M.run after monitor", 'local M = {}\n' + HEAD + 'function M.run() end',
     ["inspections/bad.lua:2:", "M.run", "function run(params)"]),
    ("monitor< not closed", '\nmonitor<title = "x"\nfunction run() end\n',
     ["inspections/bad.lua:", "monitor< opened in line 2 is not closed by >"]),
    ("http.get while loading",
     'local http = require "selfmon.http"\nhttp.get("http://127.0.0.1:1/")\n' + HEAD + 'function run() end',
     ["inspections/bad.lua:2:", "http.get cannot be called while a script is loading; call it inside the "
      "function"]),
    ("a syntax error", HEAD + 'function run(params)\n  local = 3\nend',
     ["inspections/bad.lua:3:", "="]),
    ("( on the line after monitor{}", 'monitor{ title = "x" }\n(print)("x")\nfunction run() end',
     ["inspections/bad.lua:", "put `;` after `monitor{…}`"]),
    ("nothing registered", 'local x = 1', ["inspections/bad.lua", "monitor"]),
    ("a bad schedule", 'monitor{ title = "x", schedule = "61 * * * *" }\nfunction run() end',
     ["inspections/bad.lua:1:", "minute", "61"]),
    ("an unknown zone", 'monitor{ title = "x", schedule = "0 0 * * *", timezone = "Europe/Berlni" }\n'
     'function run() end', ["inspections/bad.lua:1:", "Europe/Berlni"]),
    ("a timeout out of range", 'monitor{ title = "x", timeout = 0 }\nfunction run() end',
     ["inspections/bad.lua:1:", "timeout", "3600"]),
    ("a doc with a NUL", 'monitor{ title = "x", doc = "a\\0b" }\nfunction run() end',
     ["inspections/bad.lua:1:", "doc", "control byte 0x00"]),
    ("a doc that is too long", 'monitor{ title = "x", doc = ("x"):rep(300000) }\nfunction run() end',
     ["inspections/bad.lua:1:", "doc", "262144 bytes"]),
    ("a file that is too long", HEAD + 'function run() end --' + "x" * (1 << 20),
     ["inspections/bad.lua: the file is longer than 1048576 bytes"]),
    ("bytecode", "\x1bLua", ["inspections/bad.lua", "not a text"]),
    ("an endless main chunk", HEAD + 'function run() end\nwhile true do end',
     ["inspections/bad.lua:3: "]),
]


def load_error(name, text, words):
    with project() as p:
        p.script("bad.lua", text)
        p.script("good.lua", simple(report()))
        done = p.once("--json")
        assert done.code == 1, done
        items = {i.get("file", i.get("id")): i for i in done.json()}
        assert items["good.run"]["outcome"] == "ok", done
        error = items["bad.lua"]
        assert error["outcome"] == "load_error", done
        for word in words:
            assert word in error["error"], f"{word!r} is not in {error['error']!r}"
        assert "\n" not in error["error"], error
        assert len(p.events()) == 1


def make_load_test(name, text, words):
    def test():
        load_error(name, text, words)
    test.__doc__ = f"load error: {name}"
    return test


for index, row in enumerate(LOAD_ERRORS):
    globals()[f"test_load_{index:02}"] = make_load_test(*row)


def run_error(body, words, outcome="failed", events=0):
    with project() as p:
        p.script("bad.lua", simple(body))
        done = p.once("--json")
        assert done.code == 1, done
        item = done.json()[0]
        assert item["outcome"] == outcome, done
        for word in words:
            assert word in item["error"], f"{word!r} is not in {item['error']!r}"
        assert len(p.events()) == events, p.events()


def test_unknown_event_field():
    """an unknown event field names the nearest one, and nothing is reported"""
    run_error('  EventReporter():report{ title = "t", message = "m", status = "ok", dimension_tag = {} }',
              ["inspections/bad.lua:3:", 'events[1].dimension_tag: unknown field "dimension_tag"; did you mean '
               '"dimension_tags"?'])


def test_wrong_status_in_a_list_of_two():
    """a wrong status in a list of two: neither is reported"""
    run_error('  EventReporter():report{ { title = "t", message = "m", status = "ok" },\n'
              '    { title = "t", message = "m", status = "crit" } }',
              ["inspections/bad.lua:3:", 'events[2].status: expected one of info, warning, error, critical, ok; '
               'got "crit"'])


def test_dot_for_colon():
    """reporter.report says that a colon is wanted"""
    run_error('  local r = EventReporter()\n  r.report{ title = "t", message = "m", status = "ok" }',
              ["inspections/bad.lua:4:", "reporter:report"])


def test_error_in_script_names_its_line():
    """a runtime error names file and line, with a traceback of script frames only"""
    with project() as p:
        p.script("lib/util.lua", 'return { f = function(x)\n  return x.json.y\nend }')
        p.script("a.lua", simple('  return require "lib.util".f({})'))
        done = p.once()
        assert done.code == 1, done
        assert "inspections/lib/util.lua:2: attempt to index a nil value (field 'json')" in done.out, done
        run = p.runs()[0]
        assert "inspections/lib/util.lua:2" in run["traceback"], run
        assert "[C]" not in run["traceback"], run


def test_two_inspections_with_one_key():
    """two inspections with one key are refused, naming both"""
    with project() as p:
        p.write("selfmon.conf.lua",
                'return { keys = { ["a.run"] = "k1", ["b.run"] = "k1" } }')
        p.script("a.lua", simple())
        p.script("b.lua", simple())
        done = p.once()
        assert done.code == 78 and "a.run" in done.err and "b.run" in done.err, done
        assert "selfmon.conf.lua:1" in done.err and not (p.dir / ".selfmon").exists(), done


def test_two_inspections_with_one_key_by_was():
    """was that points at a living inspection: both are named"""
    with project() as p:
        p.script("a.lua", simple())
        p.script("b.lua", 'monitor{ title = "b", was = {"a.run"} }\nfunction run() end')
        done = p.once("--json")
        assert done.code == 1, done
        text = " ".join(i.get("error") or "" for i in done.json())
        assert "a.run" in text and "b.run" in text, done


def test_world_readable_secret():
    """a world-readable secrets file is refused with the cure"""
    here = pathlib.Path(__file__).resolve().parent.parent.parent
    base = None if "tmpfs" not in subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()],
                                                 capture_output=True, text=True).stdout else here / "build"
    with project(base) as p:
        p.write("key", "some-secret-value\n").chmod(0o644)
        p.write("selfmon.conf.lua", 'return { secret_file = "key" }')
        p.script("a.lua", simple(report()))
        done = p.once()
        assert done.code == 78, done
        assert "chmod 600" in done.err and "some-secret-value" not in done.err + done.out, done
        assert not (p.dir / ".selfmon" / "selfmon.db").exists()
        (p.dir / "key").chmod(0o600)
        assert p.once().code == 0


def test_unknown_configuration_key():
    """an unknown configuration key: file, line, nearest key, exit 78"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return {\n  inspections = "inspections",\n  timezon = "UTC",\n}')
        p.script("a.lua", simple(report()))
        done = p.once()
        assert done.code == 78, done
        assert "selfmon.conf.lua:3" in done.err and '"timezon"' in done.err, done
        assert 'did you mean "timezone"' in done.err, done
        assert not (p.dir / ".selfmon").exists()


def test_configuration_that_does_not_run():
    """a configuration file with an error: its line, exit 78; an endless one ends too"""
    with project() as p:
        p.script("a.lua", simple())
        p.write("selfmon.conf.lua", 'return {\n  workers = nothere.x\n}')
        done = p.once()
        assert done.code == 78 and "selfmon.conf.lua:2" in done.err, done
        p.write("selfmon.conf.lua", 'while true do end')
        done = p.once()
        assert done.code == 78 and "selfmon.conf.lua" in done.err, done


def test_usage_errors():
    """usage errors exit 64 with the nearest name"""
    with project() as p:
        p.script("a.lua", simple())
        for args, words in [
            (["run", "--onse"], ["--onse", "--once"]),
            (["rnu"], ["rnu", "run"]),
            (["run", "--once", "-p", "a.run", "inspections/"], ["ID:NAME=VALUE"]),
            (["run", "--once", "nowhere/"], ["nowhere"]),
            (["run", "--dry-run", "--fail-on", "crit", "inspections/"], ["--fail-on"]),
            (["next", "61 * * * *"], ["minute"]),
            (["next", "0 0 * * *", "--tz", "Nowhere/Land"], ["Nowhere/Land"]),
            (["key", "../x.run"], ["../x.run"]),
            (["local", "st", "a.run"], ["set"]),
            (["events", "--status", "crit"], ["--status", "critical", "crit"]),
            (["runs", "--status", "failled"], ["--status", 'did you mean "failed"']),
            (["run", "--once", "--state-dir", "", "inspections/"], ["--state-dir", "missing"]),
            (["run", "--once", "/etc/passwd"], ["/etc/passwd", ".lua"]),
            (["run", "--once", "no\x1b[31m\nwhere"], ["no\\x1b[31m\\nwhere"]),
        ]:
            done = p.run(*args)
            assert done.code == 64, (args, done)
            for word in words:
                assert word in done.err, (args, word, done)
        assert not (p.dir / ".selfmon").exists()
        done = p.run("run", "--once", "-p", "b.run:x=1", "inspections/")
        assert done.code == 64 and 'did you mean "a.run"' in done.err, done
        assert p.runs() == []


def test_no_root():
    """run without a root and without an argument: exit 64 and what is missing"""
    with project() as p:
        os.rmdir(p.dir / "inspections")
        done = p.run("run")
        assert done.code == 64 and "inspections" in done.err, done


def test_nodes_that_do_not_fit():
    """an unknown node, a bare us1, no key, one private address without the other: sentence and exit 78"""
    with project() as p:
        p.script("a.lua", simple(report()))
        keys = {"SELFMON_API_KEY_ID": "wsak_abcdefgh", "SELFMON_API_KEY": "very-secret-key-1"}
        for env, words in [
            ({**keys, "SELFMON_NODE": "us1"}, ["SELFMON_NODE", "guance/us1", "truewatch/us1"]),
            ({**keys, "SELFMON_NODE": "truewatch/us2"}, ["SELFMON_NODE", "truewatch/us2", "truewatch/us1"]),
            ({"SELFMON_NODE": "truewatch/us1"}, ["api_key", "SELFMON_API_KEY"]),
        ]:
            done = p.once(env=env)
            assert done.code == 78, done
            for word in words:
                assert word in done.err, (word, done)
            assert "very-secret-key-1" not in done.err + done.out and not (p.dir / ".selfmon").exists()
        done = p.once(env={"SELFMON_OPENAPI_URL": "https://openapi.example.com"})
        assert done.code == 78 and "SELFMON_OPENWAY_URL" in done.err, done


def test_bad_params_from_the_configuration():
    """a parameter that breaks its rule ends the run as bad_params before any script code"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { params = { ["a.run"] = { percent = 250 } } }')
        p.script("a.lua", 'monitor{ title = "x", params = { percent = { type = "number", default = 90, min = 0, '
                          'max = 100 } } }\nfunction run() print("ran") end')
        done = p.once("--json")
        assert done.code == 1, done
        item = done.json()[0]
        assert item["outcome"] == "bad_params", done
        assert "percent" in item["error"] and "250" in item["error"] and "100" in item["error"], done
        assert "ran" not in str(p.runs("--log")), p.runs("--log")


def test_full_disk_at_report():
    """a full disk at report: it raises, the run is failed, nothing is half taken; later it works again"""
    if os.geteuid() != 0:
        return
    with project() as p:
        state = p.dir / "small"
        state.mkdir(mode=0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(state)],
                                 capture_output=True, text=True)
        if mounted.returncode != 0:
            raise AssertionError(f"no tmpfs: {mounted.stderr}")
        try:
            p.write("selfmon.conf.lua", 'return { limits = { min_free = "1MiB" } }')
            p.script("a.lua", simple(report()))
            assert p.once("--state-dir", str(state)).code == 0
            left = os.statvfs(state)
            fill = left.f_bavail * left.f_frsize - 500_000
            (state / "fill").write_bytes(b"x" * fill)
            done = p.once("--state-dir", str(state), "--json")
            assert done.code == 1, done
            item = done.json()[0]
            assert item["outcome"] == "failed" and "outbox is full" in item["error"], done
            assert "inspections/a.lua:3:" in item["error"], done
            events = p.run("events", "--json", "--state-dir", str(state)).json()
            assert len(events) == 1, events
            (state / "fill").unlink()
            assert p.once("--state-dir", str(state)).code == 0
            assert len(p.run("events", "--json", "--state-dir", str(state)).json()) == 2
        finally:
            subprocess.run(["umount", "-l", str(state)], check=False)


def test_readers_without_a_store():
    """readers without a store answer [], exit 0, and create nothing"""
    with project() as p:
        for command in ("events", "runs"):
            done = p.run(command, "--json")
            assert done.code == 0 and done.json() == [], done
        assert p.run("list", "--json").json() == []
        assert not (p.dir / ".selfmon").exists()


def test_output_that_cannot_be_written():
    """a full disk behind standard output is an exit code of its own, not a short document"""
    with project() as p:
        p.script("a.lua", simple())
        for command in ("list", "events"):
            with open("/dev/full", "w") as full:
                done = subprocess.run([BINARY, command, "--json"], cwd=p.dir, stdout=full, text=True,
                                      stderr=subprocess.PIPE, env=clean_env())
            assert done.returncode == 1 and "standard output" in done.stderr, done


run_all(globals())
