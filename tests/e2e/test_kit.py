#!/usr/bin/python3
"""The author's commands: what `doc`, `types`, `new` and `init` print and write, and that it works."""
import json
import pathlib
import re

import harness
from harness import project


def test_doc_overview():
    """doc lists modules and topics; a module, a function, a type, a topic, by short and by full name"""
    with project() as p:
        done = p.run("doc")
        assert done.code == 0 and done.err == "", done
        for word in ("selfmon.crypto", "globals", "permissions", "schedules"):
            assert word in done.out, done
        assert max(map(len, done.out.splitlines())) <= 101, done
        for name in ("crypto.hmac", "selfmon.crypto.hmac", "hmac"):
            done = p.run("doc", name)
            assert done.code == 0 and done.out.startswith("crypto.hmac(algorithm, key, text [, form])\n"), done
            assert "Example\n  local crypto = require" in done.out, done
        assert "Functions\n" in p.run("doc", "crypto").out
        assert "dimension_tags" in p.run("doc", "selfmon.Event").out
        assert "schedule?" in p.run("doc", "monitor").out
        assert "grant = {" in p.run("doc", "permissions").out
        assert not (p.dir / ".selfmon").exists()


def test_doc_unknown():
    """doc: a typo is answered with the nearest name, exit 64"""
    with project() as p:
        done = p.run("doc", "crypto.hmca")
        assert done.code == 64 and done.out == "", done
        assert done.err == ("selfmon-lua: doc: nothing is called crypto.hmca; did you mean crypto.hmac? "
                            "(see `selfmon-lua doc`)\n"), done
        done = p.run("doc", "zzzzzzzz")
        assert done.code == 64 and "did you mean" not in done.err, done
        done = p.run("doc", "a", "b")
        assert done.code == 64 and "expected one name" in done.err, done


def test_doc_json():
    """doc --json: the table of the API as data, names of all functions in it"""
    with project() as p:
        everything = p.run("doc", "--json").json()
        modules = {m["name"]: m for m in everything}
        assert "cjson" in modules and "globals" in modules, modules.keys()
        names = [f["name"] for f in modules["selfmon.crypto"]["functions"]]
        assert "crypto.sha256" in names, names
        one = p.run("doc", "--json", "crypto.sha256").json()
        assert one["call"] == "crypto.sha256(text [, form])" and one["params"][0] == ["text", "string"], one
        assert isinstance(p.run("doc", "--json", "crypto.uuid").json()["params"], list)


def test_types():
    """types: stubs, plugin and .luarc.json; again the same; nothing of others is replaced"""
    with project() as p:
        done = p.run("types")
        assert done.code == 0 and done.err == "", done
        files = {f.name: f.read_text() for f in (p.dir / ".luals").iterdir()}
        assert {"plugin.lua", "selfmon.crypto.lua", "selfmon.globals.lua"} <= set(files), files.keys()
        assert "OnSetText" in files["plugin.lua"] and "---@class monitor.Spec" in files["selfmon.globals.lua"]
        luarc = json.loads((p.dir / ".luarc.json").read_text())
        assert luarc["runtime.version"] == "Lua 5.4" and luarc["runtime.plugin"] == ".luals/plugin.lua", luarc
        assert ".luals" in luarc["workspace.library"], luarc
        (p.dir / ".luarc.json").write_text("{}")
        assert p.run("types").code == 0
        assert (p.dir / ".luarc.json").read_text() == "{}"
        assert files == {f.name: f.read_text() for f in (p.dir / ".luals").iterdir()}

        done = p.run("types", "some/where")
        assert done.code == 0 and '"some/where/plugin.lua"' in done.out, done
        assert (p.dir / "some/where/selfmon.crypto.lua").exists()
        (p.dir / "mine").mkdir()
        (p.dir / "mine/selfmon.crypto.lua").write_text("-- my own\n")
        done = p.run("types", "mine")
        assert done.code == 1 and "mine/selfmon.crypto.lua was not made by" in done.err, done
        assert [f.name for f in (p.dir / "mine").iterdir()] == ["selfmon.crypto.lua"]
        (p.dir / "file").write_text("")
        done = p.run("types", "file/below")
        assert done.code == 1 and "file is not a directory" in done.err, done


def kinds():
    """The templates of `new`."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "lua/templates"
    return sorted(f.name[:-len("_spec.lua")] for f in folder.glob("*_spec.lua") if f.name != "first_spec.lua")


def test_new_templates():
    """new: each template's spec passes, lint finds nothing, and it runs, once what it asks for is granted"""
    with project() as p:
        grants = []
        for kind in kinds():
            done = p.run("new", "--from", kind, f"made/by-{kind}")
            assert done.code == 0 and done.err == "", done
            assert f"inspections/made/by-{kind}.lua, the inspection made/by-{kind}.run" in done.out, done
            grants += re.findall(r"grant = \{ (.*) \},$", done.out, re.M)
            text = (p.dir / f"inspections/made/by-{kind}.lua").read_text()
            assert "@" not in text.replace("@every", ""), text
            assert f"By {kind}" in text, text
        p.write("selfmon.conf.lua", "return { grant = { " + ", ".join(grants) + " } }\n")
        done = p.run("test")
        assert done.code == 0 and " 0 failures / 0 errors" in done.out, done
        done = p.run("lint")
        assert done.code == 0 and done.out == "", done
        done = p.run("run", "--once", "--dry-run", "--json")
        outcomes = {one["id"]: one for one in done.json()} if done.out else {}
        for kind in kinds():
            one = outcomes.get(f"made/by-{kind}.run")
            assert one and (one["outcome"] == "ok" or kind == "dql" and "workspace" in one["error"]), (kind, done)
        assert not (p.dir / ".selfmon").exists()


