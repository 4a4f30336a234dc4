"""/healthz, /ready and /metrics of a running daemon: what they say, what Prometheus makes of it, and that nobody
can hold them up."""
import contextlib
import http.client
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import project, report, run_all, simple, wait_for

LINE = re.compile(r"health and metrics: http://(\[::1\]|[\d.]+):(\d+)/healthz")
PING = "GET /healthz HTTP/1.1\r\nHost: x\r\n"


def address_of(daemon):
    """Where it listens, from its log."""
    def find():
        assert daemon.process.poll() is None, daemon.out + daemon.err
        return LINE.search(daemon.err)
    found = wait_for(find, "the line with the address", 30)
    return found.group(1).strip("[]"), int(found.group(2))


def get(at, path="/healthz", method="GET", timeout=20):
    link = http.client.HTTPConnection(*at, timeout=timeout)
    try:
        link.request(method, path)
        answer = link.getresponse()
        return answer.status, answer.read().decode(), answer
    finally:
        link.close()


def raw(at, text):
    """Sends bytes; the first line of the answer ("" when it was closed without one)."""
    with socket.create_connection(at, timeout=20) as s:
        s.sendall(text.encode("latin-1"))
        got = b""
        while b"\r\n" not in got:
            more = s.recv(4096)
            if not more:
                break
            got += more
        return got.split(b"\r\n")[0].decode()


def metrics(at):
    """{series: value} of /metrics."""
    status, text, _ = get(at, "/metrics")
    assert status == 200, text
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
            if not line.startswith("#")}


@contextlib.contextmanager
def serving(*scripts, address="127.0.0.1:0", env=None):
    with project() as p:
        for name, text in scripts or (("a.lua", simple(report(), schedule="@every 1s")),):
            p.script(name, text)
        daemon = p.daemon(env={"SELFMON_HEALTH_LISTEN": address, **(env or {})})
        at = address_of(daemon)
        wait_for(lambda: get(at, "/ready")[0] == 200, "ready", 30)
        yield p, daemon, at


def test_pages():
    """/healthz and /ready say ok and no more; others are 404, other methods 405; HEAD has no body"""
    with serving() as (_, daemon, at):
        for path in ("/healthz", "/ready", "/healthz?verbose=1"):
            status, text, answer = get(at, path)
            assert (status, text) == (200, "ok\n"), (path, status, text)
            assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
            assert answer.getheader("Cache-Control") == "no-store"
        status, text, answer = get(at, "/healthz", "HEAD")
        assert (status, text, answer.getheader("Content-Length")) == (200, "", "3")
        for path in ("/", "/nope", "/healthz/", "/Healthz", "/health%7a", "/..", "/metrics/../healthz"):
            assert get(at, path)[0] == 404, path
        for method in ("DELETE", "OPTIONS", "PUT", "POST", "BREW"):
            status, _, answer = get(at, "/healthz", method)
            assert status == 405 and answer.getheader("Allow") == "GET, HEAD", (method, status)
        status, text, answer = get(at, "/metrics")
        assert status == 200 and answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        assert daemon.stop() == 0


def test_ipv6():
    """an IPv6 address is listened on, from the configuration file"""
    with project() as p:
        p.script("a.lua", simple())
        p.write("selfmon.conf.lua", 'return { health_listen = "[::1]:0" }')
        daemon = p.daemon()
        at = address_of(daemon)
        assert at[0] == "::1" and get(at)[:2] == (200, "ok\n")


def test_nothing_without_being_asked():
    """without health_listen nothing listens"""
    with project() as p:
        p.script("a.lua", simple())
        daemon = p.daemon()
        daemon.wait_line("loaded 1 inspection", seconds=30)
        inodes = set()
        for fd in pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(fd))
        for table in ("tcp", "tcp6"):
            for line in pathlib.Path(f"/proc/{daemon.pid}/net/{table}").read_text().splitlines()[1:]:
                assert f"socket:[{line.split()[9]}]" not in inodes, line


