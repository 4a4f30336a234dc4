"""Harness of the end-to-end tests: projects in temporary directories, the real binary, TAP on standard
output.

A test is a function named test_…; run_all() runs those of a module, one TAP line each. Nothing here
sleeps longer than a poll step, and every process a test starts is ended by its own pid.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = os.environ.get("SELFMON_LUA", str(ROOT / "build" / "selfmon-lua"))
STEP = 0.02


def clean_env(**more):
    """The environment without anything of ours or of proxies."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("SELFMON_") and k.lower() not in ("http_proxy", "https_proxy", "no_proxy")}
    env.update(more)
    return env


def sanitized():
    """Whether the program is built with the address sanitizer, which keeps what was freed for a while."""
    return b"__asan_init" in pathlib.Path(BINARY).read_bytes()


def wait_for(condition, what, seconds=15):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(STEP)


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


class Done:
    """What a command printed and its exit code."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Daemon:
    """A running `selfmon-lua run`; its output is collected in files."""

    def __init__(self, project, args, env):
        self.project = project
        self.out_path = project.dir / f"daemon.{len(project.daemons)}.out"
        self.err_path = project.dir / f"daemon.{len(project.daemons)}.err"
        with open(self.out_path, "w") as out, open(self.err_path, "w") as err:
            self.process = subprocess.Popen([BINARY, "run", *args], cwd=project.dir, env=env, stdout=out,
                                            stderr=err, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    def wait_line(self, *words, seconds=15):
        """Waits for a line of its output that holds all the words; returns it."""
        def find():
            if self.process.poll() is not None and not any(
                    all(w in line for w in words) for line in self.out.splitlines()):
                raise AssertionError(f"the daemon ended ({self.process.returncode}):\n{self.out}{self.err}")
            return next((line for line in self.out.splitlines() if all(w in line for w in words)), None)
        try:
            return wait_for(find, f"a line with {words}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- out\n{self.out}\n--- err\n{self.err}") from None

    def stop(self, number=signal.SIGTERM, seconds=20):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Project:
    """An empty project directory with `inspections/`."""

    def __init__(self, base=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="selfmon-e2e-", dir=base))
        self.daemons = []
        (self.dir / "inspections").mkdir()

    def write(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def script(self, name, text):
        """Writes an inspection by renaming a whole file over it, as editors do."""
        path = self.dir / "inspections" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text)
        new.rename(path)
        return path

    def run(self, *args, env=None, timeout=90, cwd=None):
        done = subprocess.run([BINARY, *args], cwd=cwd or self.dir, env=clean_env(**(env or {})),
                              capture_output=True, text=True, timeout=timeout, errors="replace",
                              stdin=subprocess.DEVNULL)
        return Done(done.returncode, done.stdout, done.stderr)

    def once(self, *args, **kw):
        return self.run("run", "--once", *args, "inspections/", **kw)

    def daemon(self, *args, env=None):
        daemon = Daemon(self, args or ("inspections/",), clean_env(**(env or {})))
        self.daemons.append(daemon)
        return daemon

    def events(self, *args):
        done = self.run("events", "--json", *args)
        assert done.code == 0, done
        return done.json()

    def runs(self, *args):
        done = self.run("runs", "--json", *args)
        assert done.code == 0, done
        return done.json()

    def close(self):
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


@contextlib.contextmanager
def project(base=None):
    made = Project(base)
    try:
        yield made
    finally:
        made.close()


def workers_of(pid):
    """Pids of the worker processes of a daemon."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            line = (entry / "cmdline").read_bytes()
        except (OSError, IndexError, ValueError):
            continue
        if parent == pid and b"--worker" in line:
            found.append(int(entry.name))
    return found


SIMPLE = '''monitor{{ title = "{title}", schedule = "{schedule}" }}
function run(params)
{body}
end
'''


def simple(body="  return", title="Test", schedule="0 0 1 1 *"):
    """A script with one inspection `run`; due once a year unless told otherwise."""
    return SIMPLE.format(title=title, schedule=schedule, body=body)


def report(status="warning", title="Something", tags="{}"):
    return (f'  EventReporter():report{{ title = "{title}", message = "text", status = "{status}", '
            f'dimension_tags = {tags} }}')


def run_all(names):
    """Runs every test_ function of a module's globals(); exits 1 when one failed. Arguments: parts of the names
    of those to run, or =NAME for exactly one."""
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and callable(f)]
    only = sys.argv[1:]
    if only:
        tests = [t for t in tests if any(word in t[0] or word == "=" + t[0] for word in only)]
    bad = 0
    for number, (name, test) in enumerate(tests, 1):
        title = (test.__doc__ or name).strip().splitlines()[0]
        try:
            test()
            print(f"ok {number} - {title}", flush=True)
        except Skip as why:
            print(f"ok {number} - {title} # SKIP {why}", flush=True)
        except BaseException as error:  # a timeout or an assertion: both are failures of this test
            if isinstance(error, KeyboardInterrupt):
                raise
            bad += 1
            print(f"not ok {number} - {title}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    print(f"1..{len(tests)}")
    sys.exit(1 if bad else 0)
