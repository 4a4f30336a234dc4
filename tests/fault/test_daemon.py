"""A daemon among kills and full pipes: workers that die all the time, two starts at once, nobody reads."""
import contextlib
import os
import signal
import subprocess
import time

from faults import check_promise, children, descriptors, Oracle, producer, rows, wait_for
from harness import BINARY, clean_env, project, run_all, simple, workers_of


def test_workers_killed_in_a_loop():
    """kill -9 of all workers for 10 s while 20 inspections run: every slot ends, nothing leaks"""
    with project() as p, Oracle() as oracle:
        p.write("selfmon.conf.lua", "return { workers = 2, report_failures = false }")
        for n in range(20):
            p.script(f"i{n:02}.lua", simple('  require "selfmon.time".sleep(0.05)', schedule="@every 1s"))
        p.script("producer.lua", producer(oracle, 2, "@every 1s"))
        d = p.daemon()
        wait_for(lambda: len(workers_of(d.pid)) >= 2 and oracle.acked, "the workers run")
        before, flat = descriptors(d.pid), []
        end, killed = time.monotonic() + 10, 0
        while time.monotonic() < end:
            for pid in workers_of(d.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            assert d.process.poll() is None, d.err
            flat.append(descriptors(d.pid))
            time.sleep(0.2)
        assert killed >= 20, killed
        stopped, acked = int(time.time()), len(oracle.acked)
        wait_for(lambda: len(oracle.acked) >= acked + 2, "it goes on after the kills", 20)
        wait_for(lambda: descriptors(d.pid) <= before + 6, f"descriptors as before ({before}), {flat}")
        wait_for(lambda: "Z" not in children(d.pid).values(), "no zombies")
        assert max(flat) < before + 60, (before, flat)
        assert d.stop() == 0, d.err
        state = p.dir / ".selfmon"
        left = rows(state, f"SELECT id, slot FROM slots WHERE outcome = 'planned' AND slot < {stopped - 2}")
        assert not left, ("slots without an outcome", left)
        assert not rows(state, "SELECT id FROM runs WHERE outcome IS NULL"), "runs without an end"
        assert rows(state, "SELECT 1 FROM runs WHERE trigger = 'retry' AND outcome = 'ok'"), "none was repeated"
        again = rows(state, "SELECT id, slot FROM runs WHERE slot IS NOT NULL AND attempt = 1 "
                            "GROUP BY id, slot HAVING count(*) > 1")
        assert not again, ("a slot ran twice", again)
        check_promise(p, oracle, "workers killed in a loop")
        print(f"# {killed} workers killed, {len(oracle.acked)} events acknowledged, lost 0, descriptors {before} before and at "
              f"most {max(flat)} meanwhile")


def test_two_starts_at_once():
    """two starts on one state directory: one wins, the other exits 1 and names the winner, ten times"""
    with project() as p:
        p.script("a.lua", simple())
        for turn in range(10):
            both = [p.daemon(), p.daemon()]
            loser = wait_for(lambda: next((d for d in both if d.process.poll() is not None), None),
                             "one of two gives up")
            winner = both[1 - both.index(loser)]
            assert loser.process.returncode == 1, (turn, loser.process.returncode, loser.err)
            assert f"held by process {winner.pid} (run)" in loser.err, (turn, winner.pid, loser.err)
            assert len(loser.err.splitlines()) == 1, (turn, loser.err)
            winner.wait_line("loaded")
            if turn % 2:
                winner.kill()  # the next two find the name of a dead holder
            else:
                assert winner.stop() == 0, winner.err
        print("# 10 pairs of starts: one held the directory, the other named it")


def run_with(p, stdout, stderr, close=()):
    """A daemon with the given descriptors; those in `close` are closed before it starts."""
    shell = " ".join(f"{n}>&-" for n in close)
    return subprocess.Popen(["sh", "-c", f'exec "$@" {shell}', "sh", BINARY, "run", "inspections/"],
                               cwd=p.dir, env=clean_env(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def noisy(p, oracle):
    """Scripts that make the daemon say much: some output every second, some warnings."""
    p.script("a.lua", producer(oracle, 2, "@every 1s"))
    for n in range(30):
        p.script(f"n{n:02}.lua", simple(f'  error(("x"):rep(3000))', schedule="@every 1s"))


def test_standard_output_closed():
    """started with >&- and 2>&-: it runs, no file of its own is written as if it were the terminal"""
    for close in ((1,), (2,), (1, 2), (0, 1, 2)):
        with project() as p, Oracle() as oracle:
            noisy(p, oracle)
            process = run_with(p, subprocess.DEVNULL, subprocess.DEVNULL, close)
            try:
                wait_for(lambda: len(oracle.acked) >= 4, f"runs with {close} closed")
                assert process.poll() is None, process.returncode
            finally:
                code = end(process)
            assert code == 0, (close, code)
            lock = (p.dir / ".selfmon" / "lock").read_bytes()
            assert lock == f"{process.pid} (run)\n".encode(), (close, lock)
            for n in range(30):
                (p.dir / "inspections" / f"n{n:02}.lua").unlink()
            check_promise(p, oracle, f"closed {close}")


def pipe_nobody_reads(which):
    with project() as p, Oracle() as oracle:
        noisy(p, oracle)
        read, write = os.pipe()
        other = open(p.dir / "other", "w")
        process = run_with(p, write if "out" in which else other, write if "err" in which else other)
        os.close(write)
        other.close()
        try:
            wait_for(lambda: len(oracle.acked) >= 4, "runs begin")
            # 30 lines of more than 2 KiB a second: 64 KiB of pipe are full long before this is over.
            full = time.monotonic() + 4
            wait_for(lambda: time.monotonic() > full, "the pipe to fill", 5)
            before = len(oracle.acked)
            wait_for(lambda: len(oracle.acked) >= before + 4, f"runs go on, {which} is full", 8)
            assert process.poll() is None, process.returncode
            assert p.run("list").code == 0
        finally:
            code = end(process)
            os.close(read)
        assert code == 0, code


def test_pipe_that_nobody_reads():
    """standard output and error are pipes nobody reads: runs go on, it stops when told"""
    pipe_nobody_reads("out err")


def test_reader_that_goes_away():
    """the reader of standard output and error ends: runs go on"""
    with project() as p, Oracle() as oracle:
        noisy(p, oracle)
        read, write = os.pipe()
        process = run_with(p, write, write)
        os.close(write)
        try:
            wait_for(lambda: oracle.acked, "runs begin")
            os.close(read)
            before = len(oracle.acked)
            wait_for(lambda: len(oracle.acked) >= before + 4, "runs go on")
            assert process.poll() is None, process.returncode
        finally:
            code = end(process)
        assert code == 0, code


run_all(globals())
