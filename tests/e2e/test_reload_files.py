"""The life of script files in a running daemon, and files that are not what they seem."""
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time

from harness import BINARY, Daemon, Skip, clean_env, project, run_all, sanitized, simple, wait_for

LONG = 60
SOON = 20  # before a walk that comes every 30 s


def text(title, body="  return", schedule="0 0 1 1 *"):
    return simple(body, title, schedule)


def listed(p):
    return p.run("list", "--json").json()


def titles(p):
    return {i["id"]: i["title"] for i in listed(p) if "id" in i}


def errors(p):
    return {i["file"]: i for i in listed(p) if i.get("outcome") == "load_error"}


def shows(p, want, seconds=LONG):
    wait_for(lambda: titles(p) == want, f"{want}", seconds)


def started(p, **kw):
    d = p.daemon(**kw)
    d.wait_line("loaded", seconds=LONG)
    return d


def test_life_of_a_file():
    """new, changed, broken, mended, emptied, removed: list, status and log say file, line, and what runs"""
    with project() as p:
        root = p.dir / "inspections"
        p.script("a.lua", text("one"))
        d = started(p)
        (root / "demo").mkdir()
        (root / "demo" / "b.lua").write_text(text("new"))
        shows(p, {"a.run": "one", "demo/b.run": "new"})
        p.script("a.lua", text("two"))
        shows(p, {"a.run": "two", "demo/b.run": "new"})

        p.script("a.lua", text("broken") + "\nlocal x = = 1\n")
        wrong = wait_for(lambda: errors(p).get("a.lua"), "an error", LONG)
        assert wrong["line"] == 6 and wrong["stale"] and wrong["error"].startswith("inspections/a.lua:6:"), wrong
        assert titles(p)["a.run"] == "two" and next(i for i in listed(p) if i.get("id") == "a.run")["stale"]
        wait_for(lambda: "inspections/a.lua:6:" in d.err and "the last good version stays" in d.err, "a log line", LONG)
        for command in ("list", "status"):
            said = p.run(command)
            line = next(line for line in said.out.splitlines() if "inspections/a.lua:6:" in line)
            assert "its last good version" in line, said
        status = p.run("status", "--json").json()
        assert status["load_errors"][0]["stale"] and status["counts"]["stale"] == 1, status

        p.script("a.lua", text("mended"))
        wait_for(lambda: not errors(p), "no error", LONG)
        shows(p, {"a.run": "mended", "demo/b.run": "new"})
        (root / "a.lua").write_text("")
        assert wait_for(lambda: errors(p).get("a.lua"), "an error", LONG)["error"] == \
            "inspections/a.lua: the file is empty"
        shows(p, {"a.run": "mended", "demo/b.run": "new"})
        (root / "a.lua").unlink()
        shows(p, {"demo/b.run": "new"})
        shutil.rmtree(root / "demo")
        shows(p, {})
        p.script("again.lua", text("again"))
        shows(p, {"again.run": "again"})
        assert d.err.count("a.lua: removed") == 1, d.err
        assert d.stop() == 0


