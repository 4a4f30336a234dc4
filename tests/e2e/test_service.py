#!/usr/bin/python3
"""The daemon as a service: what it tells the service manager, its watchdog, a log whose reader is slow,
stopped, closed or gone."""
import contextlib
import ctypes
import json
import os
import pathlib
import pty
import select
import signal
import socket
import subprocess
import termios
import time

from harness import BINARY, clean_env, project, run_all, simple, wait_for, workers_of

OFTEN = simple("  return", schedule="@every 1s")


class Manager:
    """A datagram socket in the place of systemd's; keeps (time, fields) of each message."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        self.socket.setblocking(False)
        self.name = name if isinstance(name, str) else "@" + name[1:].decode()
        self.got = []

    def read(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self.socket.recv(4096).decode()
                self.got.append((time.monotonic(), dict(line.split("=", 1) for line in text.splitlines())))
        return self.got

    def count(self, key):
        return sum(key in fields for _, fields in self.read())

    def wait(self, key, more_than=0, seconds=30):
        wait_for(lambda: self.count(key) > more_than, f"{key} more than {more_than} times in {self.got}", seconds)
        return [fields for _, fields in self.got if key in fields][-1]

    def forget(self):
        self.read()
        self.got.clear()

    def env(self, watchdog_s=None, pid=None):
        env = {"NOTIFY_SOCKET": self.name}
        if watchdog_s:
            env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        if pid:
            env["WATCHDOG_PID"] = str(pid)
        return env


def quiet_for(manager, seconds):
    """No WATCHDOG=1 within the time."""
    manager.forget()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert manager.count("WATCHDOG") == 0, manager.got
        time.sleep(0.05)


def task_named(pid, name):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise AssertionError(f"no thread {name} in {pid}")


@contextlib.contextmanager
def stopped_thread(tid):
    """One thread of a process does not go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(request):
        if libc.ptrace(request, tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    ptrace(0x4206)  # SEIZE
    ptrace(0x4207)  # INTERRUPT
    os.waitpid(tid, 0x40000000)  # __WALL
    try:
        yield
    finally:
        ptrace(17)  # DETACH


def test_service_manager_is_told():
    """ready with a status, reloading with the time, stopping; no child can speak for the daemon"""
    with project() as p:
        manager = Manager(str(p.dir / "notify"))
        p.script("a.lua", OFTEN)
        p.script("b.lua", simple())
        d = p.daemon(env=manager.env())
        ready = manager.wait("READY")
        assert ready["STATUS"] == "loaded 2 inspections", ready
        for pid in wait_for(lambda: workers_of(d.pid), "a worker"):
            assert b"NOTIFY" not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        before = time.monotonic_ns() // 1000
        manager.forget()
        d.process.send_signal(signal.SIGHUP)
        assert before <= int(manager.wait("RELOADING")["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        manager.wait("READY")
        order = [key for _, fields in manager.got for key in ("RELOADING", "READY") if key in fields]
        assert order[:2] == ["RELOADING", "READY"], order
        p.script("c.lua", simple())
        wait_for(lambda: any(f.get("STATUS") == "loaded 3 inspections" for _, f in manager.read()), "the new status")
        assert manager.count("WATCHDOG") == 0, manager.got
        assert d.stop() == 0
        manager.wait("STOPPING")


def test_abstract_socket_and_foreign_watchdog():
    """an abstract socket is reached; a watchdog that is another process's is not fed"""
    with project() as p:
        manager = Manager(b"\0selfmon-test-%d" % os.getpid())
        p.script("a.lua", OFTEN)
        d = p.daemon(env=manager.env(0.4, pid=1))
        manager.wait("READY")
        quiet_for(manager, 2)
        assert d.stop() == 0


def test_watchdog_is_fed_by_loop_and_store():
    """the watchdog is fed at half of its time; not while the store hangs, not while the loop does"""
    with project() as p:
        manager = Manager(str(p.dir / "notify"))
        p.script("a.lua", OFTEN)
        d = p.daemon(env=manager.env(1))
        manager.wait("READY")
        manager.forget()
        manager.wait("WATCHDOG", more_than=5)
        times = [at for at, fields in manager.got if "WATCHDOG" in fields]
        assert (times[-1] - times[0]) / (len(times) - 1) > 0.25, times
        with stopped_thread(task_named(d.pid, "store")):
            time.sleep(0.1)  # one that was on its way
            quiet_for(manager, 3)
        manager.wait("WATCHDOG", more_than=1)
        d.process.send_signal(signal.SIGSTOP)
        quiet_for(manager, 3)
        d.process.send_signal(signal.SIGCONT)
        manager.wait("WATCHDOG", more_than=1)
        assert d.stop() == 0


def test_manager_that_is_gone():
    """a service manager that does not listen any more harms nothing"""
    with project() as p:
        manager = Manager(str(p.dir / "notify"))
        p.script("a.lua", OFTEN)
        d = p.daemon(env=manager.env(0.2))
        manager.wait("WATCHDOG")
        manager.socket.close()
        d.wait_line("a.run", "ok")
        assert d.stop() == 0


# ---------------------------------------------------------------------------------------- the log

class Piped:
    """A daemon whose two streams are ends that the test holds."""

    def __init__(self, p, out, err=None, args=(), close=()):
        def shut():
            for fd in close:
                os.close(fd)
        self.process = subprocess.Popen([BINARY, "run", *args, "inspections/"], cwd=p.dir, env=clean_env(),
                                        stdin=subprocess.DEVNULL, stdout=out, stderr=err or out,
                                        preexec_fn=shut if close else None)
        self.pid = self.process.pid

    def stop(self, seconds=30):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def rss(self):
        return int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def piped(p, *streams, **kw):
    d = Piped(p, *streams, **kw)
    try:
        yield d
    finally:
        if d.process.poll() is None:
            d.process.kill()
            d.process.wait()


def take(fd, kept, seconds=0.2):
    """Reads what is there, for at most that long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and select.select([fd], [], [], seconds)[0]:
        piece = os.read(fd, 65536)
        if not piece:
            return kept
        kept += piece
    return kept


def test_stopped_reader():
    """a reader that stopped: runs go on in time, memory stays, later one line counts what was lost"""
    with project() as p:
        long = "x" * 480
        for i in range(200):
            p.script(f"many/s{i:03}.lua", simple(f'  error("{long}")', schedule="@every 1s"))
        read, write = os.pipe()
        with piped(p, write) as d:
            os.close(write)
            kept = bytearray()
            wait_for(lambda: take(read, kept).count(b" failed ") > 400, "runs in the log", 60)
            begin = time.time()
            small = d.rss()

            sample = [f"many/s{i:03}.run" for i in (0, 40, 80, 120, 160, 199)]

            def since(name):
                return [r for r in p.runs("--id", name) if r["started"] > time.strftime(
                    "%Y-%m-%dT%H:%M:%S", time.gmtime(begin))]
            # 200 lines of more than 500 bytes a second do not fit for long into the pipe and the queue.
            end = time.monotonic() + 120
            while len(since(sample[0])) < 16:
                assert time.monotonic() < end and d.process.poll() is None, since(sample[0])
                time.sleep(0.5)
            seconds = time.time() - begin
            for name in sample:
                assert len(since(name)) >= seconds / 4, (name, seconds, since(name))
            assert d.rss() - small < 24 << 20, (small, d.rss())
            later = bytearray()
            wait_for(lambda: b"dropped while nobody read them" in take(read, later), "the count", 60)
            note = next(line for line in later.decode().splitlines() if "dropped while" in line)
            lost = int(note.split("warning: ")[1].split()[0])
            assert 0 < lost < 200 * (seconds + 60), note
            after = later.index(b"dropped while")
            wait_for(lambda: take(read, later)[after:].count(b" failed ") > 20, "lines after it", 60)
            assert all(len(line) > 40 for line in later.decode().splitlines()[1:-1]), "whole lines"
            assert d.stop() == 0
        os.close(read)


def test_stop_while_nobody_reads():
    """a daemon stops in time although nobody reads its log"""
    with project() as p:
        for i in range(50):
            p.script(f"s{i}.lua", simple('  error(("x"):rep(480))', schedule="@every 1s"))
        read, write = os.pipe()
        with piped(p, write) as d:
            os.close(write)
            wait_for(lambda: len(p.runs()) > 200, "more runs than fit into the pipe", 60)
            begin = time.monotonic()
            assert d.stop() == 0
            assert time.monotonic() - begin < 15
        os.close(read)


def test_reader_that_is_gone():
    """a reader that ended, on both streams: the daemon goes on"""
    with project() as p:
        p.script("a.lua", OFTEN)
        read, write = os.pipe()
        with piped(p, write) as d:
            os.close(write)
            wait_for(lambda: p.runs(), "a run", 30)
            os.close(read)
            n = len(p.runs())
            wait_for(lambda: len(p.runs()) > n + 2, "runs after it", 30)
            assert d.stop() == 0


def test_closed_streams():
    """started with 0, 1 and 2 closed: no file of the daemon gets their numbers, and it works"""
    with project() as p:
        p.script("a.lua", OFTEN)
        with piped(p, subprocess.DEVNULL, close=(0, 1, 2)) as d:
            wait_for(lambda: len(p.runs()) > 2, "runs", 30)
            for pid in [d.pid, *workers_of(d.pid)]:
                for fd in (0, 1, 2):
                    assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null", (pid, fd)
            assert d.stop() == 0
        assert p.runs()[0]["outcome"] == "ok"


def test_log_on_a_full_disk():
    """a log file on a full disk: the daemon goes on"""
    with project() as p, open("/dev/full", "w") as full:
        p.script("a.lua", OFTEN)
        with piped(p, full) as d:
            wait_for(lambda: len(p.runs()) > 2, "runs", 30)
            assert d.stop() == 0


def test_stopped_terminal():
    """a terminal stopped with ^S: the daemon goes on; ^Q shows what waited"""
    with project() as p:
        for i in range(20):
            p.script(f"s{i}.lua", simple('  error(("x"):rep(480))', schedule="@every 1s"))
        master, slave = pty.openpty()
        with piped(p, slave) as d:
            kept = bytearray()
            wait_for(lambda: b"failed" in take(master, kept), "a line", 30)
            termios.tcflow(slave, termios.TCOOFF)
            n = len(p.runs())
            wait_for(lambda: len(p.runs()) > n + 200, "runs while it is stopped", 60)
            take(master, kept)
            later = bytearray()
            termios.tcflow(slave, termios.TCOON)
            wait_for(lambda: take(master, later).count(b"failed") > 100, "what waited", 60)
            assert d.stop() == 0
        os.close(slave)
        os.close(master)


def test_log_to_a_socket():
    """a stream socket as the log, as journald gives: never blocked, and shown when read again"""
    with project() as p:
        for i in range(20):
            p.script(f"s{i}.lua", simple('  error(("x"):rep(480))', schedule="@every 1s"))
        ours, its = socket.socketpair()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with piped(p, its) as d:
            its.close()
            wait_for(lambda: len(p.runs()) > 300, "runs while nobody reads", 60)
            kept = bytearray()
            wait_for(lambda: take(ours.fileno(), kept).count(b" failed ") > 100, "the lines", 60)
            assert d.stop() == 0
        ours.close()


def test_json_lines():
    """--log-format json: one object a line with time, level and msg, also for hostile text; runs with fields"""
    with project() as p:
        hostile = r'line\nbreak \"quote\" \27[31m \0 \255\254 \u{202e} {\"level\":\"error\"}'
        p.script("bad.lua", simple(f'  error("{hostile}")', schedule="@every 1s"))
        p.script("good.lua", simple(f'  EventReporter():report{{ title = "Tab\\tand \\"quote\\"", message = "m", '
                                    'status = "warning" }', schedule="@every 1s"))
        p.script("broken.lua", 'monitor{ title = "x" }\nfunction run() return "\\q" end')
        d = p.daemon("--log-format", "json", "inspections/")
        wait_for(lambda: d.err.count('"bad.run"') > 1 and d.err.count('"good.run"') > 1, "runs in the log", 30)
        assert d.stop() == 0 and d.out == "", d.out
        lines = [json.loads(line) for line in d.err.splitlines()]
        assert all({"time", "level", "msg"} <= set(line) for line in lines), lines
        assert all(isinstance(line["msg"], str) and line["level"] in ("debug", "info", "warning", "error")
                   and "\n" not in line["msg"] and "\x1b" not in line["msg"] for line in lines), lines
        bad = next(line for line in lines if line.get("id") == "bad.run")
        assert bad["outcome"] == "failed" and bad["run"] and bad["seconds"] >= 0 and "line" in bad["msg"], bad
        good = next(line for line in lines if line.get("id") == "good.run")
        assert good["outcome"] == "ok" and good["events"] == 1 and good["worst"] == "warning", good
        assert 'and "quote"' in good["msg"], good
        assert any("broken.lua" in line["msg"] and line["level"] == "error" for line in lines), lines


# ------------------------------------------------------------------------------------ few descriptors

def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limited(p, files):
    """A daemon that may have so many files open."""
    return subprocess.Popen(["prlimit", f"--nofile={files}", BINARY, "run", "inspections/"], cwd=p.dir,
                            env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def test_few_files():
    """64 open files: said what is lowered; more connections than fit: no busy loop, runs in time, back after"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 16 }")
        for i in range(5):
            p.script(f"s{i}.lua", OFTEN)
        d = limited(p, 64)
        try:
            wait_for(lambda: len(p.runs()) > 5, "runs", 30)
            path = str(p.dir / ".selfmon" / "control.sock")
            peers = []
            for _ in range(100):
                one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                one.settimeout(0.2)
                with contextlib.suppress(OSError):
                    one.connect(path)
                peers.append(one)
            before, begin = cpu_seconds(d.pid), time.monotonic()
            time.sleep(2)
            spent = (cpu_seconds(d.pid) - before) / (time.monotonic() - begin)
            assert spent < 0.5, spent
            for one in peers:
                one.close()
            count = wait_for(lambda: len(p.runs("--id", "s1.run")), "an answer again", 30)
            wait_for(lambda: len(p.runs("--id", "s1.run")) > count + 2, "runs after it", 30)
            starts = sorted(r["slot"] for r in p.runs("--id", "s1.run") if r["slot"])
            gaps = [r for r in p.runs("--id", "s1.run") if r["outcome"] not in ("ok",)]
            assert len(starts) >= 4 and not gaps, gaps
        finally:
            d.send_signal(signal.SIGTERM)
            assert d.wait(timeout=30) == 0
        text = d.stderr.read().decode()
        assert "warning: workers is lowered from 16 to 6: at most 64 files may be open at once" in text, text
        assert "LimitNOFILE=" in text and text.count("workers is lowered") == 1, text
        d.stderr.close()


def test_too_few_files():
    """fewer open files than the least: one sentence that names the limit, exit 1"""
    with project() as p:
        p.script("a.lua", OFTEN)
        for files in (40, 50):
            d = limited(p, files)
            text = d.communicate(timeout=30)[1].decode()
            assert d.returncode == 1, text
            assert f"at most {files} files may be open at once, at least 56 are needed" in text, text
            assert len(text.strip().splitlines()) == 1, text


if __name__ == "__main__":
    run_all(globals())
