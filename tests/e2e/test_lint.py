#!/usr/bin/python3
"""`lint`: every rule over its two fixtures (tests/data/lint), silencing, formats, exit codes, speed."""
import json
import re
import time

from harness import ROOT, project, run_all

DATA = ROOT / "tests/data/lint"
PLAIN = 'monitor{ title = "T", schedule = "@hourly" }\nfunction run() end\n'


def rules(p):
    done = p.run("lint", "--rules", "--json")
    assert done.code == 0, done
    return done.json()


def findings(p, *args, code=1):
    done = p.run("lint", "--json", *(args or ("inspections",)))
    assert done.code == code, done
    return done.json()


def test_fixtures():
    """each rule has a fixture that it finds, as the only one, and one in which nothing is found"""
    with project() as p:
        ids = [r["rule"] for r in rules(p)]
        assert len(ids) == len(set(ids)) >= 25, ids
        for path in sorted(DATA.glob("*.lua")):
            p.script(path.name, path.read_text())
        names = {path.stem for path in DATA.glob("*.lua")}
        assert names == {f"{rule}_{kind}" for rule in ids for kind in ("bad", "good")}, names
        found = {}
        for f in findings(p):
            found.setdefault(f["file"][:-4], []).append(f)
        for rule in ids:
            bad = found.get(f"{rule}_bad", [])
            assert bad and all(f["rule"] == rule for f in bad), (rule, bad)
            assert f"{rule}_good" not in found, found[f"{rule}_good"]
            assert all(f["line"] > 0 and f["col"] > 0 and f["level"] in ("error", "warning") for f in bad), bad


def test_every_slip_is_found():
    """each line of a bad fixture that has a slip is named, with the nearest right name"""
    with project() as p:
        for rule in ("SM015", "SM019", "SM020", "SM021", "SM022", "SM033", "SM034", "SM040", "SM041"):
            p.script(f"{rule}.lua", (DATA / f"{rule}_bad.lua").read_text())
        found = findings(p)
        text = "\n".join(f["message"] for f in found)
        for word in ("schedule", "recover", "min", "limit", "dimension_tags", "critical", "warning", "get", "host", "now",
                     "format", "headers", "timeout", "read", "mean"):
            assert f'did you mean "{word}"?' in text, (word, text)
        count = {}
        for f in found:
            count[f["rule"]] = count.get(f["rule"], 0) + 1
        assert count["SM022"] == 8 and count["SM040"] == 8 and count["SM041"] == 8, count
        for value in ("hunter2", "s3cr3t", "ghp_", "a1b2c3", "geheim", "Zx81"):
            assert value not in json.dumps(found), value


def test_page_is_current():
    """the table of docs/lint.md is what `lint --rules` prints"""
    with project() as p:
        assert p.run("lint", "--rules").out in (ROOT / "docs/lint.md").read_text()


def test_text():
    """one line for each finding: file, line, column, level, rule; the load error is told once"""
    with project() as p:
        p.script("a/x.lua", 'monitor{ title = "T",\n  schedul = "@hourly" }\nfunction run() end\n')
        p.script("a/y.lua", PLAIN + "x = = 1\n")
        done = p.run("lint", "inspections")
        assert done.code == 1, done
        lines = done.out.splitlines()
        assert lines == [
            'inspections/a/x.lua:2:3: error: SM015: monitor: unknown key "schedul"; did you mean "schedule"?',
            "inspections/a/y.lua:3:1: error: SM001: unexpected symbol near '='"], lines
        assert done.err == "0 inspections, 2 findings\n", done


def test_silencing():
    """a comment in the line or the one before silences one rule there, and only that"""
    bare = 'monitor{ title = "T" }'
    for text, want in ((f"{bare} -- selfmon: ignore SM011", []), (f"-- selfmon: ignore SM011: on demand\n{bare}", []),
                       (f"--selfmon: ignore SM040, SM011 and why\n{bare}", []),
                       (f"-- selfmon: ignore SM011\n\n{bare}", ["SM011"]), (f"{bare}\n-- selfmon: ignore SM011", ["SM011"]),
                       (f"-- selfmon: ignore SM012\n{bare}", ["SM011"]), (f"-- selfmon: ignore SM0011\n{bare}", ["SM002", "SM011"]),
                       (f"-- selfmon: ignore\n{bare}", ["SM002", "SM011"]), (f"print '-- selfmon: ignore SM011'; {bare}", ["SM011"]),
                       (f"--[[ selfmon: ignore SM011 ]] {bare}", [])):
        with project() as p:
            p.script("a.lua", text + "\nfunction run() end\n")
            found = findings(p, code=1 if want else 0)
            assert [f["rule"] for f in found] == want, (text, found)


