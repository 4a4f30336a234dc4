"""Worker processes of a real daemon: what they may do, seen from outside and tried from inside; the PEM files
they get from the daemon; kernels that lack something."""
import contextlib
import errno
import os
import pathlib
import re
import socket
import ssl
import subprocess
import threading

from harness import BINARY, project, run_all, simple, wait_for, workers_of
import tracee

WITHOUT = pathlib.Path(BINARY).parent / "tests" / "tool_without"
SANITIZED = any(mark in pathlib.Path(BINARY).read_bytes() for mark in (b"__asan_init", b"__tsan_init"))
SLEEPS = simple('  print("here")\n  require "selfmon.time".sleep(50)').replace("schedule =", "timeout = 60, schedule =")


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {k: v.strip() for k, v in (line.split(":", 1) for line in text.splitlines())}


def limits_of(pid):
    text = pathlib.Path(f"/proc/{pid}/limits").read_text()
    return {m[1]: m[2] for m in re.finditer(r"^Max (.+?)\s{2,}(\S+)", text, re.M)}


def pool(p):
    done = p.run("status", "--json")
    return done.json()["workers"]["workers"] if done.code == 0 and done.json().get("daemon") else []


def busy(p):
    """Pid of the worker that runs a script."""
    return wait_for(lambda: next((w["pid"] for w in pool(p) if w["running"]), None), "a worker runs the script", 30)


def has_landlock():
    done = subprocess.run([BINARY, "doctor"], capture_output=True, text=True)
    return "Landlock" in done.stdout and "no Landlock" not in done.stdout


