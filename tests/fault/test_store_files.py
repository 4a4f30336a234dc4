"""The files of the store against people and disks: moved, removed, cut, overwritten under a running daemon;
corrupt at a start; held by another process."""
import contextlib
import os
import shutil
import sqlite3
import subprocess

from faults import Oracle, check_promise, compare, producer, wait_for
from harness import project, run_all


def store(p):
    return p.dir / ".selfmon" / "selfmon.db"


def sibling(p, tail):
    return store(p).with_name("selfmon.db" + tail)


def files(p, part):
    return sorted(f.name for f in store(p).parent.iterdir() if part in f.name)


@contextlib.contextmanager
def reporting(schedule="@every 1s"):
    """A daemon under which events come, and the oracle that knows of them."""
    with project() as p, Oracle() as oracle:
        p.script("a.lua", producer(oracle, 3, schedule, give_up=False))
        d = p.daemon()
        wait_for(lambda: len(oracle.acked) >= 6, "events before", 60)
        yield p, oracle, d


def troubles(p):
    done = p.run("status", "--json")
    return " ".join(done.json()["trouble"]) if done.code == 0 else ""


def healed(harm, sentence, foreign=True):
    """Harm that the open connection survives: alarm within 10 s, all is put back, nothing is lost."""
    with reporting() as (p, oracle, d):
        harm(p)
        told = wait_for(lambda: troubles(p) if "while it was open" in troubles(p) else "", "an alarm", 10)
        assert sentence in told and "put back whole" in told, told
        assert sentence in d.err, d.err
        before = len(oracle.acked)
        wait_for(lambda: len(oracle.acked) > before + 3, "events go on", 30)
        assert d.process.poll() is None, d.err
        assert bool(files(p, ".foreign.")) == foreign, files(p, "")
        p.script("a.lua", producer(oracle, 1))
        wait_for(lambda: all(e["delivery"] == "delivered" for e in p.events("-n", "100000")), "all is delivered", 30)
        assert d.stop() == 0, d.err
        compare(oracle, p.events("-n", "100000"), sentence)
        check_promise(p, oracle, sentence)


def test_database_moved_away():
    """mv of the database under a daemon: alarm, put back, lost 0"""
    healed(lambda p: store(p).rename(p.dir / "elsewhere"), "moved, removed or replaced")


def test_database_removed():
    """rm of the database under a daemon: alarm, put back from the open one, lost 0"""
    healed(lambda p: store(p).unlink(), "moved, removed or replaced")


def test_database_and_journal_removed():
    """rm of database and journal under a daemon: alarm, put back, lost 0"""
    def harm(p):
        store(p).unlink()
        sibling(p, "-wal").unlink()
    healed(harm, "moved, removed or replaced", foreign=False)


def test_database_replaced():
    """another database renamed over it: alarm, ours is put back, the other is kept"""
    def harm(p):
        other = sqlite3.connect(p.dir / "other")
        other.execute("CREATE TABLE theirs (x)")
        other.close()
        (p.dir / "other").rename(store(p))
    healed(harm, "moved, removed or replaced")


def test_journal_removed():
    """rm of the -wal under a daemon: alarm, put back, lost 0"""
    healed(lambda p: sibling(p, "-wal").unlink(), "robbed of its journal", foreign=True)


def test_journal_cut():
    """truncate of the -wal under a daemon: what was in it is put back from memory, lost 0"""
    healed(lambda p: os.truncate(sibling(p, "-wal"), 0), "changed in its journal")


def lost(harm):
    """Harm in place: alarm and an end with 1 within 10 s; the files are kept, the next start begins anew and
    says so, and goes on."""
    with reporting() as (p, oracle, d):
        harm(p)
        wait_for(lambda: "was overwritten while it was open" in d.err, "an alarm", 10)
        wait_for(lambda: d.process.poll() is not None, "its end, when the runs under way have ended", 40)
        assert d.process.poll() == 1, d.err
        assert "somebody else wrote into" in d.err, d.err
        assert files(p, ".corrupt.") and not store(p).exists(), files(p, "")
        again = p.daemon()
        before = len(oracle.acked)
        wait_for(lambda: len(oracle.acked) > before, "events after the next start", 60)
        told = wait_for(lambda: troubles(p), "the trouble", 30)
        assert "aside" in told and "selfmon-lua restore" in told, told
        assert again.stop() == 0, again.err
        return p, oracle


def test_database_touched():
    """touch of the database and of its journal: said, and it goes on as if nothing had been"""
    with project() as p, Oracle() as oracle:
        p.script("a.lua", producer(oracle, 2, "@every 1s"))
        d = p.daemon()
        wait_for(lambda: len(oracle.acked) > 1, "events", 30)
        for name in ("selfmon.db", "selfmon.db-wal"):
            os.utime(p.dir / ".selfmon" / name)
        wait_for(lambda: "set its time" in d.err, "a warning", 20)
        began = len(oracle.acked)
        wait_for(lambda: len(oracle.acked) > began + 2, "more events", 30)
        assert d.stop() == 0, d.err
        check_promise(p, oracle, "touched")


def test_database_overwritten():
    """cp over the database under a daemon: it ends, nothing is written into the other one"""
    def harm(p):
        other = sqlite3.connect(p.dir / "other")
        other.execute("CREATE TABLE theirs (x)")
        other.close()
        shutil.copyfile(p.dir / "other", store(p))
    lost(harm)


def test_database_cut():
    """truncate of the database under a daemon: it ends with 1 and an alarm, the files are kept"""
    lost(lambda p: os.truncate(store(p), 512))


def test_second_instance():
    """a second daemon on the same directory ends at once and names the first; also by another path of it"""
    with project() as p:
        first = p.daemon()
        wait_for(lambda: "daemon: pid" in p.run("status").out, "the first", 60)
        (p.dir / "link").symlink_to(store(p).parent)
        second = p.run("run", "inspections/")
        assert second.code == 1 and f"is held by process {first.pid} (run)" in second.err, second
        linked = p.run("run", "--state-dir", "link", "inspections/")
        assert linked.code == 1 and len(linked.err.splitlines()) == 1, linked
        if os.geteuid() == 0:
            other = p.dir / "bound"
            other.mkdir()
            subprocess.run(["mount", "--bind", store(p).parent, other], check=True)
            try:
                bound = p.run("run", "--state-dir", str(other), "inspections/")
            finally:
                subprocess.run(["umount", "-l", other], check=False)
            assert bound.code == 1 and f"is held by process {first.pid} (run)" in bound.err, bound
        assert p.run("status").code == 0 and first.process.poll() is None
        first.kill()
        third = p.daemon()  # what a kill leaves does not hold it
        wait_for(lambda: "daemon: pid" in p.run("status").out, "the third", 60)
        assert third.stop() == 0, third.err


run_all(globals())
