"""kill -9 at chosen system calls and at random: what report() returned for is there, once, delivered."""
import os
import random
import re
import signal
import subprocess
import time

from faults import Oracle, check_promise, fresh_state, inject, integrity, producer, rows, wait_for
from harness import BINARY, clean_env, project, run_all, workers_of

SEED = int(os.environ.get("SELFMON_FAULT_SEED") or time.time_ns() % 1000000)


def template(p):
    """A state directory that one run has used, so that opening it writes little."""
    state = fresh_state(p, "template")
    done = p.run("run", "--once", "--state-dir", str(state), "inspections/")
    assert done.code == 0, done
    return state


def schedule(call, points, prepared, count=4):
    """Kills at each of the points of one call; every state must keep the promise. Counted a thread."""
    with project() as p, Oracle() as prepare:
        p.script("producer.lua", producer(prepare, count))
        base = template(p) if prepared else None
        known = dict(prepare.acked)
        killed = 0
        for n in points:
            with Oracle() as oracle:
                oracle.tried |= prepare.tried if prepared else set()
                oracle.acked.update(known if prepared else {})
                p.script("producer.lua", producer(oracle, count))
                state = fresh_state(p, n, base)
                what = f"kill at {call} number {n}, {'used' if prepared else 'new'} state"
                code, out = inject(p, [f"{call}:signal=KILL:when={n}"], ["run", "--once", "inspections/"],
                                   state=state)
                killed += code < 0
                assert code < 0 or code in (0, 1), (what, code, out)
                check_promise(p, oracle, what, state)
        print(f"# {killed} kills at {len(points)} points of {call}, lost 0", flush=True)
        return killed


def test_kill_at_writes_of_a_new_store():
    """kill -9 while the first start makes the database"""
    assert schedule("pwrite64", [1, 2, 3, 5, 9, 20, 40, 60, 79, 80, 81, 83, 86], False) >= 10


def test_kill_at_syncs_of_a_new_store():
    """kill -9 at the syncs of the first start"""
    assert schedule("fdatasync,fsync", range(1, 5), False) >= 2


def test_kill_at_writes_of_the_store():
    """kill -9 at the database's writes while events are accepted and delivered"""
    assert schedule("pwrite64", [*range(1, 40, 3), *range(41, 250, 9)], True) >= 25


def test_kill_at_syncs():
    """kill -9 at the syncs of the commits: nothing was acknowledged before its sync"""
    assert schedule("fdatasync", range(1, 34), True) >= 15


def test_sync_before_acknowledgement():
    """in the order of system calls each id is written, synced, and only then acknowledged"""
    with project() as p, Oracle() as oracle:
        p.script("producer.lua", producer(oracle, 8))
        trace = p.dir / "trace"
        done = subprocess.run(["strace", "-f", "-qqq", "-s", "5000", "-o", trace, "-e",
                               "trace=pwrite64,fdatasync,write,writev,sendto,sendmsg", BINARY, "run", "--once",
                               "inspections/"], cwd=p.dir, env=clean_env(), capture_output=True, timeout=60)
        assert done.returncode == 0, done
        written, synced, acknowledged = set(), set(), set()
        for line in trace.read_text(errors="replace").splitlines():
            ids = set(re.findall(r"event-[0-9a-f]{32}", line))
            call = line.split(None, 1)[1]
            if call.startswith("pwrite64("):
                written |= ids
            elif "fdatasync" in call and call.endswith("= 0"):
                synced |= written
            elif re.match(r"\w+\(\d+,", call) and "SMF1" in call and ids:
                assert ids <= synced, (ids - synced, line[:200])
                acknowledged |= ids
        assert set(oracle.acked.values()) <= acknowledged, (oracle.acked, acknowledged)


def test_kill_at_acknowledgements():
    """kill -9 at the writes to sockets, to workers and by workers: between commit and acknowledgement"""
    assert schedule("write,sendto,sendmsg,writev", range(1, 34), True) >= 10


def test_kill_twice():
    """a second kill -9 during the recovery from the first"""
    with project() as p:
        for first, second in ((60, 1), (60, 3), (100, 5), (150, 8), (33, 2), (200, 12)):
            with Oracle() as oracle:
                p.script("producer.lua", producer(oracle))
                state = fresh_state(p, f"{first}.{second}")
                done = p.run("run", "--once", "--state-dir", str(state), "inspections/")
                assert done.code == 0, done
                for n in (first, second):
                    code, out = inject(p, [f"pwrite64:signal=KILL:when={n}"],
                                       ["run", "--once", "inspections/"], state=state)
                    assert code < 0 or code == 0, (n, code, out)
                    integrity(state)
                check_promise(p, oracle, f"killed at writes {first} and then {second}", state)


def test_kill_at_random():
    """kill -9 of a daemon at random, twelve times: nothing lost, no slot twice, none without an outcome"""
    chance = random.Random(SEED)
    with project() as p, Oracle() as oracle:
        p.write("selfmon.conf.lua", "return { workers = 2 }")
        for name in ("a", "b", "c"):
            p.script(f"{name}.lua", producer(oracle, 3, "@every 1s"))
        for n in range(12):
            began = len(oracle.acked)
            d = p.daemon()
            d.wait_line("loaded")
            wait_for(lambda: len(oracle.acked) > began, "an acknowledged event")
            time.sleep(chance.uniform(0, 0.7))  # the fault's instant, not a wait for anything
            assert d.process.poll() is None, d.err
            d.process.send_signal(signal.SIGKILL)
            d.process.wait()
            wait_for(lambda: not workers_of(d.pid), "the workers end with their daemon")
            integrity(p.dir / ".selfmon")
        what = f"random kills, SELFMON_FAULT_SEED={SEED}"
        check_promise(p, oracle, what)
        state = p.dir / ".selfmon"
        twice = rows(state, "SELECT id, slot, count(*) FROM runs WHERE slot IS NOT NULL AND attempt = 1 "
                            "GROUP BY id, slot HAVING count(*) > 1")
        assert not twice, (what, "a slot ran twice", twice)
        assert not rows(state, "SELECT run FROM runs WHERE outcome IS NULL"), (what, "a run without an end")
        now = int(time.time())
        open_slots = rows(state, f"SELECT id, slot FROM slots WHERE outcome = 'planned' AND slot < {now - 2}")
        assert not open_slots, (what, "a slot without an outcome", open_slots)


run_all(globals())