def test_modules():
    """a changed module reloads those that need it, and no others; one that comes mends who asked for it"""
    with project() as p:
        p.script("lib/u.lua", 'return { title = "u1" }')
        p.script("lib/v.lua", 'return require "lib.u"')
        uses = text("x").replace('"x"', "u.title")
        p.script("direct.lua", 'local u = require "lib.u"\n' + uses)
        p.script("through.lua", 'local u = require "lib.v"\n' + uses)
        p.script("apart.lua", text("apart"))
        p.script("asks.lua", 'local ok, u = pcall(require, "lib.later")\nif not ok then u = { title = "without" } end\n'
                 + uses)
        p.script("needs.lua", 'local u = require "lib.later"\n' + uses)
        d = started(p)
        assert set(errors(p)) == {"needs.lua"}
        shows(p, {"direct.run": "u1", "through.run": "u1", "apart.run": "apart", "asks.run": "without"})

        def loaded():
            return sorted(line.split("/")[1].split(":")[0] for line in d.err.splitlines() if ": loaded, " in line)

        p.script("lib/u.lua", 'return { title = "u2" }')
        shows(p, {"direct.run": "u2", "through.run": "u2", "apart.run": "apart", "asks.run": "without"})
        assert loaded() == ["direct.lua", "through.lua"], d.err
        p.script("lib/later.lua", 'return { title = "here" }')
        shows(p, {"direct.run": "u2", "through.run": "u2", "apart.run": "apart", "asks.run": "here",
                  "needs.run": "here"})
        assert loaded() == ["asks.lua", "direct.lua", "needs.lua", "through.lua"], d.err
        p.script("lib/u.lua", "return {")
        wait_for(lambda: errors(p).get("lib/u.lua"), "an error", LONG)
        assert errors(p)["lib/u.lua"]["stale"], errors(p)
        p.script("direct.lua", 'local u = require "lib.u"\n-- changed\n' + uses)
        wait_for(lambda: loaded().count("direct.lua") == 2, "a load with the last good module", LONG)
        assert set(errors(p)) == {"lib/u.lua"} and titles(p)["direct.run"] == "u2"
        p.script("lib/u.lua", 'return { title = "u3" }')
        wait_for(lambda: titles(p)["through.run"] == "u3", "mended", LONG)
        assert d.stop() == 0


def test_renames():
    """a renamed script is another inspection, and the log says how to keep it; with `was` it stays the same"""
    with project() as p:
        root = p.dir / "inspections"
        p.script("demo/a.lua", text("A"))
        d = started(p)
        key = {i["id"]: i["ref_key"] for i in listed(p)}["demo/a.run"]
        (root / "demo/a.lua").rename(root / "demo/b.lua")
        shows(p, {"demo/b.run": "A"})
        wait_for(lambda: 'demo/b.run looks like the former demo/a.run and will be another inspection there; add '
                 'was = {"demo/a.run"}' in d.err, "the sentence", LONG)
        assert listed(p)[0]["ref_key"] != key
        p.script("demo/b.lua", text("A").replace("title =", 'was = { "demo/a.run" }, title ='))
        wait_for(lambda: listed(p)[0]["ref_key"] == key, "the former key", LONG)
        before = d.err.count("looks like")
        os.rename(root / "demo", root / "shop")  # the whole folder; `was` still names the key
        shows(p, {"shop/b.run": "A"})
        assert listed(p)[0]["ref_key"] == key and d.err.count("looks like") == before, d.err
        assert d.stop() == 0


def test_removed_mid_run():
    """a script removed while it runs: the run ends normally with the text it began with; nothing follows"""
    with project() as p:
        a = p.script("a.lua", text("A", '  require "selfmon.time".sleep(2)\n  print("end")', "@every 1s"))
        d = started(p)
        wait_for(lambda: sum(w["running"] for w in p.run("status", "--json").json()["workers"]["workers"]), "a run", LONG)
        a.unlink()
        shows(p, {})
        wait_for(lambda: any(r["outcome"] == "ok" for r in p.runs()), "its end", LONG)
        ended = [r for r in p.runs("--log") if r["outcome"] == "ok"]
        assert [line["text"] for line in ended[0]["log"]] == ["end"], ended
        count = len(p.runs())
        p.script("clock.lua", text("C", schedule="@every 1s"))  # its slots tell the time
        wait_for(lambda: len([r for r in p.runs() if r["id"] == "clock.run"]) >= 4, "others", LONG)
        late = [r for r in p.runs() if r["id"] == "a.run"]
        assert len(late) <= count and all(r["outcome"] in ("ok", "skipped") for r in late), late
        assert d.stop() == 0


