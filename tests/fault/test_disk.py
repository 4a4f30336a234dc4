"""A disk that is full, read-only or broken under a running daemon; needs root for the file systems."""
import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

from faults import Oracle, check_promise, compare, cpu_seconds, producer, wait_for
from harness import project, run_all


def mounts(test):
    """A test that mounts a file system: skipped by whoever may not."""
    if os.geteuid() == 0:
        return test

    def skipped():
        pass
    skipped.__doc__ = test.__doc__ + " # SKIP needs root to mount"
    return skipped


@contextlib.contextmanager
def tmpfs(size):
    """A small file system of its own."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="selfmon-tmpfs-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
        folder.rmdir()


def fill(path):
    """Takes all the room that is left."""
    with open(path, "wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"\0" * 4096)


def reserve(p, size):
    p.write("selfmon.conf.lua", f'return {{ limits = {{ min_free = "{size}" }} }}')


@mounts
def test_disk_full_and_free_again():
    """a full disk: report() raises `outbox is full`, what was taken stays, it goes on within 10 s of room"""
    with project() as p, Oracle() as oracle, tmpfs("24m") as disk:
        reserve(p, "6MiB")
        for name in ("a", "b"):
            p.script(f"{name}.lua", producer(oracle, 20, "@every 1s", size=3000, give_up=False))
        state = disk / "state"
        d = p.daemon("--state-dir", str(state), "inspections/")
        wait_for(lambda: len(oracle.acked) >= 40, "events before the disk is full")
        fill(disk / "ballast")
        wait_for(lambda: any("outbox is full: " in r for r in oracle.refused.values()), "a refused event", 20)
        cpu, began = cpu_seconds(d.pid), time.monotonic()
        wait_for(lambda: time.monotonic() - began > 3, "three seconds without room", 5)
        used = (cpu_seconds(d.pid) - cpu) / (time.monotonic() - began)
        assert used < 0.2, f"{used:.0%} of a processor while the disk is full"
        assert d.process.poll() is None, d.err
        bad = {r for r in oracle.refused.values() if "outbox is full: " not in r}
        assert not bad, bad
        acked = len(oracle.acked)
        (disk / "ballast").unlink()
        room = time.monotonic()
        wait_for(lambda: len(oracle.acked) > acked, "the first event after there is room", 10)
        room = time.monotonic() - room
        for name in ("a", "b"):
            p.script(f"{name}.lua", producer(oracle, 1))
        events = lambda: p.run("events", "--json", "-n", "100000", "--state-dir", str(state)).json()
        wait_for(lambda: all(e["delivery"] == "delivered" for e in events()), "all is delivered, no restart", 15)
        lines = len(d.err.splitlines())
        assert lines < 200, f"{lines} lines of log\n{d.err[:3000]}"
        assert d.stop() == 0, d.err
        compare(oracle, events(), "a full disk")
        check_promise(p, oracle, "a full disk", state)
        print(f"# {len(oracle.acked)} acknowledged, {len(oracle.refused)} refused, lost 0; the next one {room:.1f} s after there "
              f"was room; {used:.0%} of a processor while full")


@mounts
def test_reserve_is_kept():
    """limits.min_free: below it report() raises, deliveries and their bookkeeping go on"""
    with project() as p, Oracle() as oracle, tmpfs("24m") as disk:
        reserve(p, "8MiB")
        p.script("a.lua", producer(oracle, 200, size=8000, give_up=False))
        with open(disk / "ballast", "wb") as out:
            out.write(b"\0" * (14 << 20))
        state = disk / "state"
        done = p.run("run", "--once", "--state-dir", str(state), "inspections/")
        assert done.code == 0, done
        assert oracle.acked and oracle.refused, (len(oracle.acked), len(oracle.refused))
        assert all("outbox is full: " in r for r in oracle.refused.values()), oracle.refused
        free = os.statvfs(disk)
        assert free.f_bavail * free.f_frsize > 4 << 20, "the reserve was used for events"
        (disk / "ballast").unlink()
        check_promise(p, oracle, "the reserve", state)
        print(f"# {len(oracle.acked)} acknowledged, {len(oracle.refused)} refused, lost 0")


@contextlib.contextmanager
def failing(pid, call, error):
    """From here to the end of the block each such call of a process fails; nothing is restarted."""
    tracer = subprocess.Popen(["strace", "-f", "-qqq", "-o", os.devnull, "-e", f"trace={call}", "-e",
                               f"inject={call}:error={error}", "-p", str(pid)], stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: all(f"TracerPid:\t{tracer.pid}\n" in (t / "status").read_text()
                             for t in pathlib.Path(f"/proc/{pid}/task").iterdir()), "strace holds every thread")
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def test_turns_read_only_and_back():
    """the disk turns read-only under a daemon: a clear sentence, a quiet CPU, recovery when it is back"""
    with project() as p, Oracle() as oracle:
        p.script("a.lua", producer(oracle, 2, "@every 1s", give_up=False))
        d = p.daemon()
        wait_for(lambda: len(oracle.acked) >= 2, "events before")
        with failing(d.pid, "pwrite64", "EROFS"):
            wait_for(lambda: oracle.refused, "a refused event")
            cpu, began = cpu_seconds(d.pid), time.monotonic()
            wait_for(lambda: time.monotonic() - began > 3, "three seconds of it", 5)
            used = (cpu_seconds(d.pid) - cpu) / (time.monotonic() - began)
            assert used < 0.3, f"{used:.0%} of a processor"
            assert d.process.poll() is None, d.err
            acked = len(oracle.acked)
        assert all("the database " in r for r in oracle.refused.values()), oracle.refused
        assert any("Read-only file system" in r for r in oracle.refused.values()), oracle.refused
        wait_for(lambda: len(oracle.acked) > acked, "the first event after it is back", 10)
        p.script("a.lua", producer(oracle, 1))
        wait_for(lambda: all(e["delivery"] == "delivered" for e in p.events()), "all is delivered, no restart")
        assert d.stop() == 0, d.err
        compare(oracle, p.events("-n", "100000"), "read-only for a while")
        check_promise(p, oracle, "read-only for a while")
        print(f"# {len(oracle.acked)} acknowledged, lost 0; {used:.0%} of a processor while read-only")


@mounts
def test_start_on_a_read_only_disk():
    """a start on a read-only file system: exit 1 and one sentence; after it is writable all is there"""
    with project() as p, Oracle() as oracle, tmpfs("32m") as disk:
        reserve(p, "1MiB")
        p.script("a.lua", producer(oracle, 2))
        state = disk / "state"
        once = lambda: p.run("run", "--once", "--state-dir", str(state), "inspections/")
        assert once().code == 0
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = once()
        assert done.code == 1 and "Read-only file system" in done.err, done
        assert len([line for line in done.err.splitlines() if line]) == 1, done
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        check_promise(p, oracle, "read-only at the start", state)


def test_failed_sync_ends_the_daemon():
    """a failed sync: nothing more is acknowledged, the daemon ends with 1; the next start goes on"""
    with project() as p, Oracle() as oracle:
        p.script("a.lua", producer(oracle, 2, "@every 1s", give_up=False))
        d = p.daemon()
        wait_for(lambda: len(oracle.acked) >= 2, "events before")
        with failing(d.pid, "fdatasync", "EIO"):
            assert d.process.wait(timeout=20) == 1, d.err
        assert "fsync failed" in d.err, d.err
        assert len(d.err.splitlines()) < 30, d.err
        check_promise(p, oracle, "a failed sync")
        print(f"# exit 1, {len(oracle.acked)} acknowledged, lost 0")


run_all(globals())
