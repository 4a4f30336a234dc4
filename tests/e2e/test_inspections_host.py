"""What runs see of the machine's files and processes through the daemon, and the shipped inspections that use it."""
import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
import time

from harness import ROOT, Skip, project, run_all, simple, wait_for

LOGROTATE = shutil.which("logrotate", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
GRANT = 'return {{ grant = {{ ["**"] = {{ {} }} }} }}\n'


def grant(p, *permissions):
    p.write("selfmon.conf.lua", GRANT.format(", ".join(f'"{g}"' for g in permissions)))


def one(p, *args, **env):
    """Runs what is there once and returns the only run."""
    done = p.once("--json", *args, env=env)
    assert done.out and len(done.json()) == 1, done
    run = done.json()[0]
    run["err"] = done.err
    return run


SECRET = "hunter2-is-secret"
HEAD = '  local host = require "selfmon.host"\n'


def test_files_through_the_daemon():
    """stat, read, list and tail of a granted file, in a confined worker"""
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir()
        (logs / "a.log").write_text("one\ntwo\nthree\n")
        (logs / "big.bin").write_bytes(b"x" * (3 << 20))
        grant(p, f"file:{logs}/**")
        p.script("a.lua", simple(HEAD + f'''
  local dir = "{logs}"
  local s = assert(host.file.stat(dir .. "/a.log"))
  assert(s.size == 14 and s.type == "file" and s.uid == {os.getuid()})
  assert(host.file.read(dir .. "/a.log", {{ offset = 4, max = 3 }}) == "two")
  local text, more = host.file.read(dir .. "/big.bin", {{ max = 2 << 20 }})
  assert(#text == 2 << 20 and more)
  local list = assert(host.file.list(dir, {{ pattern = "*.log" }}))
  assert(#list == 1 and list[1].path == dir .. "/a.log")
  local t = assert(host.file.tail(dir .. "/a.log", {{ lines = 2 }}))
  assert(table.concat(t.lines, "+") == "two+three")
  local nothing, err, code = host.file.read(dir .. "/none")
  assert(nothing == nil and code == "not_found" and err:find("No such file", 1, true))'''))
        run = one(p)
        assert run["outcome"] == "ok", run


def test_what_is_not_granted():
    """without a grant the call raises and names the line to add; links, FIFOs and devices lead nowhere"""
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir()
        (p.dir / "secret.txt").write_text("secret\n")
        (logs / "out").symlink_to(p.dir / "secret.txt")
        (logs / "folder").symlink_to(p.dir)
        os.mkfifo(logs / "fifo")
        p.script("a.lua", simple(HEAD + f'  host.file.read("{p.dir}/secret.txt")'))
        run = one(p)
        assert run["outcome"] == "failed", run
        assert f'permission "file:{p.dir}/secret.txt" is not granted to a.run: add it to grant in selfmon.conf.lua' \
            in run["error"], run
        grant(p, f"file:{logs}/**")
        p.script("a.lua", simple(HEAD + f'''
  for _, name in ipairs {{ "out", "folder/secret.txt" }} do
    for _, op in ipairs {{ "read", "stat", "tail" }} do
      local nothing, err, code = host.file[op]("{logs}/" .. name)
      assert(nothing == nil and code == "denied" and err:find("which is not granted", 1, true), err)
    end
  end
  local nothing, err, code = host.file.list("{logs}/folder")
  assert(nothing == nil and code == "denied", err)
  nothing, err, code = host.file.read("{logs}/fifo")
  assert(nothing == nil and code == "invalid" and err:find("is a fifo", 1, true), err)
  assert(not pcall(host.file.read, "{logs}/../secret.txt"))'''))
        run = one(p)
        assert run["outcome"] == "ok", run


def test_processes_through_the_daemon():
    """a child of ours is seen, its command line only with permission and with secrets masked"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { secrets = { pw = { env = "PW" } }, '
                                    'grant = { ["with/*"] = { "secret:pw", "processes:cmdline" } } }')
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "--", "-p" + SECRET])
        try:
            p.script("without/a.lua", simple(HEAD + f'''
  local list = assert(host.processes{{ pid = {child.pid} }})
  assert(#list == 1 and list[1].name:find("python", 1, true) and list[1].ppid == {os.getpid()})
  assert(list[1].cmdline == nil and list[1].uid == {os.getuid()} and list[1].rss > 0)
  assert(math.abs(require "selfmon.time".now() - list[1].started) < 3600)
  assert(#assert(host.processes()) > 2)
  host.processes{{ cmdline = true }}'''))
            run = one(p, PW=SECRET)
            assert run["outcome"] == "failed", run
            assert 'a.lua:10: permission "processes:cmdline" is not granted to without/a.run' in run["error"], run
            (p.dir / "inspections/without/a.lua").unlink()
            p.script("with/a.lua", simple(HEAD + f'''
  local list = assert(host.processes{{ pid = {child.pid}, match = "time.sleep(600)" }})
  assert(#list == 1 and list[1].cmdline:find("-p***", 1, true), list[1] and list[1].cmdline)
  assert(#host.processes{{ match = "hunter2" }} == 0)'''))
            run = one(p, PW=SECRET)
            assert run["outcome"] == "ok", run
        finally:
            child.kill()
            child.wait()


def test_dry_run_sees_files_too():
    """--dry-run reads what is granted as well"""
    with project() as p:
        (p.dir / "x.txt").write_text("hello")
        grant(p, f"file:{p.dir}/x.txt")
        p.script("a.lua", simple(HEAD + f'  assert(host.file.read("{p.dir}/x.txt") == "hello")'))
        done = p.once("--dry-run")
        assert done.code == 0, done


@contextlib.contextmanager
def dead_disk(path):
    """A file system whose server never answers, until the function it gives is called."""
    libc = ctypes.CDLL(None, use_errno=True)
    path.mkdir()
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError as why:
        raise Skip(f"no FUSE here: {why}")
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"e2e", bytes(path), b"fuse", 0, options):
        os.close(server)
        raise Skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    open_ones = [server]

    def give_up():
        while open_ones:
            os.close(open_ones.pop())  # whoever waits gets an error
    try:
        yield give_up
    finally:
        give_up()
        libc.umount2(bytes(path), 2)


def test_dead_disk():
    """files on a disk that does not answer: other runs are told so, the daemon serves, and all is well afterwards"""
    with project() as p, dead_disk(p.dir / "dead") as give_up:
        (p.dir / "good").write_text("x")
        for name in "ab":
            p.script(f"{name}.lua", f'monitor{{ title = "{name}", schedule = "0 0 1 1 *", timeout = "120s" }}\n'
                     f'function run()\n  print(select(2, require "selfmon.host".file.read("{p.dir}/dead/x")))\nend\n')
        p.script("c.lua", 'monitor{ title = "c", schedule = "@every 1s", timeout = "2s" }\nfunction run()\n'
                 f'  local s, err = require "selfmon.host".file.stat("{p.dir}/good")\n  print(s and "all is well" or err)\n'
                 'end\n')
        grant(p, f"file:{p.dir}/**")
        daemon = p.daemon()

        def said(text, newer_than=0):
            return any(text in line["text"] for r in p.runs("--log")[newer_than:] for line in r["log"])
        busy = f"files cannot be read now: {p.dir}/dead/x has not answered for "
        wait_for(lambda: said(busy), "a sentence that names the disk", 60)
        before = len(p.runs())
        give_up()
        wait_for(lambda: said("all is well", before), "files that can be read again", 60)
        wait_for(lambda: said("cannot open"), "the end of those that waited", 60)
        assert daemon.stop() == 0


def ship(p, name, params, *permissions, schedule=None):
    """Copies a shipped inspection into the project, with parameters and grants in the configuration."""
    text = (ROOT / "inspections" / f"{name}.lua").read_text()
    p.script(f"{name}.lua", text)
    lua = {"params": params, "schedule": f'"{schedule}"' if schedule else None,
           "grant": "{ " + ", ".join(f'"{g}"' for g in permissions) + " }"}
    lines = [f'  {key} = {{ ["{name}.run"] = {value} }},' for key, value in lua.items() if value]
    p.write("selfmon.conf.lua", "return {\n" + "\n".join(lines) + "\n}\n")


def events_of(p, **dimension):
    """Stored events, oldest first, whose dimension holds these tags."""
    return [e for e in p.events("-n", "1000") if dimension.items() <= e["dimension_tags"].items()]


def counted(p):
    """Sum of the lines that log/pattern told of."""
    return sum(int(re.match(r"\*\*(\d+)\*\* of", e["message"]).group(1))
               for e in p.events("-n", "1000") if e["message"].startswith("**"))


def ran(p, outcome="ok"):
    run = one(p)
    assert run["outcome"] == outcome, run
    return run["events"]


def test_log_rotated_between_runs():
    """log/pattern with one state directory: each line once through rename, copytruncate, late lines; recovery"""
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir()
        log = logs / "app.log"
        ship(p, "log/pattern", f'{{ paths = {{ "{log}" }}, critical = {{ "FATAL" }} }}', f"file:{logs}/app.log*")
        log.write_text("FATAL of the past\n")
        assert ran(p) == 0
        written = 0

        def write(count, to=None, tail="\n"):
            nonlocal written
            with open(to or log, "a") as f:
                for _ in range(count):
                    written += 1
                    f.write(f"line {written} FATAL" + tail)

        write(3)
        assert ran(p) == 1
        assert counted(p) == 3
        assert ran(p) == 0
        assert [e["status"] for e in events_of(p, path=str(log))] == ["critical", "ok"], p.events()
        # Renamed; the program goes on writing into the old file until it is told.
        write(2)
        log.rename(logs / "app.log.1")
        write(1, logs / "app.log.1")
        write(4)
        ran(p)
        assert counted(p) == written == 10
        write(2, logs / "app.log.1")
        ran(p)
        assert counted(p) == written == 12
        # Copied and emptied, then longer than before.
        write(1)
        shutil.copyfile(log, logs / "app.log-20261123")
        os.truncate(log, 0)
        write(30)
        ran(p)
        assert counted(p) == written == 43
        # Twice between two runs, and half a line at the end.
        write(2)
        (logs / "app.log.1").rename(logs / "app.log.2")
        log.rename(logs / "app.log.1")
        write(2)
        (logs / "app.log.2").rename(logs / "app.log.3")
        (logs / "app.log.1").rename(logs / "app.log.2")
        log.rename(logs / "app.log.1")
        write(1, tail="")
        ran(p)
        assert counted(p) == 47 and written == 48
        with open(log, "a") as f:
            f.write(" and its end\n")
        ran(p)
        assert counted(p) == written == 48
        assert ran(p) == 0
        assert events_of(p, path=str(log))[-1]["status"] == "ok"


def test_log_written_and_rotated_under_a_daemon():
    """log/pattern in a daemon while a program writes and the log is rotated both ways: each line once"""
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir()
        log = logs / "app.log"
        log.write_text("")
        ship(p, "log/pattern", f'{{ paths = {{ "{log}" }}, critical = {{ "FATAL" }} }}', f"file:{logs}/app.log*",
             schedule="@every 1s")
        daemon = p.daemon()
        wait_for(lambda: p.runs(), "the first run", 30)
        state = {"written": 0, "stop": False, "file": open(log, "a", buffering=1)}
        lock = threading.Lock()

        def write():
            while not state["stop"]:
                with lock:
                    state["written"] += 1
                    state["file"].write(f"line {state['written']} FATAL\n")
                time.sleep(0.002)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(1, 7):
                before = counted(p)
                wait_for(lambda: counted(p) > before, "lines that are counted", 30)
                if number % 2:
                    log.rename(logs / f"app.log.{number}")
                    fresh = open(log, "a", buffering=1)
                    time.sleep(0.01)  # the program still writes into the old one
                    with lock:
                        state["file"].close()
                        state["file"] = fresh
                else:
                    with lock:  # what is written between copy and truncation is lost by definition
                        shutil.copyfile(log, logs / f"app.log.{number}")
                        os.truncate(log, 0)
        finally:
            state["stop"] = True
            writer.join()
        wait_for(lambda: counted(p) >= state["written"], "all lines", 30)
        runs = len(p.runs())
        wait_for(lambda: len(p.runs()) > runs + 1, "another run", 30)
        assert counted(p) == state["written"], (counted(p), state["written"])
        assert not [r for r in p.runs() if r["outcome"] != "ok"], p.runs()
        assert daemon.stop() == 0


def test_logrotate():
    """log/pattern beside the real logrotate, in every way it rotates; what it compresses at once is told"""
    if not LOGROTATE:
        raise Skip("logrotate is not installed")
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir(mode=0o755)
        log = logs / "app.log"
        log.write_text("")
        ship(p, "log/pattern", f'{{ paths = {{ "{log}" }}, critical = {{ "FATAL" }} }}', f"file:{logs}/app*")
        assert ran(p) == 0
        written = 0

        def write(count):
            nonlocal written
            with open(log, "a") as f:
                for _ in range(count):
                    written += 1
                    f.write(f"line {written} FATAL\n")

        def rotate(options):
            conf = p.write("logrotate.conf", f"{log} {{\n  rotate 5\n  {options}\n}}\n")
            conf.chmod(0o644)
            done = subprocess.run([LOGROTATE, "-f", "-s", p.dir / "logrotate.state", conf], capture_output=True, text=True)
            assert done.returncode == 0, done

        for options in ("create", "copytruncate", "dateext\n  dateformat -%s\n  compress\n  delaycompress\n  create",
                        "dateext\n  dateformat -%s\n  extension .log\n  create"):
            write(5)
            ran(p)
            write(4)
            rotate(options)
            write(3)
            ran(p)
            assert counted(p) == written, (options, counted(p), written, os.listdir(logs))
        write(2)
        rotate("compress\n  create")
        write(1)
        ran(p)
        assert counted(p) == written - 2, (counted(p), written)
        said = [line["text"] for line in p.runs("--log")[-1]["log"]]
        assert any("was not found: the rotated files beside it are compressed" in text for text in said), said


def test_file_age_in_both_states():
    """file/age: the newest backup too old, too small, gone; and the recovery"""
    with project() as p:
        backup = p.dir / "backup"
        backup.mkdir()
        ship(p, "file/age", f'{{ files = {{ "{backup}/db-*.tar" }}, min_size = 10 }}', f"file:{backup}/*")
        assert ran(p) == 1
        new = backup / "db-2.tar"
        new.write_text("x" * 20)
        ran(p)
        os.utime(new, (time.time() - 27 * 3600,) * 2)
        ran(p)
        (backup / "db-3.tar").write_text("tiny")
        ran(p)
        (backup / "db-3.tar").write_text("x" * 20)
        ran(p)
        told = [(e["dimension_tags"]["problem"], e["status"]) for e in events_of(p)]
        assert told[:3] == [("missing", "critical"), ("missing", "ok"), ("age", "warning")], told
        # The fresh file that is too small heals the age.
        assert sorted(told[3:5]) == [("age", "ok"), ("size", "critical")] and told[5:] == [("size", "ok")], told


def test_processes_in_both_states():
    """host/processes: a program that is there, that is gone, and that is there again"""
    with project() as p:
        ship(p, "host/processes", '{ names = { "sleep-of-e2e=1" }, zombies = 100000 }')
        program = p.dir / "sleep-of-e2e"
        shutil.copyfile(shutil.which("sleep"), program)
        program.chmod(0o755)
        assert ran(p) == 1
        child = subprocess.Popen([program, "600"])
        try:
            ran(p)
            told = [e["status"] for e in events_of(p, process="sleep-of-e2e")]
            assert told == ["critical", "ok"], told
        finally:
            child.kill()
            child.wait()
        assert ran(p) == 1
        assert events_of(p)[-1]["title"].endswith("0 of sleep-of-e2e run, expected exactly 1"), p.events()


def test_the_rest_on_this_machine():
    """disk, memory, load and cpu look at this machine; cpu sees a core that is kept busy"""
    with project() as p:
        for name in ("disk", "memory", "load", "cpu"):
            p.script(f"host/{name}.lua", (ROOT / f"inspections/host/{name}.lua").read_text())
        p.write("selfmon.conf.lua", 'return { params = { ["host/cpu.run"] = { seconds = 0.2, warning = 1, critical = 1 } } }')
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            done = p.once("--json")
        finally:
            busy.kill()
            busy.wait()
        assert [r["outcome"] for r in done.json()] == ["ok"] * 4, done


if __name__ == "__main__":
    run_all(globals())
