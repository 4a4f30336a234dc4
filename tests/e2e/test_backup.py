"""`backup` and `restore`: whole copies while the daemon runs, checked before they are used, and no state
in between."""
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess

from harness import BINARY, Skip, clean_env, project, report, run_all, simple, wait_for


def state(p):
    return p.dir / ".selfmon"


def names(folder, part):
    return sorted(f.name for f in folder.iterdir() if part in f.name)


def titles(p):
    return sorted(e["title"] for e in p.events("-n", "100000"))


def counting(title):
    """A script that reports one event of its own a run."""
    return simple(report(title=title, tags=f'{{ n = "{title}" }}'), title=title)


def once(p):
    done = p.once()
    assert done.code == 0, done


def test_backup_and_restore_without_a_daemon():
    """backup, more events, restore: the store is as it was; what was there is kept beside"""
    with project() as p:
        p.script("a.lua", counting("first"))
        once(p)
        done = p.run("backup", "copy")
        assert done.code == 0, done
        copy = p.dir / "copy"
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert "1 event," in done.out and "keep it like a key" in done.out, done
        p.script("a.lua", counting("second"))
        once(p)
        assert titles(p) == ["first", "second"]
        secret = (state(p) / "secret").read_bytes()
        (state(p) / "secret").write_bytes(b"another")
        done = p.run("restore", "copy")
        assert done.code == 0, done
        assert "1 event," in done.out and done.out.count("is kept as") == 2, done
        assert titles(p) == ["first"]
        assert (state(p) / "secret").read_bytes() == secret
        assert stat.S_IMODE((state(p) / "secret").stat().st_mode) == 0o600
        [old] = names(state(p), "selfmon.db.replaced.")
        db = sqlite3.connect(state(p) / old)
        assert db.execute("SELECT count(*) FROM events").fetchone() == (2,)
        db.close()
        [old] = names(state(p), "secret.replaced.")
        assert (state(p) / old).read_bytes() == b"another"
        assert not names(state(p), ".restore") and not names(p.dir, "partial")
        once(p)
        assert titles(p) == ["first", "second"]


def test_a_backup_is_a_database_with_a_checksum():
    """any tool opens a backup; the line behind it says what it is and sums up all of it"""
    with project() as p:
        p.script("a.lua", counting("first"))
        once(p)
        told = p.run("backup", "--json", "copy").json()
        data = (p.dir / "copy").read_bytes()
        line = data[told["bytes"]:]
        assert line[:1] == b"\n" and line[-1:] == b"\n", line[:20]
        manifest, digest = line[1:-1].decode().rsplit(" ", 1)
        assert digest == told["sha256"] == hashlib.sha256(data[:-66]).hexdigest()
        manifest = json.loads(manifest)
        assert bytes.fromhex(manifest["secret"]) == (state(p) / "secret").read_bytes()
        assert manifest["database_bytes"] == told["bytes"] and told["secret"] is True
        assert told["events"] == 1 and told["waiting"] == 0, told
        db = sqlite3.connect(f"file:{p.dir}/copy?immutable=1", uri=True)
        assert db.execute("SELECT title FROM events").fetchall() == [("first",)]
        assert db.execute("PRAGMA user_version").fetchone() == (told["schema"],)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()


def test_backup_while_events_come():
    """a backup of a running daemon: events go on being accepted, the copy is whole and has all up to then"""
    with project() as p:
        p.script("a.lua", '''monitor{ title = "Load", schedule = "@every 1s" }
function run()
  for i = 1, 100 do
    EventReporter():report{ title = "load", message = ("x"):rep(2000), status = "warning",
      dimension_tags = { n = tostring(i) } }
  end
end
''')
        d = p.daemon()
        wait_for(lambda: len(p.events("-n", "100000")) >= 300, "some events", 60)
        for n in range(3):
            before = len(p.events("-n", "100000"))
            told = p.run("backup", "--json", f"copy{n}").json()
            assert told["events"] >= before, (told, before)
            assert p.run("backup", f"copy{n}").code == 1
        wait_for(lambda: len(p.events("-n", "100000")) > told["events"], "events go on", 30)
        assert not names(state(p), "copy"), names(state(p), "")
        done = p.run("restore", "copy0")
        assert done.code == 1 and f"is held by process {d.pid} (run)" in done.err, done
        assert d.stop() == 0, d.err
        p.script("a.lua", counting("later"))
        assert p.run("restore", "copy2").code == 0
        assert len(p.events("-n", "100000")) == told["events"]
        once(p)


