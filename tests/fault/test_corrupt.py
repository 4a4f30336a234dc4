"""A corrupt database at a start: set aside together with its journal, said loudly, and what can be read of it
is recovered by `restore`, once, in order."""
import os
import random
import shutil
import sqlite3

import faults  # noqa: F401  (finds the harness)
from harness import project, report, run_all, simple

PAGE = 4096
EVENTS = 400


def state(p):
    return p.dir / ".selfmon"


def names(p, part):
    return sorted(f.name for f in state(p).iterdir() if part in f.name)


def fill(p):
    """A store with EVENTS delivered events, the last 50 of which are made to wait again."""
    p.script("a.lua", simple(f"""  for i = 1, {EVENTS} do
    EventReporter():report{{ title = "old" .. i, message = ("m"):rep(1500), status = "warning",
      dimension_tags = {{ n = tostring(i % 5) }} }}
  end"""))
    done = p.once()
    assert done.code == 0, done
    db = sqlite3.connect(state(p) / "selfmon.db")
    marks = db.execute("SELECT seq, account, id FROM events ORDER BY seq DESC LIMIT 50").fetchall()
    for n, (seq, account, function) in enumerate(reversed(marks)):
        db.execute("INSERT INTO outbox (seq, account, id, dim, state, head, bytes) VALUES (?,?,?,1,?,?,100)",
                   (seq, account, function, "inflight" if n < 10 else "pending", n == 0))
        db.execute("DELETE FROM attempts WHERE seq = ?", (seq,))
        db.execute("DELETE FROM local_events WHERE event_id = (SELECT event_id FROM events WHERE seq = ?)", (seq,))
    db.commit()
    db.close()


def database(p):
    return state(p) / "selfmon.db"


