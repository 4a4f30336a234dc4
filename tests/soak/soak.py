"""Soak: a daemon under everything at once, for as long as asked.

usage: tests/soak/soak.py [--minutes 60] [--inspections 2000] [--keep]

Inspections on `@every`, 1 % of them hostile (with `timeout = 2`), 4 % failing; a script saved anew each
second, a worker killed every ten. At the end: each slot has one outcome, no well-behaved slot began later
than 1 s, memory, descriptors and threads of the daemon are as flat as at the start, no zombie is left.
Speaks TAP and prints its figures as comments. SELFMON_LUA names the program."""
import argparse
import os
import pathlib
import random
import signal
import sqlite3
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import ledger  # noqa: E402
from harness import project, wait_for, workers_of  # noqa: E402

HOSTILE = pathlib.Path(__file__).resolve().parent.parent / "data" / "hostile"
# One of each kind: pure loops, C loops, memory, crashes, floods.
BODIES = ["c01_while_true", "c05_pcall_swallow", "d04_pattern_exponential", "e01_rep_bomb", "f05_close_chain",
          "d14_weak_metatable", "c06_xpcall_handler", "c11_coroutine_tree"]
PERIOD = 10  # seconds of the good and the failing ones
FIRST_EVENT_EVERY = 20  # of the good ones, one in so many reports

GOOD = '''monitor{{ title = "Good {n}", schedule = "@every {period}s", timeout = 8 }}
-- version {version}
function run(params, ctx)
  local total = 0
  for i = 1, 2000 do total = total + i % 7 end
  {tail}
end
'''
FAILING = '''monitor{{ title = "Failing {n}", schedule = "@every {period}s", timeout = 8 }}
function run(params, ctx)
  local missing
  return missing.field
end
'''
BAD = '''monitor{{ title = "Hostile {n}", schedule = "@every 15s", timeout = 2 }}
function run(params, ctx)
  local http, sleep, log = require "selfmon.http", require "selfmon.time".sleep, require "selfmon.log"
  local report = function(e) return EventReporter():report(e) end
{body}
end
'''


def good_text(n, version):
    tail = ""
    if n % FIRST_EVENT_EVERY == 0:
        tail = ('EventReporter():report{ title = "Seen", message = "text", status = "info", '
                f'dimension_tags = {{ n = "{n}" }} }}')
    return GOOD.format(n=n, period=PERIOD, version=version, tail=tail)


def bodies():
    have = {path.stem: path.read_text() for path in HOSTILE.glob("*.lua")}
    named = [have[name] for name in BODIES if name in have]
    assert len(named) >= 5, f"the corpus lacks {set(BODIES) - set(have)}"
    return named