def test_pauses_are_short():
    """a backup of 100 MB: no read of the store waits longer than a second behind a step"""
    with project() as p:
        p.script("a.lua", counting("first"))
        once(p)
        db = sqlite3.connect(state(p) / "selfmon.db")
        row = db.execute("SELECT * FROM events").fetchone()
        marks = ",".join("?" * len(row))
        for n in range(10000):
            db.execute(f"INSERT INTO events VALUES ({marks})",
                       (row[0] + n + 1, f"event-{n}") + row[2:15] + ("y" * 10000,) + row[16:])
        db.commit()
        db.close()
        d = p.daemon()
        wait_for(lambda: "daemon: pid" in p.run("status").out, "the daemon", 60)
        ends = []
        copying = subprocess.Popen([BINARY, "backup", "--json", "copy"], cwd=p.dir, env=clean_env(),
                                   stdout=subprocess.PIPE)
        while copying.poll() is None:
            done = p.run("status", "--json")
            assert done.code == 0, (done, d.process.poll(), d.err)
            ends.append(done.json()["store"]["ping"])
        told = json.loads(copying.communicate()[0])
        assert told["bytes"] > 100 << 20 and told["events"] >= 10001, told
        assert max(ends) < 1, max(ends)
        print(f"# {told['bytes'] >> 20} MiB; the slowest read of the store took {max(ends) * 1000:.0f} ms")


def test_what_is_there_is_not_replaced():
    """an existing file is replaced only with --force; a failed backup leaves it and nothing else"""
    with project() as p:
        p.script("a.lua", counting("first"))
        once(p)
        (p.dir / "copy").write_text("mine")
        done = p.run("backup", "copy")
        assert done.code == 1 and "is there already; --force replaces it" in done.err, done
        assert (p.dir / "copy").read_text() == "mine"
        assert p.run("backup", "--force", "copy").code == 0
        assert (p.dir / "copy").read_bytes()[:15] == b"SQLite format 3"
        (p.dir / "folder").mkdir()
        assert "not a regular file" in p.run("backup", "--force", "folder").err
        done = p.run("backup", "none/copy")
        assert done.code == 1 and "No such file or directory" in done.err, done
        assert len([line for line in done.err.splitlines() if line]) == 1, done
        assert p.run("backup").code == 64 and p.run("restore", "a", "b").code == 64


def test_nothing_to_back_up():
    """without a store: one sentence, nothing is made"""
    with project() as p:
        done = p.run("backup", "copy")
        assert done.code == 1 and "no state directory" in done.err, done
        assert not (p.dir / "copy").exists() and not state(p).exists()