def test_exit_codes():
    """0 nothing found, 1 findings, 64 usage, 78 configuration"""
    with project() as p:
        p.script("a.lua", PLAIN)
        done = p.run("lint", "inspections")
        assert (done.code, done.out, done.err) == (0, "", "1 inspection, nothing to say\n"), done
        assert p.run("lint", "--json", "inspections").out == "[]\n"
        assert p.run("lint", "--format", "json", "inspections").out == "[]\n"
        for args in (("--format", "xml"), ("nowhere",), ("--jsno",), ("inspections", "/etc")):
            done = p.run("lint", *args)
            assert done.code == 64 and done.err, done
        p.write("selfmon.conf.lua", "return { parms = 1 }")
        assert p.run("lint", "inspections").code == 78


def test_paths():
    """a folder, single files; modules below lib are read, specs are not"""
    with project() as p:
        leak = "return function()\n  leak = 1\nend\n"
        for name in ("a/x.lua", "b/y.lua", "ab/z.lua"):
            p.script(name, PLAIN.replace("end", 'require "lib.util"() end'))
        p.script("b/y.lua", 'monitor{ title = "T" }\nfunction run() end\n')
        p.script("lib/util.lua", leak)
        p.script("a/x_spec.lua", "describe('x', function() leak = 1 end)\n")
        assert [f["file"] for f in findings(p)] == ["b/y.lua", "lib/util.lua"]
        assert findings(p, "inspections/a", code=0) == []
        assert [f["file"] for f in findings(p, "inspections/b")] == ["b/y.lua"]
        assert [f["file"] for f in findings(p, "inspections/a/x.lua", "inspections/b/y.lua")] == ["b/y.lua"]


def test_permissions_in_modules():
    """a permission that a module of lib/ needs counts for the script that requires it"""
    with project() as p:
        p.script("lib/key.lua", 'return function() return require "selfmon.secret" "shop" end\n')
        text = 'monitor{ title = "T", schedule = "@hourly"%s }\nfunction run() print(require "lib.key"()) end\n'
        p.script("a.lua", text % ', permissions = { "secret:shop" }')
        assert findings(p, code=0) == []
        p.script("a.lua", text % "")
        (f,) = findings(p)
        assert f["rule"] == "SM017" and "secret:shop" in f["message"] and "lib/key.lua" in f["message"], f


def test_instances():
    """a script of which the configuration makes several inspections is judged once"""
    with project() as p:
        p.script("a.lua", 'monitor{ title = "T", params = { url = "x" } }\nfunction run(params) end\n')
        p.write("selfmon.conf.lua", 'return { instances = { ["a.run"] = { de = { params = { url = "y" } }, fr = { schedule = "@hourly" } } } }')
        found = findings(p)
        assert sorted(f["rule"] for f in found) == ["SM011", "SM018"], found
        assert all("a.run:" in f["message"] for f in found), found


def test_configuration_in_the_root():
    """selfmon.conf.lua in the inspections root is the configuration and no inspection"""
    with project() as p:
        p.script("a.lua", PLAIN)
        p.script("selfmon.conf.lua", 'return { inspections = ".", timezone = env("ZONE", "Asia/Tokyo") }\n')
        assert findings(p, code=0) == []
        rows = p.run("list", "--json", "inspections").json()
        assert [r["id"] for r in rows] == ["a.run"] and rows[0]["timezone"] == "Asia/Tokyo", rows


def test_shipped():
    """nothing is found in the inspections that come with the program"""
    with project() as p:
        done = p.run("lint", str(ROOT / "inspections"))
        assert done.code == 0, done


def test_thousand():
    """a thousand scripts take seconds"""
    texts = [path.read_text() for path in sorted((ROOT / "inspections").glob("[dht]*/*.lua"))
             if not path.stem.endswith("_spec")]
    with project() as p:
        for i in range(1000):
            p.script(f"f{i % 20}/s{i}.lua", texts[i % len(texts)])
        began = time.monotonic()
        found = p.run("lint", "--json", "inspections", timeout=300)
        seconds = time.monotonic() - began
        assert found.code in (0, 1), found
        print(f"# 1000 scripts, {sum(len(t) for t in texts) // len(texts)} bytes each on average: {seconds:.1f} s")
        assert seconds < 120, seconds


def test_hostile_names_and_bytes():
    """what is no text, is long, or has bytes that are no UTF-8 is told, and nothing else happens"""
    with project() as p:
        (p.dir / "inspections/bytes.lua").write_bytes(b'monitor{ title = "T", schedule = "@hourly" }\nfunction run() \xff\xfe = 1 end')
        (p.dir / "inspections/latin.lua").write_bytes(
            b'monitor{ title = "T", schedule = "@hourly" }\nfunction run() EventReporter():report{ title = "a", '
            b'message = "b", status = "\xfc" } end')
        (p.dir / "inspections/nul.lua").write_bytes(b"\0" * 100)
        (p.dir / "inspections/long.lua").write_text("-- " + "x" * (2 << 20))
        found = findings(p)
        assert sorted((f["file"], f["rule"]) for f in found) == [
            ("bytes.lua", "SM001"), ("latin.lua", "SM021"), ("long.lua", "SM001"), ("nul.lua", "SM001")], found


run_all(globals())