def test_bad_addresses():
    """an address that is taken or no address: exit 78, one sentence, and nothing stays behind"""
    with project() as p, socket.create_server(("127.0.0.1", 0)) as held:
        p.script("a.lua", simple())
        taken = f"127.0.0.1:{held.getsockname()[1]}"
        done = p.run("run", env={"SELFMON_HEALTH_LISTEN": taken})
        assert done.code == 78 and f"health_listen: cannot listen on {taken}: Address already in use" in done.err, done
        assert len([line for line in done.err.splitlines() if "health_listen" in line]) == 1, done
        done = p.run("run", env={"SELFMON_HEALTH_LISTEN": "203.0.113.1:1"})
        assert done.code == 78 and "203.0.113.1:1: Cannot assign" in done.err, done
        for bad in (":9090", "9090", "example.com:80", "127.0.0.1:99999"):
            done = p.run("run", env={"SELFMON_HEALTH_LISTEN": bad})
            assert done.code == 78 and "SELFMON_HEALTH_LISTEN: expected an address such as" in done.err, done
            assert f'"{bad}"' in done.err, done
        p.write("selfmon.conf.lua", "return {\n  health_listen = 9090 }")
        done = p.run("run")
        assert done.code == 78 and "selfmon.conf.lua:2: health_listen: expected" in done.err, done


def test_promtool_and_counts():
    """promtool finds nothing wrong with /metrics; runs, events and files that do not load are counted"""
    with serving(("a.lua", simple(report(), schedule="@every 1s")),
                 ("b.lua", simple('  error("no")', schedule="@every 1s"))) as (p, daemon, at):
        wait_for(lambda: metrics(at)['selfmon_runs_total{outcome="ok"}'] >= 2, "two good runs", 30)
        p.script("c.lua", "monitor{ title = ")
        p.script("a.lua", "nonsense")
        wait_for(lambda: metrics(at)["selfmon_load_errors"] == 2, "two files that do not load", 30)
        now = metrics(at)
        assert now['selfmon_runs_total{outcome="failed"}'] >= 1, now
        assert now["selfmon_run_duration_seconds_count"] >= 3 and now["selfmon_run_cpu_seconds_total"] > 0, now
        assert now['selfmon_run_duration_seconds_bucket{le="+Inf"}'] == now["selfmon_run_duration_seconds_count"]
        assert now["selfmon_events_reported_total"] >= 2, now
        assert 1 <= now["selfmon_run_lateness_seconds_count"] <= now["selfmon_run_duration_seconds_count"], now
        assert now['selfmon_run_lateness_seconds_bucket{le="30"}'] >= 1, now
        assert now["selfmon_scripts_stale"] == 1 and now["selfmon_inspections"] == 2, now
        assert now["selfmon_reload_failures_total"] == 2 and now["selfmon_reloads_total"] >= 1, now
        assert now['selfmon_workers{state="ready"}'] >= 1 and now["selfmon_process_resident_memory_bytes"] > 1e6, now
        assert now["selfmon_process_open_fds"] > 5 and now["selfmon_store_size_bytes"] > 4096, now
        assert now["selfmon_log_lines_dropped_total"] == 0, now
        assert now["selfmon_healthy"] == now["selfmon_ready"] == now["selfmon_store_healthy"] == 1, now
        assert abs(now["selfmon_process_start_time_seconds"] - time.time()) < 600, now
        wait_for(lambda: metrics(at)['selfmon_deliveries_total{verdict="delivered"}'] >= 2, "deliveries", 30)
        text = get(at, "/metrics")[1]
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and not done.stdout + done.stderr, done
        named = re.findall(r"^# TYPE (\S+)", text, re.M)
        assert len(named) == len(set(named)), "a metric is there twice"
        for name in named:
            assert re.search(rf"^# HELP {name} \S.*\.$", text, re.M), name
        series = re.findall(r"^([^#\s]+) ", text, re.M)
        assert len(series) == len(set(series)), "a series is there twice"
        assert not any("a.run" in s or "b.run" in s for s in series), "a series for an inspection"
        documented = (pathlib.Path(__file__).parents[2] / "docs/metrics.md").read_text()
        missing = [n for n in named if f"`{n}`" not in documented]
        assert not missing, missing


