"""Rows of the fault matrix: the database between two programs, two faults and a million events."""
import os
import pathlib
import re
import shutil
import sqlite3
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from faults import Oracle, inject, integrity, producer, rows  # noqa: E402
from harness import ROOT, project, run_all, simple, wait_for  # noqa: E402
from remote import shop  # noqa: E402

SQL = ROOT / "src" / "store" / "sql"
MILLION = int(os.environ.get("SELFMON_TEST_QUEUE", 1000000 if os.environ.get("SELFMON_TEST_LONG") else 200000))


def first_schema(path, events):
    """A database as the first version left it: its schema, and events of which every second one waits."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript((SQL / "001_init.sql").read_text())
    db.execute("PRAGMA user_version = 1")
    now = time.time_ns()
    for n in range(events):
        db.execute("INSERT INTO events VALUES (?,?,?,?,?,1,?,'default','local',?,'Old','warning',?,?,?,'m')",
                   (n + 1, f"event-{n:032x}", "old.run", now + n, f"run-{n}", "k" * 32, "rul_1", f"old {n}", f"n:{n}",
                    f'{{"n":"{n}"}}'))
        if n % 2:
            db.execute("INSERT INTO outbox (seq, account, id, dim, state, head, bytes) VALUES (?,'default','old.run',?,"
                       "'pending',1,100)", (n + 1, n))
        else:
            db.execute("INSERT INTO attempts VALUES (?,1,?,'delivered',NULL)", (n + 1, now))
    db.commit()
    db.close()
    for file in path.parent.iterdir():
        file.chmod(0o600)


def test_upgrade_killed_at_each_write():
    """kill -9 at every write of the upgrade from the first schema: an old or the new one, then all of it, rows equal"""
    newest = max(int(p.name[:3]) for p in SQL.glob("*.sql"))
    steps = {0, *(int(p.name[:3]) for p in SQL.glob("*.sql"))}
    every = int(os.environ.get("SELFMON_FAULT_EVERY", 10))
    with project() as p:
        p.script("a.lua", simple())
        template = p.dir / "template"
        template.mkdir(mode=0o700)
        first_schema(template / "selfmon.db", 20)
        seen, kills, n = set(), 0, 1
        while True:
            state = p.dir / "state"
            shutil.copytree(template, state)
            code, out = inject(p, [f"pwrite64:signal=KILL:when={n}"], ["run", "--once", "inspections/"], state=state, timeout=60)
            integrity(state)
            [(version,)] = rows(state, "PRAGMA user_version")
            assert version in steps, (n, version)
            seen.add(version)
            done = p.run("run", "--once", "--state-dir", str(state), "inspections/")
            assert done.code == 0, (n, done)
            integrity(state)
            assert rows(state, "PRAGMA user_version") == [(newest,)]
            there = rows(state, "SELECT event_id, title FROM events WHERE id = 'old.run' ORDER BY seq")
            assert there == [(f"event-{i:032x}", f"old {i}") for i in range(20)], (n, there)
            assert {e["delivery"] for e in p.run("events", "--json", "--state-dir", str(state)).json()} == {"delivered"}, n
            assert not list(state.glob("*.corrupt.*")), n
            shutil.rmtree(state)
            if code >= 0:
                break
            kills += 1
            n += 1 if version < newest and every == 1 else 3 if version < newest else 8 * every
        assert 1 in seen and newest in seen and kills >= 10, (seen, kills)
        print(f"# {kills} kills from schema 1 to {newest}; seen in between: {sorted(seen)}; 20 rows equal, 10 that waited delivered")


def test_corrupt_and_killed():
    """a corrupt database, and kill -9 while it is set aside: nothing is overwritten, it is said, a fresh event flows"""
    kills, left = 0, 0
    for call, points in (("rename,renameat,renameat2,link,linkat,unlink", range(1, 8)), ("pwrite64", (1, 2, 5, 20)),
                         ("fdatasync,fsync", (1, 2, 3))):
        for n in points:
            with shop() as (p, platform), Oracle() as oracle:
                state = p.dir / ".selfmon"
                p.script("a.lua", producer(oracle, 5, size=3000))
                platform.misbehave("/v1/write/", times=None, status=500)
                p.once("--drain", "1")
                assert len(oracle.acked) == 5
                with open(state / "selfmon.db", "r+b") as f:
                    f.write(os.urandom(100))
                platform.behave()
                code, out = inject(p, [f"{call}:signal=KILL:when={n}"], ["run", "--once", "inspections/"], timeout=60)
                kills += code < 0
                fresh, arrived = len(oracle.acked), len(platform.events)
                done = p.once()
                assert done.code == 0, (call, n, done)
                assert len(oracle.acked) == fresh + 5 and len(platform.events) >= arrived + 5, (call, n)
                asides = list(state.glob("selfmon.db.corrupt.*"))
                assert len([a for a in asides if not a.name.endswith(("-wal", ".why"))]) == 1, (call, n, asides)
                kept = b"".join(f.read_bytes() for f in state.iterdir() if f.is_file())
                lost = [i for i in oracle.acked.values() if i.encode() not in kept]
                assert not lost, (call, n, "gone from every file", lost)
                told = p.run("status").out  # where the kill came before the sentence, this still says it
                assert re.search("moved aside|lies aside", out + done.err + told), (call, n, out, done, told)
                left += len(asides)
    assert kills >= 6, kills
    print(f"# {kills} kills while a corrupt database is set aside: one copy aside each time, no event gone from the files, "
          "the next start works")


def test_a_million_waiting():
    """a queue of a million events (200,000 unless long): starts, with bounded memory, oldest first, fair"""
    with shop() as (p, platform):
        p.account("", "report_failures = false")
        for name in "abcd":
            p.script(f"{name}.lua", simple('  EventReporter():report{ title = "first", status = "warning", message = "m", '
                                           'dimension_tags = { n = "0" } }', schedule="0 0 1 1 *"))
        assert p.once().code == 0
        state = p.dir / ".selfmon"
        db = sqlite3.connect(state / "selfmon.db")
        columns = [c for _, c, *_ in db.execute("PRAGMA table_info(events)")]
        models = db.execute("SELECT * FROM events ORDER BY seq").fetchall()
        base = max(m[0] for m in models)
        # 97 of 100 are of one inspection: fairness is that the others do not wait for it.
        of = [models[0]] * 97 + models[1:]
        new = time.time_ns()

        def events():
            for n in range(MILLION):
                model = dict(zip(columns, of[n % 100]))
                model |= {"seq": base + 1 + n, "event_id": f"event-{n:032x}", "at_ns": new + n, "title": f"w{n}",
                          "dimension": f'{{"n":"{n}"}}', "dimension_tags": f'{{"n":"{n}"}}'}
                yield tuple(model[c] for c in columns)
        db.executemany(f"INSERT INTO events VALUES ({','.join('?' * len(columns))})", events())
        db.executemany("INSERT INTO outbox (seq, account, id, dim, state, head, bytes) VALUES (?,?,?,?,'pending',1,300)",
                       ((base + 1 + n, of[n % 100][columns.index("account")], of[n % 100][columns.index("id")], n + 10**12)
                        for n in range(MILLION)))
        db.commit()
        db.close()
        platform.forget()
        began = time.monotonic()
        d = p.daemon()
        d.wait_line("loaded", seconds=120)
        start = time.monotonic() - began
        try:
            wait_for(lambda: len(platform.events) >= 2000, "the first 2,000 of it", 120)
        except AssertionError as error:
            raise AssertionError(f"{error}: {len(platform.events)} arrived, loaded after {start:.1f} s\n{d.out[-900:]}{d.err[-900:]}"
                                 f"{platform.errors[:2]}{[(c.path, c.status, c.points) for c in platform.calls[-5:]]}")
        first = time.monotonic() - began
        status = pathlib.Path(f"/proc/{d.pid}/status").read_text()
        rss = int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) // 1024
        seen = [int(e.title[1:]) for e in platform.events[:2000]]
        for rest in range(4):  # of each inspection the oldest first
            own = [n for n in seen if (n % 100 if n % 100 > 96 else 96) == 96 + rest]
            assert own == sorted(own), own[:20]
        others = len([n for n in seen if n % 100 > 96])
        assert others > 200, f"{others} of the first 2,000 are of the other inspections"
        assert rss < 500, rss
        assert start < 50, start  # 5 s are the aim; the machine may be busy
        assert d.stop(seconds=60) == 0, d.err
        assert not platform.duplicates()
        print(f"# {MILLION:,} waiting: schedules loaded after {start:.1f} s, 2,000 delivered after {first:.1f} s, "
              f"{others} of these of the three small inspections, at most {rss} MiB")


if __name__ == "__main__":
    run_all(globals())