def test_seen_from_outside():
    """every live worker: filters, no new privileges, no capabilities, limits, no environment, few descriptors"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 2, runs_per_worker = 8, max_running = 100 }")
        p.script("s.lua", SLEEPS)
        d = p.daemon(env={"SELFMON_SECRET": "0123456789abcdef", "LD_LIBRARY_PATH": "/nowhere"})
        busy(p)
        wait_for(lambda: len(pool(p)) == 2, "both workers", 30)
        for pid in workers_of(d.pid):
            status, limits = status_of(pid), limits_of(pid)
            assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status
            assert all(int(status[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")), status
            assert os.geteuid() != 0 or int(status["CapBnd"], 16) == 0, status
            assert pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"
            assert limits["core file size"] == "0", limits
            assert int(limits["open files"]) <= 256 + 8 * 66 + 100, limits
            if not SANITIZED:
                assert limits["file size"] == "0", limits
                # 2 GiB, a burst of 64 answers of 8 MiB, 8 runs of 40 + 16 MiB, 100 stacks of 1.25 MiB
                assert int(limits["address space"]) == ((2048 + 512 + 8 * 56 + 125) << 20), limits
            assert limits["cpu time"] == "unlimited" and limits["processes"] != "0", limits
            if os.geteuid() == 0:
                assert not pathlib.Path(f"/proc/{pid}/environ").read_bytes().strip(b"\0")
                open_now = sorted(os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd"))
                assert len(open_now) <= 9, open_now
                assert not any("selfmon.db" in o or "inspections" in o for o in open_now), open_now
        assert "warning" not in d.out + d.err, d.out + d.err
        # Nobody of the same user looks into the daemon: what is not dumpable belongs to root.
        assert os.stat(f"/proc/{d.pid}/environ").st_uid == 0
        assert d.stop() == 0


def test_tried_from_inside():
    """system calls made in a live worker that runs a script: files, writing, exec, fork, ptrace, kill all fail"""
    why = tracee.can()
    if why:
        print(f"# not tried: {why}")
        return
    with project() as p:
        p.script("s.lua", SLEEPS)
        p.write("mine.txt", "mine")
        p.write("selfmon.conf.lua", "return {}")
        d = p.daemon()
        pid = busy(p)
        landlock = has_landlock()
        # x86-64: open 2, execve 59, fork 57, clone 56, ptrace 101, kill 62, socket 41, mount 165, unshare 272,
        # process_vm_readv 310, memfd_create 319, prctl 157, setrlimit 160, getpid 39
        def tries(pid):
            return [(39,), (2, "/proc/meminfo", 0), (2, "/etc/shadow", 0), (2, str(p.dir / "mine.txt"), 0),
                    (2, str(p.dir / "selfmon.conf.lua"), 0), (2, str(p.dir / "new"), os.O_CREAT | os.O_WRONLY, 0o600),
                    (59, "/bin/true", 0, 0), (57,), (56, 17, 0, 0, 0, 0), (101, 16, d.pid, 0, 0), (62, d.pid, 0),
                    (41, socket.AF_PACKET, socket.SOCK_RAW, 0), (41, socket.AF_UNIX, socket.SOCK_STREAM, 0),
                    (165, "none", "/mnt", "tmpfs", 0, 0), (272, 0x10000000), (310, d.pid, 0, 0, 0, 0, 0),
                    (319, "x", 0), (157, 4, 1), (39,)]
        got = tracee.calls(pid, tries(pid))
        denied = [-errno.EACCES] * 3 if landlock else got[2:5]
        assert got[0] == pid and got[-1] == pid, "the way of trying works"
        assert got[1] > 2, got
        assert got[2:5] == denied, got
        assert got[5] == -errno.EACCES and not (p.dir / "new").exists(), got
        assert got[6:11] == [-errno.EPERM] * 5, got
        assert got[11:13] == [-errno.EAFNOSUPPORT] * 2, got
        assert got[13:18] == [-errno.EPERM] * 5, got
        # The worker did not notice.
        assert busy(p) == pid and d.process.poll() is None
        assert d.stop() == 0


def test_no_worker_outlives_its_daemon():
    """workers die with a daemon that is killed, also those that run a script"""
    with project() as p:
        p.script("s.lua", SLEEPS)
        d = p.daemon()
        busy(p)
        pids = workers_of(d.pid)
        assert pids
        d.kill()

        def gone(pid):
            try:
                return status_of(pid)["State"].startswith("Z")
            except OSError:
                return True
        wait_for(lambda: all(gone(pid) for pid in pids), "the workers are gone", 20)


def test_a_worker_of_nobody():
    """a worker whose maker is not its parent any more ends at once, before it says hello"""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            # Between us, who made the pair, and the worker stands a shell: as if we were gone.
            shell = subprocess.Popen(["/bin/sh", "-c", '"$0" --worker; echo code $?', BINARY], stdout=subprocess.PIPE,
                                     preexec_fn=lambda: os.dup2(theirs.fileno(), 3), pass_fds=(3,))
        out = shell.communicate(timeout=60)[0]
        assert out == b"code 1\n", out
        ours.settimeout(10)
        assert ours.recv(100) == b"", "it said hello"


class MemoryGroup:
    """A cgroup with so much memory; None of it where this machine does not let us make one."""

    def __init__(self, limit):
        self.dir = None
        for base, bound in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            path = pathlib.Path(base) / f"selfmon-test-{os.getpid()}"
            try:
                path.mkdir()
                (path / bound).write_text(str(limit))
                (path / "cgroup.procs").write_text(str(os.getpid()))
                (path.parent / "cgroup.procs").write_text(str(os.getpid()))
            except OSError:
                with contextlib.suppress(OSError):
                    path.rmdir()
                continue
            self.dir, self.home = path, pathlib.Path(base)
            return

    def __enter__(self):
        (self.dir / "cgroup.procs").write_text(str(os.getpid()))
        return self

    def __exit__(self, *_):
        (self.home / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        def empty():
            try:
                self.dir.rmdir()
            except OSError:
                return False
            return True
        if self.dir:
            wait_for(empty, "the cgroup is empty")


def test_memory_runs_out():
    """when memory runs out the kernel ends the worker that took it, not the daemon; its script is `crashed`"""
    group = MemoryGroup(400 << 20)
    if not group.dir:
        print("# not tried: no cgroup can be made here")
        return
    try:
        with project() as p:
            p.write("selfmon.conf.lua", 'return { workers = 2, limits = { memory = "8GiB" } }')
            p.script("hog.lua", simple("""  local t = {}
  for i = 1, 1e6 do t[i] = ("x"):rep(1 << 20) .. i end"""))
            p.script("tick.lua", simple(schedule="@every 1s"))
            with group:
                d = p.daemon()

            def outcome():
                done = p.run("runs", "--id", "hog.run", "--json")
                return [r["outcome"] for r in done.json()] if done.code == 0 else []
            wait_for(lambda: "crashed" in outcome(), "the hog has crashed", 60)
            ticks = len(p.runs("--id", "tick.run"))
            wait_for(lambda: len(p.runs("--id", "tick.run")) > ticks + 1, "the other one goes on", 30)
            assert {r["outcome"] for r in p.runs("--id", "tick.run") if r["outcome"]} <= {"ok", "crashed"}
            assert d.process.poll() is None
            score = int(pathlib.Path(f"/proc/{d.pid}/oom_score_adj").read_text())
            assert score < 1000, "the daemon is not the first to go"
            assert d.stop() == 0, d.err
    finally:
        group.remove()


# ---- PEM files ----

def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


@contextlib.contextmanager
def https(folder):
    """An https server of ours that asks for a client certificate of the same CA; gives its port."""
    for name in ("ca", "client"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 10, "-subj",
                f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / f"{name}.key", "-out",
                folder / f"{name}.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "ca.key")
    context.load_verify_locations(folder / "client.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    listener = socket.create_server(("127.0.0.1", 0))

    def one(plain):
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
            who = tls.getpeercert()
            tls.recv(4096)
            text = dict(x[0] for x in who["subject"])["commonName"] if who else "nobody"
            tls.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def printed(p, body, **keys):
    """Runs a script body that prints; the texts by line."""
    extra = "".join(f", {k} = {v}" for k, v in keys.items())
    p.script("t.lua", f'monitor{{ title = "t", timeout = 30{extra} }}\nfunction run()\n'
                      f'  local http = require "selfmon.http"\n{body}\nend')
    done = p.once("--json")
    assert done.code == 0, done
    return [line["text"] for line in p.runs("--log")[-1]["log"] if line["level"] == "print"]


ASK = '''
  local function try(opts)
    local good, r, e = pcall(http.get, "https://localhost:%d/", opts)
    print(good and (r and r.body or e) or r)
  end
'''


def test_ca_file():
    """`ca` takes any file of certificates, though the worker cannot open it; no key, and nothing but PEM"""
    with project() as p, https(p.dir) as port:
        (p.dir / "both.pem").write_text((p.dir / "ca.crt").read_text() + (p.dir / "ca.key").read_text())
        (p.dir / "plain.txt").write_text("nothing of that kind: hunter2")
        (p.dir / "empty.pem").write_text("")
        (p.dir / "huge.pem").write_text("-----BEGIN CERTIFICATE-----\n" + "A" * (2 << 20))
        os.mkfifo(p.dir / "fifo")
        out = printed(p, ASK % port + "".join(f'  try{{ ca = "{p.dir}/{name}" }}\n' for name in (
            "ca.crt", "client.crt", "both.pem", "ca.key", "plain.txt", "empty.pem", "huge.pem", "fifo", "missing.pem"))
            + '  try{ ca = "/etc/shadow" }\n  try{ ca = "relative.pem" }')
        assert out[0] == "nobody", out
        assert "certificate" in out[1].lower(), out
        for n in (2, 3):
            assert 'option "ca"' in out[n] and "holds a private key: expected a file of certificates" in out[n], out
        assert "plain.txt is not a PEM file" in out[4] and "hunter2" not in out[4], out
        assert "empty.pem" in out[5] and "PEM" in out[5], out
        assert "longer than the limit" in out[6] and "fifo" in out[7], out
        assert "missing.pem" in out[8] and "No such file" in out[8], out
        assert "/etc/shadow" in out[9] and ("not a PEM file" in out[9] or "denied" in out[9].lower()), out
        assert "expected PEM text or an absolute path" in out[10], out


def test_cert_file():
    """`cert` takes a file that is granted to this inspection, and no other"""
    with project() as p, https(p.dir) as port:
        (p.dir / "keys").mkdir()
        (p.dir / "keys/me.pem").write_text((p.dir / "client.crt").read_text() + (p.dir / "client.key").read_text())
        (p.dir / "keys/list.txt").write_text("not for scripts")
        (p.dir / "other.pem").write_text((p.dir / "keys/me.pem").read_text())
        p.write("selfmon.conf.lua", f'return {{ grant = {{ ["t.*"] = {{ "file:{p.dir}/keys/**" }}, '
                                    f'["*"] = {{ "file:/etc/ssl/**" }} }} }}')
        ca = f'ca = "{p.dir}/ca.crt"'
        out = printed(p, ASK % port + "".join(f'  try{{ {ca}, cert = "{p.dir}/{name}" }}\n' for name in (
            "keys/me.pem", "other.pem", "keys/../other.pem", "keys/list.txt")),
            permissions=f'{{ "file:{p.dir}/keys/**" }}')
        assert out[0] == "client", out
        assert f'permission "file:{p.dir}/other.pem" is not granted to t.run' in out[1], out
        assert 'without ".."' in out[2], out
        assert "list.txt is not a PEM file" in out[3], out


def test_many_pem_files():
    """requests of many runs at once each get their file; a run that asks without end is told so"""
    with project() as p, https(p.dir) as port:
        for n in range(40):
            p.script(f"r{n}.lua", simple(f'  local http = require "selfmon.http"\n  for i = 1, 5 do\n    local r, e = '
                                         f'http.get("https://localhost:{port}/", {{ ca = "{p.dir}/ca.crt" }})\n'
                                         f'    assert(r and r.body == "nobody", e)\n  end'))
        done = p.once("--json", timeout=120)
        assert done.code == 0 and {i["outcome"] for i in done.json()} == {"ok"}, done
    with project() as p:
        (p.dir / "x.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        out = printed(p, f'''
  local n, last = 0
  repeat
    n = n + 1
    local good, e = pcall(http.get, "http://localhost:1/", {{ ca = "{p.dir}/x.pem", max_body = "x" }})
    last = tostring(e)
  until last:find("that is the most", 1, true) or n > 5000
  print(n, last)''')
        assert "2001" in out[0] and "2000 times: that is the most" in out[0], out


# ---- files that are replaced ----

def test_replaced_certificates():
    """a worker whose SSL_CERT_FILE was replaced is replaced too; the next run sees the new file"""
    if not has_landlock():
        print("# not tried: no Landlock here")
        return
    with project() as p, https(p.dir) as port:
        bundle = p.dir / "bundle.pem"
        bundle.write_text((p.dir / "client.crt").read_text())
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("t.lua", simple(f'  local r, e = require "selfmon.http".get("https://localhost:{port}/")\n'
                                 f'  print(r and r.body or "refused: " .. tostring(e))', schedule="@every 1s"))
        d = p.daemon(env={"SSL_CERT_FILE": str(bundle)})

        def last():
            done = p.run("runs", "--log", "--json")
            runs = [r for r in done.json() if r.get("log")] if done.code == 0 else []
            return runs[-1]["log"][-1]["text"] if runs else ""
        wait_for(lambda: last().startswith("refused"), "the old bundle does not know the server", 30)
        old = workers_of(d.pid)
        (p.dir / "bundle.new").write_text((p.dir / "ca.crt").read_text())
        (p.dir / "bundle.new").rename(bundle)
        wait_for(lambda: last() == "nobody", "the new bundle is used", 40)
        assert set(old) != set(workers_of(d.pid))
        assert "have changed" in d.out + d.err, d.out + d.err
        outcomes = {r["outcome"] for r in p.runs() if r["outcome"]}
        assert outcomes == {"ok"}, outcomes
        assert d.stop() == 0


# ---- kernels that lack something ----

def test_kernel_without():
    """a kernel or a container without Landlock or seccomp: one warning, doctor tells, and scripts run"""
    assert WITHOUT.exists(), f"{WITHOUT} is not built (target tool_without)"
    rows = [("ENOSYS", "landlock", "this kernel has no Landlock: scripts' processes can read files that they should not need"),
            ("EPERM", "landlock", "this kernel has no Landlock"), ("ENOSYS", "seccomp", "this kernel has no seccomp filters")]
    for number, what, sentence in rows:
        with project() as p:
            p.write("selfmon.conf.lua", "return { workers = 3 }")
            p.script("a.lua", simple('  print(require "selfmon.host".name())'))
            done = subprocess.run([WITHOUT, number, what, BINARY, "run", "--once", "inspections/"], cwd=p.dir,
                                  capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done
            assert (done.stdout + done.stderr).count(sentence) == 1, done
            done = subprocess.run([WITHOUT, number, what, BINARY, "doctor"], cwd=p.dir, capture_output=True, text=True,
                                  timeout=60)
            assert sentence in done.stdout, done
    with project() as p:
        p.script("a.lua", simple())
        done = p.run("doctor")
        assert all(word in done.out for word in ("Landlock", "seccomp", "no_new_privs")), done


run_all(globals())