def test_missed_and_skipped_slots():
    """slots that passed while it was stopped or while the last run went on are counted"""
    slow = "  local t = os.clock()\n  while os.clock() - t < 2.5 do end"
    with serving(("a.lua", simple(schedule="@every 1s")), ("b.lua", simple(slow, schedule="@every 1s"))) as (_, d, at):
        wait_for(lambda: metrics(at)['selfmon_runs_total{outcome="skipped"}'] >= 1, "a skipped slot", 60)
        d.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 6, "six seconds", 10)
        d.process.send_signal(signal.SIGCONT)
        wait_for(lambda: metrics(at)['selfmon_runs_total{outcome="missed"}'] >= 3, "missed slots", 60)
        assert get(at)[0] == 200


def test_prometheus_scrapes():
    """a Prometheus server scrapes it and answers a query about it"""
    if not shutil.which("prometheus"):
        raise AssertionError("prometheus is missing: see vendor/packages-test.txt")
    with serving() as (p, _, at), socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        p.write("prometheus.yml", "global: { scrape_interval: 1s }\nscrape_configs:\n"
                f"- job_name: selfmon\n  static_configs: [ {{ targets: [ '127.0.0.1:{at[1]}' ] }} ]\n")
        with open(p.dir / "prometheus.log", "w") as log:
            server = subprocess.Popen(["prometheus", f"--config.file={p.dir}/prometheus.yml",
                                       f"--storage.tsdb.path={p.dir}/tsdb",
                                       f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            def query():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    status, text, _ = get(("127.0.0.1", port), "/api/v1/query?query=selfmon_runs_total", timeout=5)
                    return status == 200 and '"outcome":"ok"' in text and text
                assert server.poll() is None, (p.dir / "prometheus.log").read_text()
                return None
            text = wait_for(query, "an answer of Prometheus", 60)
            assert '"job":"selfmon"' in text, text
            assert '"value":[' in get(("127.0.0.1", port), "/api/v1/query?query=up==1")[1]
        finally:
            server.terminate()
            server.wait(timeout=30)


def test_strict():
    """bodies, two lengths, two hosts, absolute targets and long headers are refused"""
    rows = [
        (PING + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (PING + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (PING + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        (PING + "Content-Length: +3\r\n\r\nabc", 400),
        (PING + "Content-Length: -3\r\n\r\n", 400),
        (PING + "Content-Length: 3\r\n\r\nabc", 413),
        (PING + "Content-Length: 1000000\r\n\r\nabc", 413),
        (PING + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (PING.replace("GET", "POST") + "Content-Length: 3\r\n\r\nabc", 413),
        (PING.replace("GET", "POST") + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", 413),
        (PING + "Host: y\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        ("GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /healthz HTTP/7.3\r\nHost: x\r\n\r\n", 505),
        (PING + f"A: {'b' * 15000}\r\n\r\n", 200),
        (PING + f"A: {'b' * 17000}\r\n\r\n", 431),
        (PING + f"A: {'b' * 100000}\r\n\r\n", 431),
        (PING + "A: b\r\n" * 5000 + "\r\n", 431),
        (f"GET /{'a' * 17000} HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (PING + "Content-Length: 0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
    ]
    with serving() as (_, daemon, at):
        for text, status in rows:
            with contextlib.suppress(ConnectionResetError):  # what it does not read may cost its answer
                line = raw(at, text)
                assert line.split(" ")[1:2] == [str(status)], (text[:200], status, line)
        assert raw(at, "\x16\x03\x01\x02\x00\x01\r\n\r\n") == ""
        assert get(at)[0] == 200
        assert daemon.process.poll() is None


def test_a_hundred_requests():
    """a connection is kept for a hundred requests, pipelined or not, and closed with the last"""
    with serving() as (_, _, at):
        link = http.client.HTTPConnection(*at, timeout=20)
        for n in range(1, 101):
            link.request("GET", "/healthz")
            answer = link.getresponse()
            answer.read()
            assert answer.status == 200 and (answer.getheader("Connection") == "close") == (n == 100), n
        with socket.create_connection(at, timeout=20) as s:
            s.sendall((PING + "\r\n").encode() * 99 + (PING + "Connection: close\r\n\r\n").encode())
            got = b""
            while more := s.recv(65536):
                got += more
            assert got.count(b"HTTP/1.1 200 OK") == 100, got.count(b"HTTP/1.1 200 OK")


def test_slow_clients():
    """200 clients that never finish their header: probes are answered, runs go on, all are closed after 10 s"""
    with serving() as (_, daemon, at):
        before = metrics(at)['selfmon_runs_total{outcome="ok"}']
        slow = [socket.create_connection(at, timeout=30) for _ in range(200)]
        began = time.monotonic()
        for s in slow:
            with contextlib.suppress(OSError):  # closed already: it made room
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: ")
        for _ in range(50):
            asked = time.monotonic()
            assert get(at)[:2] == (200, "ok\n") and get(at, "/ready")[0] == 200
            assert time.monotonic() - asked < 5, "a probe waited for slow clients"
        assert metrics(at)["selfmon_process_open_fds"] < 160, "more than 64 connections"

        def trickle():
            """One byte now and then does not help them."""
            left = 0
            for s in slow:
                try:
                    s.setblocking(False)
                    s.send(b"b")
                    if s.recv(1) == b"":
                        continue
                except BlockingIOError:
                    pass
                except OSError:
                    continue
                left += 1
            return left == 0
        wait_for(trickle, "every slow client is closed", 60)
        took = time.monotonic() - began
        assert took > 5, f"closed after {took:.1f} s: too early for the header's 10 s"
        after = metrics(at)['selfmon_runs_total{outcome="ok"}']
        assert after - before >= took / 2, f"{after - before} runs of @every 1s in {took:.0f} s"
        for s in slow:
            s.close()
        assert get(at)[0] == 200 and daemon.stop() == 0


def test_clients_that_do_not_read():
    """clients that do not read their answers, and thousands that connect and leave, do no harm"""
    with serving() as (_, daemon, at):
        deaf = []
        for _ in range(30):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.connect(at)
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(60):
                    s.send(PING.replace("/healthz", "/metrics").encode() + b"\r\n")
            deaf.append(s)
        for n in range(3000):
            s = socket.create_connection(at, timeout=20)
            if n % 3 == 0:
                s.sendall(b"GET /")
            s.close()
            if n % 500 == 0:
                assert get(at)[0] == 200
        assert get(at)[0] == 200
        for s in deaf:
            s.close()
        wait_for(lambda: metrics(at)["selfmon_process_open_fds"] < 60, "the connections are gone", 60)
        assert daemon.stop() == 0


def test_no_descriptors_left():
    """without file descriptors the oldest idle connection makes room: probes are answered, and nothing spins"""
    with serving() as (_, daemon, at):
        held = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        old = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (held + 3, old[1]))
        idle = [socket.create_connection(at, timeout=20) for _ in range(60)]
        for _ in range(20):
            asked = time.monotonic()
            assert get(at)[0] == 200
            assert time.monotonic() - asked < 5, "it waited for idle connections"

        def cpu():
            return sum(map(int, pathlib.Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        before, began = cpu(), time.monotonic()
        wait_for(lambda: time.monotonic() - began > 3, "three seconds", 5)
        assert cpu() - before < 100, f"{(cpu() - before) / 100} s of CPU in 3 s"
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, old)
        for s in idle:
            s.close()
        assert get(at)[0] == 200 and daemon.stop() == 0


def test_stop():
    """while it stops /ready is 503 and /healthz still ok; then nothing listens, and the port is free"""
    slow = "  local function f() end local t = os.clock()\n  while os.clock() - t < 3 do f() end"
    with serving(("a.lua", simple(slow, schedule="@every 1s"))) as (p, daemon, at):
        wait_for(lambda: metrics(at)["selfmon_runs_running"] >= 1, "a run under way", 30)
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: get(at, "/ready")[:2] == (503, "not ok\n"), "not ready while it stops", 10)
        assert get(at)[:2] == (200, "ok\n")
        assert daemon.process.wait(timeout=30) == 0
        try:
            get(at)
            raise AssertionError("it still answers")
        except ConnectionRefusedError:
            pass
        again = p.daemon(env={"SELFMON_HEALTH_LISTEN": f"127.0.0.1:{at[1]}"})
        assert address_of(again) == at


def test_not_ready_while_it_starts():
    """while scripts load, /ready is 503 and /healthz ok"""
    loads = 'local t = os.clock()\nwhile os.clock() - t < 1.5 do end\n'
    with project() as p:
        p.script("a.lua", loads + simple())
        daemon = p.daemon(env={"SELFMON_HEALTH_LISTEN": "127.0.0.1:0"})
        at = address_of(daemon)
        assert get(at, "/ready")[:2] == (503, "not ok\n")
        assert get(at)[:2] == (200, "ok\n")
        wait_for(lambda: get(at, "/ready")[0] == 200, "ready", 30)


def test_store_that_hangs():
    """a store that does not answer for 5 s: /healthz and /ready are 503, pages and metrics go on, it recovers"""
    with serving() as (_, daemon, at):
        tracer = subprocess.Popen(["strace", "-f", "-qqq", "-o", os.devnull, "-e", "trace=fstatfs", "-e",
                                   "inject=fstatfs:delay_enter=30000000", "-p", str(daemon.pid)])
        try:
            wait_for(lambda: get(at)[:2] == (503, "not ok\n"), "not healthy", 30)
            assert get(at, "/ready")[0] == 503
            wait_for(lambda: metrics(at)["selfmon_healthy"] == 0, "the metric says so, too", 10)
            assert metrics(at)["selfmon_store_ping_seconds"] > 5
        finally:
            tracer.send_signal(signal.SIGTERM)
            tracer.wait(timeout=60)
        wait_for(lambda: get(at)[0] == 200 and get(at, "/ready")[0] == 200, "healthy again", 60)
        assert daemon.stop() == 0


def test_store_that_is_full():
    """a store that takes no events (limits.min_free): not ready, but alive"""
    with project() as p:
        p.script("a.lua", simple(report()))
        conf = p.write("selfmon.conf.lua", 'return { limits = { min_free = "1TiB" } }')
        daemon = p.daemon(env={"SELFMON_HEALTH_LISTEN": "127.0.0.1:0"})
        at = address_of(daemon)
        daemon.wait_line("loaded 1 inspection", seconds=30)
        wait_for(lambda: metrics(at)["selfmon_store_healthy"] == 0, "the store refuses events", 30)
        assert get(at)[0] == 200 and get(at, "/ready")[0] == 503
        conf.unlink()
        assert daemon.stop() == 0


def test_disk_that_is_full():
    """a write that fails for want of room: not ready; an idle daemon notices by itself that there is room again"""
    if os.getuid() != 0:
        print("ok - a full disk # SKIP needs root to mount")
        return
    disk = pathlib.Path(tempfile.mkdtemp(prefix="selfmon-tmpfs-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", disk], check=True)
    try:
        with project() as p:
            p.write("selfmon.conf.lua", 'return { limits = { min_free = "0" } }')
            p.script("a.lua", simple('  for i = 1, 100 do EventReporter():report{ title = "t", status = "error", '
                                   'message = ("x"):rep(50000), dimension_tags = { i = i } } end'))
            state = ("--state-dir", str(disk / "state"))
            daemon = p.daemon(*state, "inspections/", env={"SELFMON_HEALTH_LISTEN": "127.0.0.1:0"})
            at = address_of(daemon)
            wait_for(lambda: get(at, "/ready")[0] == 200, "ready", 30)
            wait_for(lambda: metrics(at)['selfmon_runs_total{outcome="ok"}'] == 1, "the first run", 30)
            with open(disk / "ballast", "wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(b"\0" * 4096)

            def refused():
                p.run("run", "--once", *state, "--drain", "0", "inspections/")
                return get(at, "/ready")[0] == 503
            wait_for(refused, "not ready", 60)
            assert get(at)[0] == 200, "full is not dead"
            why = p.run("status", "--json", *state).json()["process"]["not_ready"]
            assert why.startswith("outbox is full: no space left"), why
            text = p.run("status", *state).out
            assert "not ready" in text and "store refuses events:  outbox is full" in text, text
            (disk / "ballast").unlink()
            wait_for(lambda: get(at, "/ready")[0] == 200, "ready again, without anybody writing", 60)
            assert daemon.stop() == 0
    finally:
        subprocess.run(["umount", "-l", disk], check=False)
        disk.rmdir()


if __name__ == "__main__":
    run_all(globals())
