"""Rows of the fault matrix: kills between two chosen steps, the stop, copies of a state directory, no memory. Judged by
what a stand-in platform took."""
import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from faults import Oracle, five_checks, inject, integrity, producer, rows  # noqa: E402
from harness import BINARY, clean_env, run_all, simple, wait_for, workers_of  # noqa: E402
from remote import shop  # noqa: E402

WRITE = "/v1/write/keyevent"
ONE = "report_failures = false, workers = 1"


def listed(p):
    return p.events("-n", "1000000")


def ended_or_without(p, d, old):
    """The daemon has ended, or shows none of the events."""
    done = p.run("events", "--json", "-n", "1000000")
    return d.process.poll() is not None or (done.code == 0 and not old & {e["event_id"] for e in done.json()})


def gone(d):
    """After a kill -9: its workers have ended as well."""
    d.process.wait()
    wait_for(lambda: not workers_of(d.pid), "the workers end with their daemon", 30)


def ends_well(p, platform, oracle, what, d=None):
    """A daemon until everything is delivered and a fresh event was; then the five checks. Returns (counts, seconds
    from the start to the first delivery)."""
    fresh, began, before = len(oracle.acked), time.monotonic(), len(platform.events)
    d = d or p.daemon()
    d.wait_line("loaded", seconds=60)
    ready = time.monotonic() - began
    name = f"fresh{fresh}.lua"  # a first run is only of what is new
    p.script(name, producer(oracle, 1))
    wait_for(lambda: len(oracle.acked) > fresh and len(platform.events) > before, "a fresh event flows", 60)
    try:
        wait_for(lambda: all(e["delivery"] == "delivered" for e in listed(p)), f"{what}: everything is delivered", 60)
    except AssertionError as error:
        waiting = [e for e in listed(p) if e["delivery"] != "delivered"]
        raise AssertionError(f"{error}: {len(waiting)} wait: {waiting[:1]}\n{d.err[-3000:]}") from None
    assert d.stop(seconds=60) == 0, d.err
    integrity(p.dir / ".selfmon")
    counts = five_checks(oracle, listed(p), platform.events, what)
    platform.check()
    (p.dir / "inspections" / name).unlink()
    return counts, ready


@contextlib.contextmanager
def tracer(pid, call, what, only=None):
    """strace of a running process with an injection, from when it holds every thread."""
    command = ["strace", "-qqq", "-f", *(["-P", str(only)] if only else []), "-o", os.devnull, "-e", f"trace={call}", "-e",
               f"inject={call}:{what}", "-p", str(pid)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: all(f"TracerPid:\t{process.pid}\n" in (t / "status").read_text()
                             for t in pathlib.Path(f"/proc/{pid}/task").iterdir()), "strace holds every thread", 30)
        yield
    finally:
        process.terminate()
        process.wait()


def test_between_commit_and_acknowledgement():
    """kill -9 at the write of an acknowledgement: stored though the script heard nothing, sent once"""
    recovered = kills = 0
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", ONE)
        p.script("producer.lua", producer(oracle, 5))
        trace = p.dir / "trace"
        done = subprocess.run(["strace", "-f", "-qqq", "-s", "200", "-o", trace, "-e", "trace=write,writev,sendto,sendmsg",
                               BINARY, "run", "--once", "inspections/"], cwd=p.dir, env=clean_env(**p.env),
                              capture_output=True, timeout=60)
        assert done.returncode == 0, done
        # Which call of its thread and kind each acknowledgement is: the daemon's answers that hold an id.
        counts, points = {}, []
        for line in trace.read_text(errors="replace").splitlines():
            found = re.match(r"(\d+) +(\w+)\(", line)
            if not found:
                continue
            key = found.groups()
            counts[key] = counts.get(key, 0) + 1
            if "event-" in line and "SMF1" in line and '"report"' not in line:
                points.append((found.group(2), counts[key]))
        assert len(points) >= 5, (points, "the acknowledgements are not to be seen in the trace")
        for call, n in sorted({(c, n + d) for c, n in points for d in (-1, 0)}):
            acked = len(oracle.acked)
            tried = len(oracle.tried)
            p.script("producer.lua", producer(oracle, 5))
            code, out = inject(p, [f"{call}:signal=KILL:when={n}"], ["run", "--once", "inspections/"], timeout=60)
            assert code < 0 or code in (0, 1), (call, n, code, out)
            kills += code < 0
            integrity(p.dir / ".selfmon")
            titles = {t for t, in rows(p.dir / ".selfmon", "SELECT title FROM events")}
            recovered += len(titles - set(oracle.acked))
            assert len(oracle.tried) > tried or len(oracle.acked) == acked
            done = p.run("run", "--once", "inspections/")
            assert done.code == 0, done
            five_checks(oracle, listed(p), platform.events, f"kill at {call} {n}")
        counts, _ = ends_well(p, platform, oracle, "kills at acknowledgements")
    assert kills and recovered, (kills, recovered)
    print(f"# {kills} kills, {recovered} events stored whose script heard nothing, each sent; {counts}")


