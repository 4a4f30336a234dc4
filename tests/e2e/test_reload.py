"""Hot reload: every way of saving a file takes effect, no half of one is ever run."""
import os
import shutil
import signal
import subprocess
import time

from harness import clean_env, project, run_all, simple, wait_for

LONG = 25  # a ceiling; what is awaited comes within half a second, and no walk comes before 30 s


def text(title, body="  return"):
    return simple(body, title)


def titles(p):
    """id -> title of what is loaded."""
    return {i["id"]: i["title"] for i in p.run("list", "--json").json() if "id" in i}


def errors(p):
    """file -> entry of what does not load."""
    return {i["file"]: i for i in p.run("list", "--json").json() if i.get("outcome") == "load_error"}


def shows(p, title, of="demo/a.run"):
    wait_for(lambda: titles(p).get(of) == title, f"{of} with the title {title}", LONG)


def quiet(p, d):
    """Nothing was found wrong on the way."""
    assert not errors(p) and "good version" not in d.err and "does not" not in d.err, d.err


def tool(*args, cwd=None):
    done = subprocess.run(args, cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env=clean_env(HOME=str(cwd or "/nonexistent"), TERM="dumb", GIT_CONFIG_NOSYSTEM="1"))
    assert done.returncode == 0, (args, done.stdout, done.stderr)


def started(p, **kw):
    d = p.daemon(**kw)
    d.wait_line("loaded", seconds=LONG)
    return d


def test_plain_ways_of_saving():
    """rename over, write in place, truncate and write, mv, cp, hard link, sed -i: each takes effect, none is an error"""
    with project() as p:
        a = p.script("demo/a.lua", text("one"))
        d = started(p)
        shows(p, "one")
        p.script("demo/a.lua", text("renamed"))
        shows(p, "renamed")
        a.write_text(text("in place"))
        shows(p, "in place")
        with open(a, "r+") as f:  # VS Code: truncates the open file, writes, syncs, closes
            f.truncate(0)
            f.flush()
            time.sleep(0.3)
            f.write(text("as VS Code"))
            f.flush()
            os.fsync(f.fileno())
        shows(p, "as VS Code")
        other = p.write("beside.lua", text("moved"))
        tool("mv", str(other), str(a))
        shows(p, "moved")
        other.write_text(text("copied"))
        tool("cp", "-p", str(other), str(a))
        shows(p, "copied")
        other.write_text(text("linked"))
        tool("ln", "-f", str(other), str(a))
        shows(p, "linked")
        tool("sed", "-i", "s/linked/edited/", str(a))
        shows(p, "edited")
        quiet(p, d)


def test_vim():
    """vim, with a backup by rename and by copy: takes effect; swap, backup and undo files are no scripts"""
    with project() as p:
        a = p.script("demo/a.lua", text("one"))
        d = started(p)
        for n, how in enumerate(["yes", "no", "auto"]):
            shows(p, ["one", "two0", "two1"][n])
            old = ["one", "two0", "two1"][n]
            tool("vim", "-u", "NONE", "-N", "-es", "-c", "set backup writebackup undofile swapfile backupskip=", "-c",
                 f"set backupcopy={how} backupdir=. undodir=.", "-c", f"%s/{old}/two{n}/", "-c", "w", "-c", "q",
                 str(a), cwd=a.parent)
        shows(p, "two2")
        names = os.listdir(a.parent)
        assert "a.lua~" in names and ".a.lua.un~" in names, names
        for swap in (".a.lua.swp", "a.lua.swp", "#a.lua#", ".#a.lua", "4913", "a.lua.orig", ".a.lua"):
            (a.parent / swap).write_text("junk(")
        p.script("demo/b.lua", text("last"))
        shows(p, "last", "demo/b.run")
        assert set(titles(p)) == {"demo/a.run", "demo/b.run"}, titles(p)
        quiet(p, d)