def write_scripts(p, count):
    hostile, failing = max(1, count // 100), max(1, count // 25)
    texts = bodies()
    for n in range(hostile):
        p.script(f"hostile/h{n}.lua", BAD.format(n=n, body=texts[n % len(texts)]))
    for n in range(failing):
        p.script(f"failing/f{n}.lua", FAILING.format(n=n, period=PERIOD))
    good = count - hostile - failing
    for n in range(good):
        p.script(f"good/g{n}.lua", good_text(n, 0))
    return good


def status_of(pid):
    """Resident KiB, descriptors, threads of a process; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return {"rss": int(fields["VmRSS"].split()[0]), "threads": int(fields["Threads"]),
                "fds": len(os.listdir(f"/proc/{pid}/fd"))}
    except (OSError, KeyError):
        return None


def zombies_of(pid):
    found = 0
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            rest = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if int(rest[1]) == pid and rest[0] == "Z":
            found += 1
    return found


def torment(p, daemon, good, seconds):
    """Saves and kills for so long; returns samples of the daemon and what was done."""
    rng, samples, done = random.Random(4), [], {"saves": 0, "kills": 0}
    began = time.monotonic()
    next_save = next_sample = began
    next_kill = began + 10
    while (now := time.monotonic()) < began + seconds:
        assert daemon.process.poll() is None, f"the daemon ended:\n{daemon.err[-2000:]}"
        if now >= next_save:
            done["saves"] += 1
            n = rng.randrange(good)
            p.script(f"good/g{n}.lua", good_text(n, done["saves"]))
            next_save += 1
        if now >= next_kill:
            workers = workers_of(daemon.pid)
            if workers:
                try:
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    done["kills"] += 1
                except ProcessLookupError:
                    pass
            next_kill += 10
        if now >= next_sample:
            sample = status_of(daemon.pid)
            if sample:
                samples.append(sample)
            next_sample += 2
        time.sleep(max(0, min(next_save, next_kill, next_sample) - time.monotonic()))
    return samples, done


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


class Tap:
    n = bad = 0

    def check(self, good, title, why=""):
        self.n += 1
        self.bad += not good
        print(f"{'ok' if good else 'not ok'} {self.n} - {title}", flush=True)
        if not good:
            print(f"# {why}", flush=True)


def grown(tap, samples, key, slack, title):
    """Compares the second quarter with the last one: the first is warming up."""
    quarter = max(1, len(samples) // 4)
    then = median([s[key] for s in samples[quarter:2 * quarter]])
    now = median([s[key] for s in samples[-quarter:]])
    print(f"# {key}: {then} -> {now}")
    tap.check(now <= then + slack(then), title, f"{key} grew from {then} to {now}")


def late_runs(db):
    rows = db.execute("SELECT id, slot, lateness FROM runs WHERE attempt = 1 AND trigger = 'schedule' AND "
                      "id LIKE 'good/%' AND lateness IS NOT NULL ORDER BY lateness").fetchall()
    return rows


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("--minutes", type=float, default=60)
    ask.add_argument("--inspections", type=int, default=2000)
    given = ask.parse_args()
    tap = Tap()
    with project() as p:
        good = write_scripts(p, given.inspections)
        p.write("selfmon.conf.lua", 'return { retention = { runs = "2d", events = "2d" } }\n')
        daemon = p.daemon()
        wait_for(lambda: f"loaded {given.inspections}" in daemon.err + daemon.out, "all loaded", 120)
        # The first runs of all of them at once are no slots; the measure begins when they are over.
        wait_for(lambda: sum("first" not in line for line in daemon.out.splitlines()) > given.inspections,
                 "the first runs", 180)
        samples, done = torment(p, daemon, good, given.minutes * 60)
        zombies = zombies_of(daemon.pid)
        due = {f"good/g{n}.run": ledger.every(PERIOD) for n in range(good)}
        code = daemon.stop(seconds=60)
        db = sqlite3.connect(f"file:{p.dir}/.selfmon/selfmon.db?mode=ro", uri=True)
        rows = late_runs(db)
        runs = db.execute("SELECT outcome, count(*) FROM runs GROUP BY outcome").fetchall()
        pending = db.execute("SELECT count(*) FROM outbox").fetchone()[0]
        print(f"# {done['saves']} saves, {done['kills']} workers killed; runs: {dict(runs)}")
        tap.check(code == 0, "the daemon ends in good order", f"exit {code}\n{daemon.err[-1000:]}")
        tap.check(done["kills"] > 0 and done["saves"] > 0, "scripts were saved and workers killed")
        try:
            figures = ledger.check(p.dir / ".selfmon", due=due)
            tap.check(True, "every slot has one outcome")
            total = {}
            for counts in figures.values():
                for outcome, n in counts.items():
                    total[outcome] = total.get(outcome, 0) + n
            print(f"# slots: {total}")
        except AssertionError as error:
            tap.check(False, "every slot has one outcome", error)
        worst = rows[-1] if rows else None
        p99 = rows[len(rows) * 99 // 100][2] if rows else None
        print(f"# {len(rows)} runs of good ones: lateness p99 {p99}, worst {worst}")
        tap.check(bool(rows) and worst[2] <= 1.0, "no well-behaved slot began later than 1 s",
                  f"{sum(r[2] > 1 for r in rows)} of {len(rows)}, the worst: {rows[-3:]}")
        # The store's page cache fills up to 16 MiB (src/store/db.c), which takes longer than the warming up.
        grown(tap, samples, "rss", lambda then: (16 << 10) + then // 20, "memory is flat")
        grown(tap, samples, "fds", lambda then: 16, "descriptors are flat")
        grown(tap, samples, "threads", lambda then: 4, "threads are flat")
        tap.check(zombies == 0, "no zombie", f"{zombies} zombies")
        tap.check(pending == 0, "every event was delivered", f"{pending} in the outbox")
    print(f"1..{tap.n}")
    return 1 if tap.bad else 0


if __name__ == "__main__":
    sys.exit(main())