def test_between_send_and_answer():
    """kill -9 while the platform, which has the event, holds its answer: the same id again"""
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", ONE)
        times = []
        for n in range(5):
            p.script(f"p{n}.lua", producer(oracle, 3))
            platform.misbehave(WRITE, times=None, delay=30, after=True)
            before = len(platform.events)
            d = p.daemon()
            wait_for(lambda: len(platform.events) > before, "it is there, the answer is not", 60)
            d.kill()
            gone(d)
            assert "delivered" not in {e["delivery"] for e in listed(p)[before:]}
            platform.behave()
            _, ready = ends_well(p, platform, oracle, "answer held")
            times.append(ready)
            (p.dir / "inspections" / f"p{n}.lua").unlink()
        counts = five_checks(oracle, listed(p), platform.events, "answer held")
        assert platform.duplicates(), "nothing was sent twice: the kills came too late"
        print(f"# 5 kills: {counts}; ready again within {max(times):.2f} s")


def test_between_answer_and_delivered():
    """kill -9 at the first write, or sync, after the answer: the same id again"""
    again = {}
    for call in ("pwrite64", "fdatasync"):
        with shop() as (p, platform), Oracle() as oracle:
            p.account("", ONE)
            p.script("a.lua", producer(oracle, 3))
            platform.misbehave(WRITE, times=None, delay=6, after=True)
            d = p.daemon()
            wait_for(lambda: platform.events, "it is there, the answer is not", 60)
            wait_for(lambda: all(r["outcome"] for r in p.runs()) and len(oracle.acked) == 3, "the run has ended", 30)
            sent = {e.id for e in platform.events}
            with tracer(d.pid, call, "signal=KILL:when=1"):
                wait_for(lambda: d.process.poll() is not None, "the answer comes, and with it the end", 60)
            gone(d)
            assert d.process.returncode == -9, d.process.returncode
            platform.behave()
            counts, _ = ends_well(p, platform, oracle, f"killed at {call} after the answer")
            again[call] = len(sent & set(platform.duplicates()))
    assert again["pwrite64"] >= 1, again
    print(f"# sent again with the same id: {again['pwrite64']} (killed at the write), {again['fdatasync']} (at the sync); {counts}")