def test_damaged_backups_are_refused():
    """a backup with one changed byte, cut off, of a newer version or of another program changes nothing"""
    with project() as p:
        p.script("a.lua", counting("first"))
        once(p)
        assert p.run("backup", "copy").code == 0
        data = (p.dir / "copy").read_bytes()
        size = len(data)

        def changed(at, byte):
            return data[:at] + bytes([byte ^ data[at]]) + data[at + 1:]
        bad = {
            "a byte of the database": (changed(size // 3, 1), "was changed since it was made"),
            "the first byte": (changed(0, 1), "was changed since it was made"),
            "the secret": (changed(data.rindex(b'"secret":') + 14, 1), "was changed since it was made"),
            "the checksum": (changed(size - 5, 1), "was changed since it was made"),
            "text": (b"hello\n" * 1000, "is not a whole backup"),
            "empty": (b"", "is not a whole backup"),
        }
        before = {f.name: f.read_bytes() for f in state(p).iterdir() if f.is_file() and f.name != "lock"}
        for what, (content, sentence) in bad.items():
            (p.dir / "bad").write_bytes(content)
            done = p.run("restore", "bad")
            assert done.code == 1 and sentence in done.err, (what, done)
        done = p.run("restore", "none")
        assert done.code == 1 and "No such file" in done.err, done
        newer = sqlite3.connect(state(p) / "selfmon.db")
        [schema] = newer.execute("PRAGMA user_version").fetchone()
        newer.close()
        shutil.copy(p.dir / "copy", p.dir / "newer")
        body = data[:p.run("backup", "--json", "--force", "copy").json()["bytes"]]
        body = body[:60] + (schema + 1).to_bytes(4, "big") + body[64:]
        line = b"\n" + json.dumps({"selfmon_backup": 1, "database_bytes": len(body)}).encode()
        (p.dir / "newer").write_bytes(body + line + b" " + hashlib.sha256(body + line).hexdigest().encode() +
                                      b"\n")
        done = p.run("restore", "newer")
        assert done.code == 1 and "made by a newer version" in done.err, done
        after = {f.name: f.read_bytes() for f in state(p).iterdir() if f.is_file() and f.name != "lock"}
        assert before == after


def test_restore_to_another_machine():
    """a backup restored where there was nothing: same identity, events that waited are delivered"""
    with project() as p, project() as other:
        p.script("a.lua", counting("first"))
        once(p)
        db = sqlite3.connect(state(p) / "selfmon.db")  # as if it had not been delivered
        db.execute("INSERT INTO outbox (seq, account, id, dim, state, head, bytes) "
                   "SELECT seq, account, id, 1, 'inflight', 1, 10 FROM events")
        db.execute("DELETE FROM local_events")
        db.commit()
        db.close()
        key = p.run("key", "a.run").out
        told = p.run("backup", "--json", str(other.dir / "copy")).json()
        assert told["waiting"] == 1, told
        assert other.run("restore", "copy").code == 0
        assert other.run("key", "a.run").out == key
        assert stat.S_IMODE(state(other).stat().st_mode) == 0o700
        other.script("b.lua", counting("second"))
        once(other)
        assert [e["delivery"] for e in other.events()] == ["delivered"] * 2, other.events()
        assert titles(other) == ["first", "second"]


def test_restore_killed_anywhere():
    """a restore killed at any rename, unlink or sync: the old or the new pair, never one of each"""
    if not shutil.which("strace"):
        raise Skip("strace is not there")
    with project() as p:
        p.script("a.lua", counting("new"))
        once(p)
        assert p.run("backup", "copy").code == 0
        new_secret = (state(p) / "secret").read_bytes()
        shutil.rmtree(state(p))
        p.script("a.lua", counting("old"))
        once(p)
        old_secret = (state(p) / "secret").read_bytes()
        shutil.copytree(state(p), p.dir / "template")
        seen = set()
        for call in ("renameat", "fsync", "unlinkat"):
            for n in range(1, 40):
                shutil.rmtree(state(p))
                shutil.copytree(p.dir / "template", state(p))
                done = subprocess.run(
                    ["strace", "-f", "-qqq", "-o", os.devnull, "-e", f"trace={call}", "-e",
                     f"inject={call}:signal=KILL:when={n}", BINARY, "restore", "copy"], cwd=p.dir,
                    env=clean_env(), capture_output=True)
                if done.returncode == 0:
                    break
                assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done
                now = titles(p)
                pair = (now[0], (state(p) / "secret").read_bytes() == new_secret)
                assert pair in (("old", False), ("new", True)), (call, n, pair)
                assert pair[1] or (state(p) / "secret").read_bytes() == old_secret
                assert not names(state(p), ".restore") and not names(state(p), "plan"), (call, n)
                seen.add(pair)
            else:
                raise AssertionError(f"{call}: no end")
        assert len(seen) == 2, seen


def test_no_room_for_the_copy():
    """no room beside the store: the daemon's backup says so; stopped, it is written to its place at once"""
    if os.geteuid() != 0:
        raise Skip("needs root to mount")
    with project() as p:
        disk = p.dir / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", disk], check=True)
        try:
            p.write("selfmon.conf.lua", 'return { limits = { min_free = "1MiB" } }')
            p.script("a.lua", simple("""  for i = 1, 400 do
    EventReporter():report{ title = "t" .. i, message = ("x"):rep(9000), status = "warning",
      dimension_tags = { n = tostring(i % 7) } }
  end"""))
            there = ("--state-dir", str(disk / "state"))
            assert p.run("run", "--once", *there, "inspections/").code == 0
            with open(disk / "ballast", "wb") as out:
                free = os.statvfs(disk)
                out.write(b"\0" * (free.f_bavail * free.f_frsize - (3 << 20)))
            d = p.daemon(*there, "inspections/")
            wait_for(lambda: "daemon: pid" in p.run("status", *there).out, "the daemon", 30)
            done = p.run("backup", *there, "copy")
            assert done.code == 1 and "there is no room for a copy" in done.err, done
            assert not names(disk / "state", "copy") and not (p.dir / "copy").exists()
            assert d.stop() == 0, d.err
            done = p.run("backup", *there, "copy")
            assert done.code == 0 and "400 events" in done.out, done
        finally:
            subprocess.run(["umount", "-l", disk], check=False)


run_all(globals())
