#!/usr/bin/python3
"""Schedules end to end: standstill, restarts and kills, DST, clocks that jump, changed schedules and zone
files. After each the ledger is sound (ledger.py).

The clock of some tests is libfaketime's: the daemon is preloaded with it and reads an offset from a file that
the test rewrites. Its timerfd is faked with it; what it cannot do is tell a timer that the clock was set, so
the daemon's own look at the clock (every 5 s) is what notices here, and the kernel's word is tested by hand.
"""
import contextlib
import datetime
import os
import pathlib
import signal
import subprocess
import time

import ledger
from harness import clean_env, project, run_all, wait_for, workers_of

FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

SCRIPT = '''monitor{{ title = "T", schedule = {schedule}, {more} }}
function run(params)
{body}
end
'''
WAIT = '  require("selfmon.time").sleep({seconds})'


def script(p, name, schedule, more="first_run = false", body=""):
    p.script(name, SCRIPT.format(schedule='"' + schedule + '"', more=more, body=body))


def instant(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def runs_of(p, name="a.run", outcome="ok"):
    return [r for r in p.runs() if r["id"] == name and r["outcome"] == outcome]


def slots_of(p, name="a.run"):
    return [r["slot"] for r in p.runs() if r["id"] == name]


def gaps_of(p, name="a.run"):
    done = p.run("runs", "--gaps", "--json")
    assert done.code == 0, done
    return [g for g in done.json() if g["id"] == name]


def sound(p, due=None, now=None):
    return ledger.check(p.dir / ".selfmon", due, now)


class Clock:
    """The daemon's clock: a file with an offset to the real one."""

    def __init__(self, p, at):
        assert FAKETIME, "libfaketime is missing (package faketime)"
        self.file = p.dir / "offset"
        self.set(at)
        self.env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.file),
                    "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, at):
        """at: RFC 3339, or seconds to move by."""
        if isinstance(at, str):
            self.offset = instant(at) - time.time()
        else:
            self.offset += at
        new = self.file.with_suffix(".new")
        new.write_text(f"{self.offset:+.3f}\n")
        new.rename(self.file)

    def now(self):
        return time.time() + self.offset


