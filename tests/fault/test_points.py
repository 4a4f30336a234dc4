"""One scenario of five events against a stand-in platform, broken at each Nth system call: kill -9, or an error.

Which points: every tenth of each call, the first one from the commit, so that commits together try all of them;
SELFMON_FAULT_EVERY=1 takes all, SELFMON_FAULT_OFFSET says where to begin. Counted a thread, as strace counts."""
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from faults import Oracle, five_checks, fresh_state, inject, integrity, producer  # noqa: E402
from harness import BINARY, ROOT, clean_env, run_all  # noqa: E402
from remote import shop  # noqa: E402

EVERY = int(os.environ.get("SELFMON_FAULT_EVERY", 10))
KILLS = ("pwrite64", "fdatasync,fsync", "write,sendto,sendmsg,writev", "rename,renameat,renameat2,unlink,unlinkat")
ERRORS = (("ENOSPC", "pwrite64,ftruncate,fallocate"), ("EIO", "pwrite64"), ("EIO", "fdatasync,fsync"),
          ("EMFILE", "openat,socket,accept4,pipe2,socketpair,eventfd2,dup"), ("ENOMEM", "mmap,brk"))


def commit():
    """The number of the commit; 0 outside of a repository."""
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    return int(done.stdout.strip() or "0", 16)


OFFSET = int(os.environ.get("SELFMON_FAULT_OFFSET", commit()))


class Scenario:
    """A used state directory, five events a run; what happens to a copy of it is judged by the platform."""

    def __init__(self, p, platform):
        self.p, self.platform = p, platform
        p.account('timeout = "5s"', "report_failures = false")
        with Oracle() as oracle:
            p.script("producer.lua", producer(oracle, 5))
            self.base = fresh_state(p, "template")
            done = self.once(self.base)
            assert done.code == 0, done
            integrity(self.base)

    def once(self, state):
        return self.p.run("run", "--once", "--state-dir", str(state), "inspections/")

    def count(self, call):
        """How often a thread of the scenario makes the call, at most."""
        state = fresh_state(self.p, "count", self.base)
        trace = self.p.dir / "trace"
        with Oracle() as oracle:
            self.p.script("producer.lua", producer(oracle, 5))
            done = subprocess.run(["strace", "-f", "-qqq", "-o", trace, "-e", "trace=" + call, BINARY, "run", "--once",
                                   "--state-dir", str(state), "inspections/"], cwd=self.p.dir,
                                  env=clean_env(**self.p.env), capture_output=True, timeout=120)
            assert done.returncode == 0 and len(oracle.acked) == 5, done
        shutil.rmtree(state)
        threads = collections.Counter(re.match(r"\d+ ", line).group() for line in trace.read_text(
            errors="replace").splitlines() if " resumed>" not in line and "(" in line)
        return max(threads.values(), default=0)

    def broken(self, rule, what):
        """The scenario under one rule, then without: the promise. Returns (exit code, events acknowledged before)."""
        self.platform.forget()
        state = fresh_state(self.p, "try", self.base)
        try:
            with Oracle() as oracle:
                self.p.script("producer.lua", producer(oracle, 5))
                code, out = inject(self.p, [rule], ["run", "--once", "--drain", "5", "inspections/"], state=state,
                                   timeout=90)
                loader = code == 127 and "error while loading shared libraries" in out  # not yet our program
                helper = code == 78 and "Cannot allocate memory" in out  # the reader of the configuration did not start
                assert code < 0 or code in (0, 1) or loader or helper, (what, code, out)
                integrity(state)
                before = len(oracle.acked)
                done = self.once(state)
                assert done.code == 0, (what, done)
                assert len(oracle.acked) >= before + 5, (what, "no fresh event", done)
                listed = self.p.run("events", "--json", "-n", "100000", "--state-dir", str(state))
                assert listed.code == 0, (what, listed)
                five_checks(oracle, listed.json(), self.platform.events, what)
                integrity(state)
                assert not list(state.glob("*.corrupt.*")), (what, "the database was moved aside")
                return code, before
        finally:
            shutil.rmtree(state, ignore_errors=True)


def points(scenario, call):
    """(points to try, how many there are)."""
    most = scenario.count(call)
    first = OFFSET % EVERY + 1
    return range(first, most + 1, EVERY) if first <= most else range(most, most + 1), most


def test_kills():
    """kill -9 at every tenth write, sync, message and rename of the program: nothing lost, nothing twice"""
    with shop() as (p, platform):
        scenario = Scenario(p, platform)
        for call in KILLS:
            tried, most = points(scenario, call)
            killed = acked = 0
            for n in tried:
                code, before = scenario.broken(f"{call}:signal=KILL:when={n}", f"kill at {call} number {n}")
                killed += code < 0
                acked += before
            print(f"# {call}: {len(tried)} points of {most}, {killed} kills of the daemon, {acked} events acknowledged "
                  "before them, lost 0", flush=True)
            assert killed or most < EVERY, call
        platform.check()


def test_errors():
    """ENOSPC, EIO, EMFILE and ENOMEM at every tenth call that can give them: nothing lost, nothing twice"""
    with shop() as (p, platform):
        scenario = Scenario(p, platform)
        for error, call in ERRORS:
            tried, most = points(scenario, call)
            codes = collections.Counter()
            for n in tried:
                code, _ = scenario.broken(f"{call}:error={error}:when={n}", f"{error} at {call} number {n}")
                codes[code] += 1
            said = ", ".join(f"{n} ended with {c}" if c >= 0 else f"{n} by signal {-c}" for c, n in sorted(codes.items()))
            print(f"# {error} at {call}: {len(tried)} points of {most}: {said}; lost 0", flush=True)
        platform.check()


if __name__ == "__main__":
    run_all(globals())