def test_git_checkout():
    """git checkout of a branch: files come, change and go, with their folders and modules"""
    with project() as p:
        root = p.dir / "inspections"
        git = lambda *args: tool("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args, cwd=root)
        p.script("demo/a.lua", text("main"))
        p.script("old/deep/gone.lua", text("gone"))
        git("init", "-q", "-b", "main")
        git("add", "-A")
        git("commit", "-qm", "one")
        git("checkout", "-qb", "next")
        p.script("demo/a.lua", 'local u = require "lib.u"\n' + text("x").replace('"x"', "u.title"))
        p.script("lib/u.lua", 'return { title = "next" }')
        p.script("new/folder/of/many.lua", text("many"))
        git("rm", "-qr", "old")
        git("add", "-A")
        git("commit", "-qm", "two")
        git("checkout", "-q", "main")
        d = started(p)
        main = {"demo/a.run": "main", "old/deep/gone.run": "gone"}
        following = {"demo/a.run": "next", "new/folder/of/many.run": "many"}
        for branch, want in (("next", following), ("main", main), ("next", following)):
            git("checkout", "-q", branch)
            wait_for(lambda: titles(p) == want, f"the files of {branch}", LONG)
        wait_for(lambda: not errors(p), "no errors", LONG)
        assert d.stop() == 0


def test_rsync():
    """rsync of a tree, by rename and --inplace, with --delete"""
    if not shutil.which("rsync"):
        raise AssertionError("rsync is not installed (vendor/packages-test.txt)")
    with project() as p:
        p.script("demo/a.lua", text("one"))
        p.script("demo/gone.lua", text("gone"))
        d = started(p)
        for n, how in enumerate([[], ["--inplace"]]):
            source = p.dir / f"source{n}"
            (source / "demo" / "sub").mkdir(parents=True)
            (source / "demo" / "a.lua").write_text(text(f"sync{n}"))
            (source / "demo" / "sub" / "b.lua").write_text(text(f"sub{n}"))
            tool("rsync", "-ac", "--delete", *how, f"{source}/", str(p.dir / "inspections"))
            wait_for(lambda: titles(p) == {"demo/a.run": f"sync{n}", "demo/sub/b.run": f"sub{n}"}, "what was synced",
                     LONG)
        quiet(p, d)


def test_configmap():
    """a ConfigMap: the hidden link that all files go through flips; so does the link that is the root"""
    with project() as p:
        def generation(at, name, files):
            folder = at / name
            folder.mkdir(parents=True)
            for file, content in files.items():
                (folder / file).write_text(content)
            (at / "..new").symlink_to(name)
            (at / "..new").rename(at / "..data")

        root = p.dir / "inspections"
        generation(root, "..2026_1", {"a.lua": text("one"), "b.lua": text("bee")})
        for name in ("a.lua", "b.lua"):
            (root / name).symlink_to(f"..data/{name}")
        d = started(p)
        wait_for(lambda: titles(p) == {"a.run": "one", "b.run": "bee"}, "the first", LONG)
        generation(root, "..2026_2", {"a.lua": text("two"), "b.lua": text("bee")})
        shutil.rmtree(root / "..2026_1")
        wait_for(lambda: titles(p) == {"a.run": "two", "b.run": "bee"}, "the second", LONG)
        quiet(p, d)
        assert d.stop() == 0
        for n in (1, 2):
            (p.dir / f"release{n}").mkdir()
            (p.dir / f"release{n}" / "r.lua").write_text(text(f"release {n}"))
        shutil.rmtree(root)
        root.symlink_to("release1")
        d = started(p)
        shows(p, "release 1", "r.run")
        (p.dir / "to").symlink_to("release2")
        (p.dir / "to").rename(root)
        shows(p, "release 2", "r.run")
        (p.dir / "release2" / "r.lua").write_text(text("release 2b"))
        shows(p, "release 2b", "r.run")


def slow_write(path, first, second, wait):
    """Writes in two parts with a pause; `wait` holds while the first is there and open."""
    with open(path, "w") as f:
        f.write(first)
        f.flush()
        os.fsync(f.fileno())
        wait()
        f.write(second)


def test_no_half_is_run():
    """a slow write in two parts: the half never runs, whether it compiles or not, new or known, script or module"""
    with project() as p:
        p.script("known.lua", text("old", '  print "old"'))
        p.script("two.lua", text("old", '  print "old"') + 'monitor{ title = "second" }\nfunction second() end\n')
        p.script("user.lua", 'local m = require "lib.m"\n' + text("user", "  print(m.word)"))
        p.script("lib/m.lua", 'return { word = "old" }')
        d = started(p)
        wait_for(lambda: len(titles(p)) == 4, "four", LONG)
        root = p.dir / "inspections"
        half = text("HALF", '  print "HALF"')
        rest = text("whole", '  print "whole"')

        def nothing_new():
            """Walks all folders again and again, with looks at what is loaded meanwhile."""
            before, until = titles(p), time.monotonic() + 0.8
            while time.monotonic() < until:
                d.process.send_signal(signal.SIGHUP)
                assert titles(p) == before, titles(p)

        slow_write(root / "known.lua", half, "\n" + rest.replace("monitor{", "local _ = {"), nothing_new)
        shows(p, "HALF", "known.run")  # the title is the first part's, the function the second's
        slow_write(root / "two.lua", half, 'monitor{ title = "second" }\nfunction second() end\n' +
                   'function run() print "whole" end\n', nothing_new)
        shows(p, "HALF", "two.run")
        slow_write(root / "new.lua", half, 'function run() print "whole" end\n', nothing_new)
        shows(p, "HALF", "new.run")
        slow_write(root / "broken.lua", half[:-4], " end\nfunction run() print 'whole' end\n", nothing_new)
        shows(p, "HALF", "broken.run")
        slow_write(root / "lib/m.lua", 'return { word = "HALF"', ', word = "whole" }', nothing_new)
        slow_write(root / "lib/m.lua", 'local t = { word = "HALF" }\ndo return t end\n'.replace("do return t end\n", ""),
                   't.word = "whole"\nreturn t\n', nothing_new)
        quiet(p, d)
        assert d.stop() == 0
        assert p.once().code == 0
        said = [line["text"] for r in p.runs("--log") for line in r["log"]]
        assert "HALF" not in said and said.count("whole") >= 4, said


def test_open_for_ever():
    """a writer that never closes: tried when it pauses, taken only when nothing that ran is lost"""
    with project() as p:
        a = p.script("demo/a.lua", text("one") + 'monitor{ title = "second" }\nfunction second() end\n')
        d = started(p)
        shows(p, "one")
        with open(a, "r+") as f:
            f.truncate(0)
            f.write(text("half"))
            f.flush()
            time.sleep(3)  # it was tried after two
            assert titles(p)["demo/a.run"] == "one" and "demo/a.second" in titles(p), titles(p)
            f.write('monitor{ title = "second" }\nfunction second() end\n')
            f.flush()
            shows(p, "half")
            f.seek(0)
            f.truncate(0)
            f.write(text("alone"))
            f.flush()
            shows(p, "alone")  # quiet for so long that it is meant so
            assert "demo/a.second" not in titles(p)
        with open(a, "a") as f:  # a trickle without a pause does not postpone for ever
            f.seek(0)
            f.truncate(0)
            f.write(text("trickle"))
            end = time.monotonic() + LONG
            while titles(p)["demo/a.run"] != "trickle":
                assert time.monotonic() < end
                f.write("-- more\n")
                f.flush()
                time.sleep(0.05)
        quiet(p, d)


if __name__ == "__main__":
    run_all(globals())