def overwrite(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def noise(n):
    return random.Random(1).randbytes(n)


def root(p, table):
    db = sqlite3.connect(database(p))
    [page] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    db.close()
    return page


def set_aside(p, what):
    """The next start with a new event; the corrupt file it leaves."""
    p.script("a.lua", simple(report(title="new", tags='{ n = "1" }')))
    done = p.once()
    assert done.code == 0, (what, done)
    assert "was moved aside as" in done.err, (what, done)
    [aside] = [n for n in names(p, ".corrupt.") if not n.endswith("-wal")]
    told = p.run("status", "--json").json()["trouble"]
    assert any("lies aside" in t and "selfmon-lua restore" in t for t in told), (what, told)
    assert "lies aside" in p.run("doctor").out, what
    return aside


def recover(p, what, least, waiting=None):
    """Restores the corrupt file; everything that waited in it is delivered, once and before what is newer."""
    aside = set_aside(p, what)
    done = p.run("restore", "--json", str(state(p) / aside))
    assert done.code == 0, (what, done)
    is_ = done.json()
    assert is_["recovered"] >= least, (what, is_)
    if waiting is not None:
        assert is_["waiting"] == waiting, (what, is_)
    assert not p.run("status", "--json").json()["trouble"], what
    assert p.once().code == 0
    events = p.events("-n", "100000")
    assert len({e["event_id"] for e in events}) == len(events) == is_["recovered"] + 2, (what, len(events), is_)
    late = [e["title"] for e in events if e["delivery"] != "delivered"]
    assert not late, (what, late)
    again = p.run("restore", "--json", is_["kept"])
    assert again.code == 0 and again.json()["recovered"] == 0 and again.json()["waiting"] == 0, (what, again)
    assert len(p.events("-n", "100000")) == len(events), what
    db = sqlite3.connect(database(p))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    order = [t for (t,) in db.execute("SELECT title FROM events ORDER BY seq")]
    db.close()
    old = [int(t[3:]) for t in order if t.startswith("old")]
    assert order[-2:] == ["new", "new"] and old == sorted(old), (what, order[-5:])
    return is_


def broken(harm, what, least, waiting=None):
    with project() as p:
        fill(p)
        harm(p)
        return recover(p, what, least, waiting)


def test_header_lost():
    """the first page overwritten: all events and what waits are recovered"""
    is_ = broken(lambda p: overwrite(database(p), 0, noise(PAGE)), "header", EVENTS, 50)
    assert is_["rebuilt"] is True, is_


def test_schema_lost():
    """the first bytes zeroed, as by a torn write: all events are recovered"""
    broken(lambda p: overwrite(database(p), 0, bytes(512)), "half page", EVENTS, 50)


def test_pages_of_events_lost():
    """noise over some pages of events: the others are recovered"""
    def harm(p):
        size = os.path.getsize(database(p)) // PAGE
        for page in range(size // 2, size // 2 + 20):
            overwrite(database(p), page * PAGE, noise(PAGE))
    is_ = broken(harm, "pages", EVENTS // 2)
    assert is_["gaps"] > 0, is_


def test_outbox_lost():
    """the outbox overwritten: what nothing says was delivered waits again, under its id"""
    broken(lambda p: overwrite(database(p), (root(p, "outbox") - 1) * PAGE, noise(PAGE)), "outbox", EVENTS, 50)


def test_cut_off():
    """a database cut in half: the part that is there is recovered"""
    broken(lambda p: os.truncate(database(p), os.path.getsize(database(p)) // 2), "cut", 20)


def test_journal_zeroed():
    """a -wal full of zeros is no journal: the database is opened as it was without it"""
    with project() as p:
        fill(p)
        (state(p) / "selfmon.db-wal").write_bytes(bytes(100000))
        assert p.once().code == 0
        assert len(p.events("-n", "100000")) == 2 * EVENTS
        assert not names(p, ".corrupt.")


def test_journal_of_a_corrupt_database():
    """the journal goes aside with its database, and its whole transactions are recovered"""
    with project() as p:
        fill(p)
        keep = p.dir / "keep"
        db = sqlite3.connect(database(p), isolation_level=None)
        db.execute("UPDATE events SET title = 'from the journal' WHERE seq = 7")
        shutil.copytree(state(p), keep)
        db.close()
        shutil.rmtree(state(p))
        keep.rename(state(p))
        (state(p) / "selfmon.db-shm").unlink()
        assert os.path.getsize(state(p) / "selfmon.db-wal") > 0
        overwrite(database(p), 0, noise(PAGE))
        page_one = database(p).read_bytes()[:PAGE]
        aside = set_aside(p, "journal")
        assert names(p, ".corrupt.")[-1].endswith("-wal"), names(p, "")
        assert (state(p) / aside).read_bytes()[:PAGE] == page_one
        done = p.run("restore", str(state(p) / aside))
        assert done.code == 0 and f"{EVENTS} events recovered, of them 50 wait" in done.out, done
        assert any(e["title"] == "from the journal" for e in p.events("-n", "100000"))
        assert not names(p, ".corrupt.") and len(names(p, ".recovered.")) == 2, names(p, "")


def test_nothing_to_read():
    """a file of noise is set aside, and restore says that nothing can be read of it"""
    with project() as p:
        fill(p)
        database(p).write_bytes(noise(50 * PAGE))
        aside = set_aside(p, "noise")
        before = p.events()
        done = p.run("restore", str(state(p) / aside))
        assert "0 events recovered" in done.out or (done.code == 1 and "can be read" in done.err), done
        assert p.events() == before and not names(p, "salvage")


def test_only_with_the_daemon_stopped():
    """restore of a corrupt file under a daemon is refused"""
    with project() as p:
        fill(p)
        overwrite(database(p), 0, noise(PAGE))
        aside = set_aside(p, "held")
        d = p.daemon()
        d.wait_line("a.run")
        done = p.run("restore", str(state(p) / aside))
        assert done.code == 1 and f"is held by process {d.pid}" in done.err, done
        assert names(p, ".corrupt.") == [aside]


run_all(globals())
