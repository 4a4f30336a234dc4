#!/usr/bin/python3
"""The author's commands: what `doc` and `types` print and write."""
import json

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


if __name__ == "__main__":
    harness.run_all(globals())