def test_during_checkpoint_and_retention():
    """kill -9 at writes while retention deletes old rows, and while the journal is moved into the database file"""
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", ONE)
        p.script("a.lua", producer(oracle, 150, size=2000))
        done = p.run("run", "--once", "inspections/")
        assert done.code == 0 and len(oracle.acked) == 150, done
        state, template = p.dir / ".selfmon", p.dir / "template"
        base = sqlite3.connect(state / "selfmon.db")
        with base:  # all of it is three days old
            base.execute("UPDATE events SET at_ns = at_ns - 259200000000000")
            base.execute("UPDATE runs SET started_ns = started_ns - 259200000000000, "
                         "finished_ns = finished_ns - 259200000000000")
        base.close()
        shutil.copytree(state, template)
        p.script("a.lua", simple())
        old = set(oracle.acked.values())
        killed = {"delete": 0, "checkpoint": 0}
        for what, n in [("delete", n) for n in (1, 2, 3, 5, 8, 20, 60)] + \
                       [("checkpoint", n) for n in (1, 2, 3, 5, 8, 13, 21, 34)]:
            shutil.rmtree(state)
            shutil.copytree(template, state)
            p.account("", ONE)
            d = p.daemon()
            d.wait_line("loaded", seconds=60)
            prune = lambda: p.account("", ONE + ', retention = { runs = "1h", events = "1h" }')
            if what == "checkpoint":
                prune()
                wait_for(lambda: not old & {e["event_id"] for e in listed(p)}, "the old events go", 60)
            with tracer(d.pid, "pwrite64", f"signal=KILL:when={n}",
                        only=state / "selfmon.db" if what == "checkpoint" else None):
                prune() if what == "delete" else d.process.terminate()
                if what == "delete":
                    wait_for(lambda: ended_or_without(p, d, old), "the end, or the old events' end", 60)
                else:
                    d.process.wait(timeout=60)
            killed[what] += d.process.poll() == -9
            if d.process.poll() is None:
                d.stop()
            gone(d)
            integrity(state)
            fresh, arrived = len(oracle.acked), len(platform.events)
            p.script(f"fresh{what}{n}.lua", producer(oracle, 1))
            done = p.run("run", "--once", "-k", f"fresh{what}{n}", "inspections/")
            assert done.code == 0, (what, n, done)
            assert len(oracle.acked) == fresh + 1 and len(platform.events) > arrived, (what, n)
            (p.dir / "inspections" / f"fresh{what}{n}.lua").unlink()
            integrity(state)
            assert not list(state.glob("*.corrupt.*")), (what, n)
            assert all(e["delivery"] == "delivered" for e in listed(p)), (what, n)
        assert killed["delete"] >= 3 and killed["checkpoint"] >= 3, killed
        assert set(oracle.acked.values()) == {e.id for e in platform.events}
        platform.check()
        print(f"# {killed['delete']} kills during deletes, {killed['checkpoint']} during checkpoints: integrity ok after each, "
              "lost 0, duplicates by id 0")


def test_error_during_recovery():
    """kill -9, then no space, an I/O error or EMFILE while the next start recovers; the one after is whole"""
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", ONE)
        faults = [("pwrite64", "ENOSPC", "1+"), ("pwrite64", "ENOSPC", "2"), ("pwrite64", "EIO", "1"), ("pwrite64", "EIO", "4+"),
                  ("fdatasync", "EIO", "1"), ("pread64", "EIO", "9"), ("openat", "EMFILE", "60")]
        codes = []
        for call, error, when in faults:
            p.script("a.lua", producer(oracle, 40, "@every 1s"))
            d = p.daemon()
            before = len(oracle.acked)
            wait_for(lambda: len(oracle.acked) > before + 5, "events", 60)
            d.kill()
            gone(d)
            code, out = inject(p, [f"{call}:error={error}:when={when}"], ["run", "--once", "--drain", "2", "inspections/"],
                               timeout=120)
            assert code in (0, 1), (call, error, when, code, out)
            codes.append(code)
            p.script("a.lua", simple())
            ends_well(p, platform, oracle, f"{error} at {call} {when} after a kill")
            assert not list((p.dir / ".selfmon").glob("*.corrupt.*")), (call, error, when)
        counts = five_checks(oracle, listed(p), platform.events, "errors during recovery")
        assert 1 in codes, codes
        print(f"# {len(faults)} kills, each followed by an error in recovery ({codes.count(1)} of these starts ended with 1): {counts}")


def test_term_with_runs_in_flight():
    """SIGTERM with runs in flight: those that end within 10 s do, the others are ended, a last batch goes out, exit 0"""
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", "report_failures = false, workers = 3")
        p.script("a.lua", producer(oracle, 2) )
        tell = producer(oracle, 1)
        nap = '\n  require "selfmon.time".sleep({})\nend'
        p.script("short.lua", tell.rstrip().removesuffix("end") + nap.format(3))
        p.script("long.lua", tell.rstrip().removesuffix("end").replace("timeout = 20", "timeout = 300") + nap.format(200))
        platform.misbehave(WRITE, times=None, delay=1, status=500)
        d = p.daemon()
        wait_for(lambda: len(oracle.acked) == 4, "all have reported", 60)
        began = time.monotonic()
        d.process.send_signal(signal.SIGTERM)
        d.wait_line("stopping")
        platform.behave()
        assert d.process.wait(timeout=60) == 0, d.err
        took = time.monotonic() - began
        outcomes = {r["id"]: r["outcome"] for r in p.runs()}
        assert outcomes == {"a.run": "ok", "short.run": "ok", "long.run": "cancelled"}, outcomes
        assert took < 30, took
        assert not workers_of(d.pid)
        for name in ("a", "short", "long"):
            p.script(f"{name}.lua", simple())
        kept = sorted(e["delivery"] for e in listed(p))
        counts, _ = ends_well(p, platform, oracle, "TERM with runs in flight")
        print(f"# exit 0 after {took:.1f} s, {kept.count('delivered')} of 4 events went out before it; {counts}")


