"""kill -9 of the daemon at random, under load, while the platform answers 500, 429, 401, garbage, half bodies,
hangs and resets: what was acknowledged arrives, once by id, unchanged, in order per dimension.

20 kills, or SELFMON_TEST_KILLS; SELFMON_TEST_LONG=1 means 200. The seed is printed and may be given as
SELFMON_FAULT_SEED."""
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from faults import Oracle, integrity, producer, rows  # noqa: E402
from harness import run_all, wait_for, workers_of  # noqa: E402
from remote import HTML, shop  # noqa: E402

SEED = int(os.environ.get("SELFMON_FAULT_SEED", time.time_ns() % 10**9))
KILLS = int(os.environ.get("SELFMON_TEST_KILLS", 200 if os.environ.get("SELFMON_TEST_LONG") else 20))
WRITE = "/v1/write/keyevent"
WOES = [
    dict(status=500, body="oops"),
    dict(status=503, headers={"Retry-After": "1"}),
    dict(status=429, headers={"Retry-After": "1"}),
    dict(status=401, body='{"error_code":"ak"}'),
    dict(status=200, headers={"Content-Type": "text/html"}, body=HTML.decode()),  # a page instead of an answer
    dict(status=200, body="{", cut=True, after=True),  # carried out, half an answer
    dict(status=200, body="{", cut=True),
    dict(reset=True, after=True),  # carried out, then the connection is reset
    dict(reset=True),
    dict(status=200, body="{}", delay=3, after=True),  # carried out, answered late
    dict(status=502, body="<html>bad gateway</html>"),
]


class Weather(threading.Thread):
    """Changes how the platform behaves a few times a second, until stopped."""

    def __init__(self, platform, chance):
        super().__init__(daemon=True)
        self.platform, self.chance, self.over, self.seen = platform, chance, threading.Event(), 0

    def run(self):
        while not self.over.is_set():
            self.platform.behave()
            if self.chance.random() < 0.75:
                woe = self.chance.choice(WOES)
                self.platform.misbehave(WRITE, times=None, **woe)
                self.seen += 1
            self.over.wait(self.chance.uniform(0.05, 0.4))
        self.platform.behave()

    def end(self):
        self.over.set()
        self.join()


def start(p, times):
    """Starts the daemon; notes how long until it has its schedules again."""
    began = time.monotonic()
    d = p.daemon()
    d.wait_line("loaded", seconds=60)
    times.append(time.monotonic() - began)
    return d


def check(p, oracle, platform, what):
    """The five checks: lost, unexpected, bodies, duplicates by id, a fresh event."""
    with oracle.lock:
        tried, acked = set(oracle.tried), dict(oracle.acked)
    arrived = {}
    for event in platform.events:
        bodies = arrived.setdefault(event.id, [])
        bodies.append((event.title, json.dumps(event.dimension, sort_keys=True), event.all.get("df_message")))
    lost = {t: i for t, i in acked.items() if i not in arrived}
    assert not lost, (what, f"{len(lost)} acknowledged, then lost", list(lost.items())[:3])
    unexpected = [b for i, b in arrived.items() if b[0][0] not in tried]
    assert not unexpected, (what, "arrived, but never reported", unexpected[:3])
    changed = {i: b for i, b in arrived.items() if len(set(b)) != 1}
    assert not changed, (what, "one id with two bodies", list(changed.items())[:3])
    wrong = [t for t, i in acked.items() if arrived[i][0][0] != t]
    assert not wrong, (what, "the body of another", wrong[:3])
    stored = {e["event_id"]: e for e in p.events("-n", "1000000")}
    twice = [t for t in {e["title"] for e in stored.values()}]
    assert len(twice) == len(stored), (what, "one report under two ids")
    waiting = [e for e in stored.values() if e["delivery"] != "delivered"]
    assert not waiting, (what, f"{len(waiting)} not delivered", waiting[:2])
    return len(acked), len(arrived), len(platform.events)


def check_order(platform, p, what):
    """First arrivals of a dimension come in the order of their ids' acceptance."""
    order = {e["event_id"]: n for n, e in enumerate(p.events("-n", "1000000"))}
    of = {e["event_id"]: (e["id"], json.dumps(e["dimension_tags"], sort_keys=True))
          for e in p.events("-n", "1000000")}
    newest, seen = {}, set()
    for event in platform.events:
        if event.id in seen or event.id not in order:
            continue
        seen.add(event.id)
        last = newest.get(of[event.id], -1)
        assert order[event.id] > last, (what, "out of order in its dimension", event.id)
        newest[of[event.id]] = order[event.id]


def test_storm():
    """kill -9 at random while the platform misbehaves: lost 0, unexpected 0, duplicates by id 0, a fresh event flows"""
    chance, times = random.Random(SEED), []
    what = f"SELFMON_FAULT_SEED={SEED}"
    with shop() as (p, platform), Oracle() as oracle:
        p.account('timeout = "2s"', "report_failures = false, workers = 2")
        for name in "abcd":
            p.script(f"{name}.lua", producer(oracle, 5, "@every 1s", size=chance.choice([1, 2000])))
        d = start(p, [])
        wait_for(lambda: oracle.acked, "the first event", 60)
        weather = Weather(platform, chance)
        weather.start()
        for n in range(KILLS):
            began = len(oracle.acked)
            wait_for(lambda: len(oracle.acked) > began, "an acknowledged event", 60)
            time.sleep(chance.uniform(0, 0.5))  # the fault's instant, not a wait for anything
            assert d.process.poll() is None, (what, d.err)
            d.process.send_signal(signal.SIGKILL)
            d.process.wait()
            wait_for(lambda: not workers_of(d.pid), "the workers end with their daemon", 30)
            if n % 10 == 0:
                integrity(p.dir / ".selfmon")
            d = start(p, times)
        weather.end()
        fresh = len(oracle.acked)
        wait_for(lambda: len(oracle.acked) > fresh, "a fresh event is acknowledged", 60)
        for name in "abcd":
            p.script(f"{name}.lua", 'monitor{ title = "Quiet", schedule = "0 0 1 1 *" }\nfunction run() end')
        wait_for(lambda: all(e["delivery"] == "delivered" for e in p.events("-n", "1000000")),
                 "everything is delivered", 120)
        assert d.stop(seconds=60) == 0, d.err
        acked, ids, arrivals = check(p, oracle, platform, what)
        check_order(platform, p, what)
        integrity(p.dir / ".selfmon")
        assert not rows(p.dir / ".selfmon", "SELECT run FROM runs WHERE outcome IS NULL"), what
        assert weather.seen >= KILLS / 2, "the platform hardly misbehaved"
        platform.check()
        times.sort()
        print(f"# {what}: {KILLS} kills, {weather.seen} changes of the platform's behaviour, {acked} acknowledged, "
              f"{ids} arrived ({arrivals - ids} repeats with the same id), lost 0; ready again after "
              f"{times[len(times) // 2]:.2f} s (median), {times[-1]:.2f} s at most", flush=True)
        assert times[len(times) // 2] < 2, times


if __name__ == "__main__":
    run_all(globals())