@contextlib.contextmanager
def frozen(daemon):
    """The daemon and its workers stand still."""
    pids = [daemon.pid, *workers_of(daemon.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_standing_still_for_twenty_seconds():
    """stopped for 20 s under @every 2s: exactly one catch-up, no slot twice, every slot has one answer"""
    with project() as p:
        script(p, "a.lua", "@every 2s")
        daemon = p.daemon()
        wait_for(lambda: len(runs_of(p)) >= 2, "two runs", 30)
        before = time.time()
        with frozen(daemon):
            time.sleep(20)
        after = time.time()
        wait_for(lambda: len([s for s in slots_of(p) if s > after]) >= 2, "runs after it", 30)
        assert daemon.stop() == 0
        inside = [r for r in runs_of(p) if before + 2 < r["slot"] <= after - 2]
        late = [r for r in runs_of(p) if before < r["slot"] <= after and r["late"]]
        assert len(late) <= 1 and len(inside) <= 1, (late, inside)
        gaps = [g for g in gaps_of(p) if g["outcome"] == "missed"]
        assert len(gaps) == 1 and 8 <= gaps[0]["count"] <= 10 and not gaps[0]["estimated"], gaps
        assert "stood still" in gaps[0]["reason"], gaps
        shown = p.run("runs", "--gaps").out
        assert f"{gaps[0]['count']} slots until " in shown and "missed" in shown, shown
        assert sound(p, ledger.every(2))["a.run"]["missed"] == gaps[0]["count"]
        assert daemon.err.count("were missed") + daemon.out.count("were missed") == 1, daemon.err


def test_killed_at_any_moment():
    """kill -9 again and again, between plan and run and in the middle of runs: the ledger stays sound"""
    with project() as p:
        script(p, "a.lua", "@every 1s", body=WAIT.format(seconds=0.2))
        script(p, "b.lua", "@every 2s", more='first_run = false, missed = "all"')
        script(p, "c.lua", "@every 3s", more='first_run = false, missed = "skip"')
        for n in range(6):
            daemon = p.daemon()
            wait_for(lambda: runs_of(p), "a run", 30)
            time.sleep(0.3 + 0.37 * n)  # any moment will do: it differs each time
            daemon.kill()
        daemon = p.daemon()
        begin = time.time()
        wait_for(lambda: all(any(s > begin + 1 for s in slots_of(p, n)) for n in ("a.run", "b.run", "c.run")),
                 "all of them run again", 40)
        assert daemon.stop() == 0
        got = sound(p, {"a.run": ledger.every(1), "b.run": ledger.every(2), "c.run": ledger.every(3)})
        assert "missed" not in got["b.run"], got


def test_missed_all_runs_each_in_order():
    """missed = "all": each missed slot runs, in order, never beside another"""
    with project() as p:
        script(p, "a.lua", "@every 2s", more='first_run = false, missed = "all"', body=WAIT.format(seconds=0.1))
        daemon = p.daemon()
        wait_for(lambda: runs_of(p), "a run", 30)
        assert daemon.stop() == 0
        down = time.time()
        wait_for(lambda: time.time() > down + 9, "some slots pass", 20)
        daemon = p.daemon()
        up = time.time()
        wait_for(lambda: any(s > up + 2 for s in slots_of(p)), "the present", 40)
        assert daemon.stop() == 0
        rows = runs_of(p)
        caught = [r for r in rows if down < r["slot"] < up - 2]
        assert len(caught) >= 3 and all(r["late"] for r in caught), rows
        assert [r["slot"] for r in rows] == sorted(r["slot"] for r in rows), rows
        for a, b in zip(rows, rows[1:]):
            assert a["finished"] <= b["started"], (a, b)
        got = sound(p, ledger.every(2))["a.run"]
        assert set(got) == {"ok"}, got


def test_a_long_run_skips_its_slots_once():
    """a run past many slots: one row counts them, one line tells of them; overlap = "queue" keeps one"""
    with project() as p:
        script(p, "a.lua", "@every 1s", body=WAIT.format(seconds=5))
        script(p, "q.lua", "@every 1s", more='first_run = false, overlap = "queue"', body=WAIT.format(seconds=2.5))
        daemon = p.daemon()
        wait_for(lambda: len(runs_of(p)) >= 2 and len(runs_of(p, "q.run")) >= 3, "they end", 60)
        assert daemon.stop() == 0
        got = sound(p, ledger.every(1))
        skipped = [g for g in gaps_of(p) if g["outcome"] == "skipped"]
        assert skipped and skipped[0]["count"] >= 3 and "overlap" in skipped[0]["reason"], skipped
        told = daemon.err.count("a.run: its last run has not ended yet")
        assert len(skipped) <= told <= len(skipped) + 1, (told, skipped)
        assert got["q.run"]["skipped"] >= 1 and got["a.run"]["skipped"] > got["q.run"]["skipped"], got
        rows = runs_of(p, "q.run")
        queued = [(a, b) for a, b in zip(rows, rows[1:]) if b["late"]]
        assert queued and all(a["slot"] < b["slot"] and a["finished"] <= b["started"] for a, b in queued), rows
        last = {i["id"]: i["last"]["outcome"] for i in p.run("list", "--json").json()}
        assert last["a.run"] in ("ok", "cancelled"), last


def test_lateness_is_told():
    """runs --json: seconds from the due instant until a worker had the run"""
    with project() as p:
        script(p, "a.lua", "* * * * * *")
        daemon = p.daemon()
        wait_for(lambda: len(runs_of(p)) >= 3, "three runs", 30)
        assert daemon.stop() == 0
        rows = runs_of(p)
        assert all(isinstance(r["lateness"], float) and 0 <= r["lateness"] < 20 for r in rows), rows
        assert all(r["late"] or r["lateness"] <= 1 for r in rows), rows
        p.once()
        assert [r["lateness"] for r in p.runs() if r["trigger"] == "once"] == [None]


def test_a_changed_schedule_leaves_nothing_to_miss():
    """schedule changed or script removed, here and while the daemon is down: no false `missed` later"""
    with project() as p:
        clock = Clock(p, "2027-03-01T11:59:30Z")
        script(p, "a.lua", "30 12 * * *")
        script(p, "gone.lua", "31 12 * * *")
        script(p, "b.lua", "32 12 * * *")
        script(p, "tick.lua", "0 12 * * *")
        daemon = p.daemon(env=clock.env)
        daemon.wait_line("loaded 4")
        script(p, "b.lua", "0 20 * * *")  # here
        daemon.wait_line("reloaded")
        wait_for(lambda: runs_of(p, "tick.run"), "time passes", 60)
        assert daemon.stop() == 0
        script(p, "a.lua", "0 18 * * *")  # while it is down
        (p.dir / "inspections/gone.lua").unlink()
        clock.set("2027-03-01T12:40:00Z")
        daemon = p.daemon(env=clock.env)
        daemon.wait_line("loaded 3")
        assert daemon.stop() == 0
        script(p, "a.lua", "30 12 * * *")
        script(p, "b.lua", "32 12 * * *")
        script(p, "gone.lua", "31 12 * * *")
        clock.set("2027-03-02T09:00:00Z")
        daemon = p.daemon(env=clock.env)
        daemon.wait_line("loaded 4")
        assert daemon.stop() == 0
        assert not gaps_of(p) and not gaps_of(p, "b.run") and not gaps_of(p, "gone.run"), p.run("runs", "--gaps")
        assert not runs_of(p) and not runs_of(p, "gone.run"), p.runs()
        sound(p, now=clock.now() - 60)


def test_days_of_the_clock_change():
    """DST in Berlin: a time that does not exist runs once after the gap, one that comes twice runs once"""
    with project() as p:
        clock = Clock(p, "2027-03-28T00:59:52Z")  # 01:59:52 in Berlin, then 03:00
        zone = 'first_run = false, timezone = "Europe/Berlin"'
        script(p, "fixed.lua", "30 2 * * *", more=zone)
        script(p, "half.lua", "30 * * * *", more=zone)
        script(p, "three.lua", "0 3 * * *", more=zone)
        daemon = p.daemon(env=clock.env)
        daemon.wait_line("loaded 3")
        wait_for(lambda: slots_of(p, "fixed.run") and slots_of(p, "three.run"), "the gap", 60)
        clock.set("2027-03-28T01:29:50Z")
        wait_for(lambda: slots_of(p, "half.run"), "the interval job", 60)
        assert daemon.stop() == 0
        assert slots_of(p, "fixed.run") == [instant("2027-03-28T01:00:00Z")], p.runs()
        assert slots_of(p, "three.run") == [instant("2027-03-28T01:00:00Z")], p.runs()
        assert slots_of(p, "half.run") == [instant("2027-03-28T01:30:00Z")], p.runs()
        sound(p, now=clock.now() - 60)
    with project() as p:
        clock = Clock(p, "2027-10-31T00:29:52Z")  # 02:30 comes at 00:30 and at 01:30
        script(p, "fixed.lua", "30 2 * * *", more=zone)
        script(p, "half.lua", "30 * * * *", more=zone)
        daemon = p.daemon(env=clock.env)
        wait_for(lambda: slots_of(p, "fixed.run") and slots_of(p, "half.run"), "the first pass", 60)
        clock.set("2027-10-31T01:29:50Z")
        wait_for(lambda: len(slots_of(p, "half.run")) == 2, "the second pass", 60)
        assert daemon.stop() == 0
        both = [instant("2027-10-31T00:30:00Z"), instant("2027-10-31T01:30:00Z")]
        assert slots_of(p, "half.run") == both, p.runs()
        assert slots_of(p, "fixed.run") == both[:1], p.runs()
        sound(p, now=clock.now() - 60)


def test_clock_forward_and_back():
    """the clock goes a day ahead and back: one catch-up, nothing twice, and what was not run runs at its time"""
    with project() as p:
        clock = Clock(p, "2027-03-01T11:59:50Z")
        script(p, "a.lua", "* * * * *")
        daemon = p.daemon(env=clock.env)
        wait_for(lambda: len(slots_of(p)) == 1, "the first slot", 60)
        clock.set(86400)
        wait_for(lambda: len(slots_of(p)) == 2, "a catch-up", 60)
        clock.set(-86400)
        count = len(slots_of(p))
        begin = clock.now()
        wait_for(lambda: len([s for s in slots_of(p) if begin < s < begin + 600]) >= 1, "the next minute", 150)
        assert daemon.stop() == 0
        slots = slots_of(p)
        assert len(set(slots)) == len(slots) >= count + 1, slots
        assert slots[0] == instant("2027-03-01T12:00:00Z"), slots
        ahead = [s for s in slots if s > begin + 3600]
        assert 1 <= len(ahead) <= 2, slots
        print(f"# {len(slots)} slots, none twice, {len(ahead)} of the day ahead")
        log = daemon.err
        assert "was set by +86400 s" in log and "was set by -86400 s" in log and "went back" in log, log
        sound(p, now=clock.now() - 60)


def test_clock_before_its_time():
    """a clock of 1971: nothing starts and it is said once; set right, schedules begin"""
    with project() as p:
        clock = Clock(p, "1971-01-01T00:00:00Z")
        script(p, "a.lua", "* * * * * *", more="first_run = true")
        daemon = p.daemon(env=clock.env)
        wait_for(lambda: "clock is wrong" in daemon.err, "it says so", 30)
        start = clock.now()
        wait_for(lambda: clock.now() > start + 6, "some seconds pass", 20)
        assert not p.runs() and daemon.err.count("clock is wrong") == 1, daemon.err
        clock.set("2027-03-01T12:00:00Z")
        wait_for(lambda: len(runs_of(p)) >= 3, "schedules begin", 60)
        assert daemon.stop() == 0
        assert "schedules begin" in daemon.err, daemon.err
        assert [r["trigger"] for r in p.runs()][:1] == ["first"], p.runs()
        assert all(s is None or s > instant("2027-01-01T00:00:00Z") for s in slots_of(p)), p.runs()
        sound(p, ledger.every(1), now=clock.now() - 60)


def zone_file(directory, rule):
    """Compiles a zone Test/Here with this offset over the one that is there, as a package update does."""
    source = directory / "here.zic"
    source.write_text(f"Zone Test/Here {rule} - XXX\n")
    new = directory / "new"
    subprocess.run(["/usr/sbin/zic", "-d", str(new), str(source)], check=True, timeout=60)
    (directory / "zones/Test").mkdir(parents=True, exist_ok=True)
    os.rename(new / "Test/Here", directory / "zones/Test/Here")


def test_zone_files_that_change():
    """an update of tzdata while it runs: next slots are computed again; a file that goes leaves the old rules"""
    with project() as p:
        zone_file(p.dir, "1")
        clock = Clock(p, "2027-03-01T12:00:00Z")
        zones = str(p.dir / "zones")
        script(p, "a.lua", "0 20 * * *", more='first_run = false, timezone = "Test/Here"')
        daemon = p.daemon(env={**clock.env, "TZDIR": zones})
        daemon.wait_line("loaded 1", seconds=30)

        def next_is(text):
            listed = {i["id"]: i["next"] for i in p.run("status", "--json", env={"TZDIR": zones})
                      .json()["inspections"]}
            return listed.get("a.run") == text
        wait_for(lambda: next_is("2027-03-01T19:00:00Z"), "the old rules", 30)
        zone_file(p.dir, "3")
        wait_for(lambda: next_is("2027-03-01T17:00:00Z"), "the new rules", 90)
        assert "zones/Test/Here changed" in daemon.err, daemon.err
        (p.dir / "zones/Test/Here").unlink()
        wait_for(lambda: "is gone; its old rules stay" in daemon.err, "it says so", 90)
        assert next_is("2027-03-01T17:00:00Z"), daemon.err
        (p.dir / "zones/Test/Here").write_text("no zone")
        wait_for(lambda: "is no zone file any more; its old rules stay" in daemon.err, "it says so", 90)
        zone_file(p.dir, "-2")
        wait_for(lambda: next_is("2027-03-01T22:00:00Z"), "new rules again", 90)
        assert daemon.err.count("zones/Test/Here changed") == 2, daemon.err
        assert daemon.stop() == 0
        sound(p, now=clock.now() - 60)


def test_the_configuration_overrides():
    """schedules and instances of the configuration go before the script's"""
    with project() as p:
        script(p, "a.lua", "0 1 * * *")
        script(p, "b.lua", "0 2 * * *")
        script(p, "c.lua", "0 3 * * *")
        p.write("selfmon.conf.lua", '''return {
  schedule = { ["a.run"] = "0 5 * * *" },
  instances = { ["b.run"] = { shop = { schedule = { "0 6 * * *", "30 6 * * *" } }, plain = { params = {} } } },
  timezone = "Asia/Shanghai",
}''')
        done = p.run("list", "--json")
        assert done.code == 0, done
        listed = {i["id"]: i for i in done.json()}
        want = {"a.run": ["0 5 * * *"], "b.run": ["0 2 * * *"], "b.run@shop": ["0 6 * * *", "30 6 * * *"],
                "b.run@plain": ["0 2 * * *"], "c.run": ["0 3 * * *"]}
        assert {k: v["schedule"] for k, v in listed.items()} == want, listed
        assert all(i["timezone"] == "Asia/Shanghai" for i in listed.values()), listed
        done = p.run("next", "b.run@shop", "-n", "3", "--from", "2026-05-01T00:00:00Z", "--json")
        assert done.json() == ["2026-05-01T22:00:00Z", "2026-05-01T22:30:00Z", "2026-05-02T22:00:00Z"], done


def test_spread_is_stable():
    """@every, H and macros start after a stable delay of their own; literal minutes start on the minute"""
    with project() as p:
        for n in range(6):
            script(p, f"e{n}.lua", "@every 10s")
        script(p, "plain.lua", "*/10 * * * * *")
        daemon = p.daemon()
        names = [f"e{n}.run" for n in range(6)] + ["plain.run"]
        wait_for(lambda: all(len(runs_of(p, n)) >= 2 for n in names), "two runs of each", 90)
        assert daemon.stop() == 0
        delays = {}
        for name in names:
            rows = runs_of(p, name)[-2:]
            assert all(r["slot"] % 10 == 0 for r in rows), rows
            begun = [datetime.datetime.fromisoformat(r["started"].replace("Z", "+00:00")).timestamp() - r["slot"]
                     - r["lateness"] for r in rows]
            assert abs(begun[0] - begun[1]) < 2, (name, begun)
            delays[name] = begun[0]
        assert -0.5 < delays.pop("plain.run") < 2, delays
        assert len({round(d) for d in delays.values()}) >= 3, delays
        sound(p, ledger.every(10))


if __name__ == "__main__":
    run_all(globals())