def test_overflow():
    """17,000 and more changes while the daemon is stopped: in the end it has what is on disk"""
    with project() as p:
        root = p.dir / "inspections"
        (root / "deep").mkdir()
        for n in range(40):
            p.script(f"s{n}.lua", text(f"old {n}"))
        d = started(p)
        os.kill(d.pid, signal.SIGSTOP)
        try:
            for turn in range(170):
                for n in range(40):
                    new = root / f".new{n}"
                    new.write_text(text(f"turn {turn} of {n}"))  # made, written, closed, renamed twice
                    new.rename(root / f"s{n}.lua")
            for n in range(0, 40, 2):
                (root / f"s{n}.lua").unlink()
            (root / "deep/last.lua").write_text(text("last"))
            (root / "made").mkdir()
            (root / "made/first.lua").write_text(text("first"))
        finally:
            os.kill(d.pid, signal.SIGCONT)
        want = {f"s{n}.run": f"turn 169 of {n}" for n in range(1, 40, 2)}
        want.update({"deep/last.run": "last", "made/first.run": "first"})
        shows(p, want)
        wait_for(lambda: "changed faster than could be followed" in d.err, "the overflow is told", LONG)
        p.script("made/first.lua", text("after"))
        shows(p, dict(want, **{"made/first.run": "after"}))
        assert not errors(p) and d.stop() == 0, d.err


def test_broken_across_a_restart():
    """a script broken while the daemon was down runs in its last good version, from the store"""
    with project() as p:
        p.script("lib/m.lua", 'return "good module"')
        p.script("a.lua", 'local m = require "lib.m"\n' + text("good", "  print(m)"))
        d = started(p)
        d.wait_line("ok", "a.run", seconds=LONG)
        d.kill()
        p.script("a.lua", "function run(")
        p.script("lib/m.lua", 'return "other module"')
        d = started(p)
        wrong = errors(p)["a.lua"]
        assert wrong["stale"] and wrong["line"] == 1, wrong
        assert titles(p) == {"a.run": "good"}
        count = len(p.runs())
        done = p.run("run", "--once", "inspections/")
        assert len(p.runs()) > count, done
        assert p.runs("--log")[-1]["log"][-1]["text"] == "good module", p.runs("--log")
        p.script("a.lua", 'local m = require "lib.m"\n' + text("mended", "  print(m)"))
        shows(p, {"a.run": "mended"})
        assert not errors(p) and d.stop() == 0


class Limited:
    """A daemon in a user namespace of its own that allows so many inotify watches."""

    def __init__(self, p, limit, name="max_inotify_watches"):
        self.file = f"/proc/sys/user/{name}"
        script = f'echo {limit} > {self.file} && exec "$0" run inspections/'
        out, err = p.dir / "limited.out", p.dir / "limited.err"
        with open(out, "w") as o, open(err, "w") as e:
            self.process = subprocess.Popen(["unshare", "-Ur", "sh", "-c", script, BINARY], cwd=p.dir, stdout=o, stderr=e,
                                            env=clean_env(), stdin=subprocess.DEVNULL)
        self.project, self.pid, self.out_path, self.err_path = p, self.process.pid, out, err
        p.daemons.append(self)

    out, err = Daemon.out, Daemon.err
    wait_line, stop, kill = Daemon.wait_line, Daemon.stop, Daemon.kill

    def allow(self, limit):
        subprocess.run(["nsenter", "-U", "--preserve-credentials", "-t", str(self.pid), "sh", "-c",
                        f"echo {limit} > {self.file}"], check=True)


def namespaces():
    return subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode == 0


def test_without_inotify():
    """no inotify, or too few watches: said once with the setting, changes are seen by looking; and back again"""
    if not namespaces():
        raise Skip("user namespaces are not allowed here")
    for limit, name, word in ((0, "max_inotify_watches", "max_user_watches"), (2, "max_inotify_watches",
                                                                             "max_user_watches"),
                              (0, "max_inotify_instances", "max_user_instances")):
        with project() as p:
            for folder in ("a", "b", "c"):
                p.script(f"{folder}/s.lua", text("one"))
            d = Limited(p, limit, name)
            d.wait_line("loaded", seconds=LONG)
            for folder in ("a", "b", "c"):
                p.script(f"{folder}/s.lua", text("two"))
            shows(p, {"a/s.run": "two", "b/s.run": "two", "c/s.run": "two"}, SOON)
            (p.dir / "inspections" / "b" / "s.lua").unlink()
            (p.dir / "inspections" / "c" / "s.lua").write_text("function run(")  # in place, and wrong
            shows(p, {"a/s.run": "two", "c/s.run": "two"}, SOON)
            wait_for(lambda: errors(p).get("c/s.lua"), "an error", SOON)
            assert d.err.count("cannot be watched for changes") == 1, d.err
            assert f"sysctl fs.inotify.{word}=" in d.err, d.err
            d.allow(1000)
            wait_for(lambda: "is watched for changes again" in d.err, "watched again", SOON)
            p.script("b/s.lua", text("three"))
            shows(p, {"a/s.run": "two", "b/s.run": "three", "c/s.run": "two"}, SOON)
            assert d.stop() == 0, d.err