def test_new_refuses():
    """new: names that cannot be, templates that are not there, and files that are; nothing is replaced"""
    with project() as p:
        for name, words in (("../x", "begins with"), ("a//b", "begins with"), ("/abs", "expected a name"),
                            (".hidden", "begins with"), ("a/_lib", "begins with _"), ("lib/x", "shared modules"),
                            ("x_spec", "spec"), ("a b", "begins with"), ("", "expected a name")):
            done = p.run("new", name)
            assert done.code == 64 and words in done.err and done.err.count("\n") == 1, (name, done)
        done = p.run("new", "--from", "ftp", "x")
        assert done.code == 64 and "--from: expected one of " in done.err and "got ftp" in done.err, done
        assert p.run("new").code == 64 and p.run("new", "a", "b").code == 64
        assert list((p.dir / "inspections").iterdir()) == []
        for there in ("shop/a.lua", "shop/b_spec.lua"):
            p.write("inspections/" + there, "-- mine\n")
        for name in ("shop/a", "shop/b", "shop/a.lua", "inspections/shop/b"):
            done = p.run("new", name)
            assert done.code == 1 and "is there already; nothing was written" in done.err, done
        assert sorted(f.name for f in (p.dir / "inspections/shop").iterdir()) == ["a.lua", "b_spec.lua"]
        assert (p.dir / "inspections/shop/a.lua").read_text() == "-- mine\n"
        (p.dir / "inspections/dangling.lua").symlink_to("nowhere/else")
        assert p.run("new", "dangling").code == 1


def test_new_finds_the_root():
    """new: from a folder inside the project it writes below the project's inspections"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { inspections = "checks" }')
        (p.dir / "checks/deep").mkdir(parents=True)
        done = p.run("new", "shop/a", cwd=p.dir / "checks/deep")
        assert done.code == 0 and (p.dir / "checks/shop/a.lua").exists(), done
        for words, cwd in ((["checks/shop/a_spec.lua"], p.dir), (["checks"], p.dir), ([], p.dir), ([], p.dir / "checks/shop"),
                           ([str(p.dir / "checks/shop/a_spec.lua")], "/"), (["a_spec.lua"], p.dir / "checks/shop")):
            done = p.run("test", *words, cwd=cwd)
            assert done.code == 0 and "4 successes" in done.out, (words, cwd, done)
        p.write("selfmon.conf.lua", "return { inspections = ")
        done = p.run("new", "shop/b")
        assert done.code == 78 and "selfmon.conf.lua:1:" in done.err, done


def test_init():
    """init: here, into an empty directory, beside files of one's own; a second time it changes nothing"""
    with project() as p:
        done = p.run("init", "demo")
        assert done.code == 0 and done.err == "" and "\n  cd demo\n" in done.out, done
        names = {str(f.relative_to(p.dir / "demo")) for f in (p.dir / "demo").rglob("*")}
        assert {"selfmon.conf.lua", "inspections/memory.lua", "inspections/memory_spec.lua", ".luarc.json",
                ".gitignore", ".luals/plugin.lua", ".luals/selfmon.globals.lua"} <= names, names
        json.loads((p.dir / "demo/.luarc.json").read_text())
        before = {n: (p.dir / "demo" / n).read_bytes() for n in names if (p.dir / "demo" / n).is_file()}
        done = p.run("init", cwd=p.dir / "demo")
        assert done.code == 1 and "selfmon.conf.lua is there already" in done.err, done
        assert before == {n: (p.dir / "demo" / n).read_bytes() for n in before}

        (p.dir / "other").mkdir()
        p.write("other/.gitignore", "*.o\n")
        done = p.run("init", ".", cwd=p.dir / "other")
        assert done.code == 0 and ".gitignore was there and is left as it is" in done.out, done
        assert (p.dir / "other/.gitignore").read_text() == "*.o\n" and "cd " not in done.out, done
        done = p.run("init", "it's new", cwd=p.dir)
        assert done.code == 0 and "cd 'it'\\''s new'" in done.out, done
        p.write("file", "")
        done = p.run("init", "file")
        assert done.code == 1 and "file is not a directory" in done.err, done
        assert p.run("init", "a", "b").code == 64


def test_every_command_is_described():
    """every command has help with an example, a line in the overview and an entry in the man page"""
    man = (pathlib.Path(__file__).resolve().parents[2] / "docs/man/selfmon-lua.1.scd").read_text()
    with project() as p:
        overview = p.run("--help").out
        commands = [c for c in p.run("completion", "words", "selfmon-lua ").out.split() if not c.startswith("-")]
        assert len(commands) >= 24, commands
        for command in commands:
            done = p.run(command, "--help")
            assert done.code == 0 and done.out.startswith(f"usage: selfmon-lua {command}"), done
            assert re.search(rf"^  .*selfmon-lua {command}", done.out, re.M), done
            assert re.search(rf"^\*{command}\*", man, re.M), command
            options = p.run("completion", "words", f"selfmon-lua {command} -").out.split()
            missing = [o for o in options if f"*{o}*" not in man and f"{o}*" not in man]
            assert not missing, (command, missing)
            assert f"  selfmon-lua {command}" in overview or command in ("unmute",), command


if __name__ == "__main__":
    harness.run_all(globals())