def test_copied_state_directory():
    """two daemons, one on a copy of the other's state directory: no second object, what waited keeps one id"""
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", ONE + ", config_max_age = 1")
        p.script("a.lua", producer(oracle, 3))
        platform.misbehave(WRITE, times=None, status=503)
        d = p.daemon()
        wait_for(lambda: len(oracle.acked) == 3, "events that wait", 60)
        d.kill()
        gone(d)
        shutil.copytree(p.dir / ".selfmon", p.dir / "copy", ignore=shutil.ignore_patterns("*.sock"))
        platform.behave()
        p.script("a.lua", simple())
        first, second = p.daemon(), p.daemon("--state-dir", str(p.dir / "copy"), "inspections/")
        for one in (first, second):
            one.wait_line("loaded", seconds=60)
        wait_for(lambda: len([1 for e in platform.events]) >= 6, "both deliver what waited", 60)
        again = p.daemon()
        assert again.process.wait(timeout=60) == 1 and f"held by process {first.pid} (run)" in again.err, again.err
        modified = len(platform.checkers.modified)
        for one in (first, second):
            p.script("a.lua", simple(title=f"Changed {one.pid}", schedule="@every 1s"))
            assert one.process.poll() is None, one.err
        wait_for(lambda: len(platform.checkers.modified) > modified, "the change is registered", 60)
        assert second.stop() == 0 and first.stop() == 0
        assert len(platform.checkers.created) == 1, "a second object was made"
        counts = five_checks(oracle, listed(p), platform.events, "copied state directory")
        print(f"# one object on the platform, {len(platform.checkers.modified) - modified} changes for 2 edits; {counts}")


def virtual(pid):
    return int(re.search(r"VmSize:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) << 10


def test_no_memory():
    """the daemon gets no more memory: it says so in one sentence and ends; the next start has all acknowledged events"""
    said = survived = 0
    with shop() as (p, platform), Oracle() as oracle:
        p.account("", ONE + ", config_max_age = 1")
        for more in (0, 1 << 20, 4 << 20):
            p.script("a.lua", producer(oracle, 40, "@every 1s", size=20000, give_up=False))
            d = p.daemon()
            began = len(oracle.acked)
            wait_for(lambda: len(oracle.acked) > began, "events", 60)
            resource.prlimit(d.pid, resource.RLIMIT_AS, (virtual(d.pid) + more, resource.RLIM_INFINITY))
            # Something that needs room: an answer of the platform with parameters of 10 MB.
            platform.checkers.of_func("a.run")["jsonScript"]["callKwargs"] = {"s": "x" * (10 << 20)}
            with contextlib.suppress(AssertionError):  # it may as well go on without
                wait_for(lambda: d.process.poll() is not None, "its end", 20)
            platform.checkers.of_func("a.run")["jsonScript"]["callKwargs"] = {}
            if d.process.poll() is None:
                survived += 1
                d.kill()
            else:
                said += 1
                assert d.process.returncode in (-signal.SIGABRT, 1), (d.process.returncode, d.err[-2000:])
                assert "memory" in d.err, d.err[-2000:]
            gone(d)
            p.script("a.lua", simple())
            counts, ready = ends_well(p, platform, oracle, f"{more} bytes left")
        assert said, "it never ran out of memory"
        print(f"# {said} of 3 ended with a sentence, {survived} went on; ready again after {ready:.2f} s; {counts}")


if __name__ == "__main__":
    run_all(globals())