def test_files_that_are_not_what_they_seem():
    """links out, loops, FIFOs, devices, sockets, folders, huge and odd names: one warning each, nothing is opened"""
    with project() as p:
        root = p.dir / "inspections"
        p.script("good.lua", text("good"))
        p.write("outside.lua", text("outside"))
        p.write("elsewhere/in.lua", text("elsewhere"))

        def oddities(at):
            at.mkdir(exist_ok=True)
            (at / "out.lua").symlink_to("../../outside.lua")
            (at / "passwd.lua").symlink_to("/etc/passwd")
            (at / "etc").symlink_to("/etc")
            (at / "elsewhere").symlink_to("../../elsewhere")
            (at / "loop").symlink_to(".")
            (at / "self.lua").symlink_to("self.lua")
            (at / "nowhere.lua").symlink_to("absent")
            os.mkfifo(at / "fifo.lua")
            if os.geteuid() == 0:
                os.mknod(at / "device.lua", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(at / "sock.lua"))
            server.close()
            (at / "folder.lua").mkdir(exist_ok=True)
            with open(at / "huge.lua", "w") as f:
                f.truncate(1 << 30)
            (at / "inside.lua").symlink_to("../good.lua")
            for name in (b"\xff.lua", b"new\nline.lua", "r\u202etl.lua".encode(), b"tab\t.lua"):
                with open(os.path.join(os.fsencode(at), name), "w") as f:
                    f.write(text("odd"))

        oddities(root / "before")
        d = started(p)
        want = {"good.run": "good", "before/inside.run": "good"}
        shows(p, want)
        oddities(root / "after")
        shows(p, dict(want, **{"after/inside.run": "good"}))
        huge = wait_for(lambda: errors(p).get("after/huge.lua"), "the huge file's error", LONG)
        assert "longer than 1048576 bytes" in huge["error"], huge
        for n in range(5):  # more walks tell nothing more
            p.script("good.lua", text(f"good {n}"))
            wait_for(lambda: titles(p)["after/inside.run"] == f"good {n}", "the link's new text", LONG)
        d.process.send_signal(signal.SIGHUP)
        lines = d.err.splitlines()
        for folder in ("before", "after"):
            for name, why in (("out.lua", "leads out"), ("passwd.lua", "leads out"), ("etc", "leads out"),
                              ("elsewhere", "leads out"), ("loop", "above it"), ("self.lua", "leads nowhere"),
                              ("nowhere.lua", "leads nowhere"), ("fifo.lua", "not a regular file"),
                              ("sock.lua", "not a regular file"), ("\ufffd.lua", "not UTF-8"),
                              ("new\\nline.lua", "control or invisible"), ("r\\u202etl.lua", "control or invisible"),
                              ("tab\\t.lua", "control or invisible")):
                found = [line for line in lines if f"inspections/{folder}/{name} " in line and why in line]
                assert len(found) == 1, (folder, name, why, d.err)
        opened = set()
        for fd in os.listdir(f"/proc/{d.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                opened.add(os.readlink(f"/proc/{d.pid}/fd/{fd}"))
        assert not any("/etc" in o or "fifo" in o or "/dev/zero" in o for o in opened), opened
        json.loads(p.run("list", "--json").out)
        assert "odd" not in titles(p).values() and "elsewhere" not in titles(p).values(), titles(p)
        assert d.stop() == 0


def test_mode_000():
    """a file that may not be read: an error; readable again: read at once"""
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            raise Skip("setpriv is missing")
        wrap = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    else:
        wrap = []
    with project() as p:
        a = p.script("a.lua", text("one"))
        p.script("b.lua", text("bee"))
        if wrap:
            for path in [p.dir, *p.dir.rglob("*")]:
                os.chown(path, 65534, 65534)
        out, err = p.dir / "m.out", p.dir / "m.err"
        with open(out, "w") as o, open(err, "w") as e:
            process = subprocess.Popen([*wrap, BINARY, "run", "inspections/"], cwd=p.dir, env=clean_env(), stdout=o,
                                       stderr=e)
        d = Limited.__new__(Limited)
        d.project, d.process, d.pid, d.out_path, d.err_path = p, process, process.pid, out, err
        p.daemons.append(d)
        d.wait_line("loaded", seconds=LONG)
        a.chmod(0)
        p.script("b.lua", text("bee two"))
        wait_for(lambda: errors(p).get("a.lua"), "an error", LONG)
        assert errors(p)["a.lua"]["stale"] and "denied" in errors(p)["a.lua"]["error"], errors(p)
        shows(p, {"a.run": "one", "b.run": "bee two"})
        a.chmod(0o644)
        wait_for(lambda: not errors(p), "no error", LONG)
        assert d.stop() == 0


def test_a_great_many_files():
    """100,000 files: beside scripts they cost little; of scripts the limit is told, and what is loaded stays"""
    with project() as p:
        root = p.dir / "inspections"
        p.script("a.lua", text("one"))
        for folder in range(100):
            (root / f"d{folder}").mkdir()
            for n in range(1000):
                os.close(os.open(root / f"d{folder}" / f"{n}.txt", os.O_CREAT | os.O_WRONLY))
        d = started(p)
        rss = lambda: int(next(line.split()[1] for line in open(f"/proc/{d.pid}/status") if line.startswith("VmRSS")))
        first = rss()
        p.script("a.lua", text("two"))
        shows(p, {"a.run": "two"})
        for folder in range(100):
            for n in range(1000):
                os.rename(root / f"d{folder}" / f"{n}.txt", root / f"d{folder}" / f"{n}.lua")
        wait_for(lambda: "there are more than 20000 files ending in .lua" in d.err, "the limit", LONG)
        assert titles(p) == {"a.run": "two"}, titles(p)
        began = time.monotonic()
        done = p.run("list", "--json", "--state-dir", str(p.dir / "none"))
        took = time.monotonic() - began
        assert "there are more than 20000 files ending in .lua" in done.out + done.err, done
        assert took < 5, took
        assert sanitized() or rss() < first + 100_000, (first, rss())
        shutil.rmtree(root / "d0")
        for folder in range(1, 100):
            os.rename(root / f"d{folder}", p.dir / f"away{folder}")
        p.script("a.lua", text("three"))
        shows(p, {"a.run": "three"})
        wait_for(lambda: not errors(p), "no error", LONG)
        assert d.stop() == 0


def test_old_kernels():
    """without openat2 (old kernels, filters of container runtimes) the same is found and refused"""
    if not shutil.which("strace"):
        raise Skip("strace is missing")
    with project() as p:
        p.script("real/a.lua", text("A"))
        root = p.dir / "inspections"
        (root / "linked").symlink_to("real")
        (root / "file.lua").symlink_to("real/a.lua")
        (root / "out").symlink_to("/etc")
        p.write("outside.lua", text("outside"))
        (root / "out.lua").symlink_to("../outside.lua")
        want = {"real/a.run": "A", "linked/a.run": "A", "file.run": "A"}
        for error in ("ENOSYS", "EPERM"):
            done = subprocess.run(["strace", "-f", "-qq", "-o", str(p.dir / "trace"), "-e", "trace=openat2", "-e",
                                   f"inject=openat2:error={error}", BINARY, "list", "--json"], cwd=p.dir,
                                  env=clean_env(ASAN_OPTIONS="detect_leaks=0"), capture_output=True, text=True,
                                  timeout=90)
            trace = (p.dir / "trace").read_text()
            if "INJECTED" not in trace:
                raise Skip("system calls cannot be traced here")
            assert {i["id"]: i["title"] for i in json.loads(done.stdout)} == want, (error, done.stdout, done.stderr)


if __name__ == "__main__":
    run_all(globals())
