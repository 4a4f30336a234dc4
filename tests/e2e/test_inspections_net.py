"""The shipped inspections of the network against real servers, healthy, broken and healed, in a real daemon: a TCP
listener, dnsmasq, nginx with certificates of ours, sshd, redis-server, a time server. What was delivered counts."""
import contextlib
import json
import os
import pathlib
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

from harness import ROOT, Skip, project, run_all, wait_for

sys.path.insert(0, str(ROOT / "tests" / "fakes"))
from certificates import Authority  # noqa: E402


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def lua(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"[{json.dumps(k)}] = {lua(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "{ " + ", ".join(map(lua, value)) + " }"
    return json.dumps(value)


@contextlib.contextmanager
def inspection(function, params, more="", env=None):
    """A project with one shipped inspection, run each second; answers (project, statuses)."""
    path = function.rsplit(".", 1)[0]
    with project() as p:
        for name in (path + ".lua", *(f"lib/{f.name}" for f in (ROOT / "inspections/lib").glob("*.lua"))):
            (p.dir / "inspections" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "inspections" / name, p.dir / "inspections" / name)
        p.write("selfmon.conf.lua", f'return {{ schedule = {{ ["{function}"] = "@every 1s" }}, '
                f'params = {{ ["{function}"] = {lua(params)} }}, {more} }}')
        daemon = p.daemon(env=env)
        events = []

        def statuses():
            events[:] = sorted((e for e in p.events() if e["delivery"] == "delivered"), key=lambda e: e["id"])
            return [e["status"] for e in events]

        def expect(*wanted, runs=0):
            """Waits for these statuses, in order, and answers the newest event; `runs`: so many more runs change nothing."""
            try:
                wait_for(lambda: statuses() == list(wanted), f"{function}: {wanted}", 40)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{events}\n{p.run('runs').out}\n{daemon.err}") from None
            if runs:
                before = len(p.runs("-n", "1000"))
                wait_for(lambda: len(p.runs("-n", "1000")) >= before + runs, "more runs", 40)
                assert statuses() == list(wanted), events
                assert all(r["outcome"] == "ok" for r in p.runs() if r["outcome"]), p.runs()
            return events[-1] if events else None
        expect.statuses = statuses
        yield expect


def listening(port, process=None):
    def up():
        if process and process.poll() is not None:
            raise AssertionError(f"{process.args[0]} ended: {process.stderr.read() if process.stderr else ''}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False
    wait_for(up, f"a listener on port {port}", 30)


class Server:
    """A program that listens on a port; ended by its own pid."""

    def __init__(self, port, *command):
        self.port, self.command, self.process = port, [str(c) for c in command], None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        listening(self.port, self.process)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def ended(*servers):
    try:
        yield
    finally:
        for server in servers:
            server.stop()


def listener(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen(64)
    return s


def test_tcp():
    """net/tcp: a port that closes and opens again"""
    port = free_port()
    open_one = listener(port)
    with inspection("net/tcp.run", {"targets": [f"127.0.0.1:{port}"], "slow": "30s", "timeout": "20s"}) as expect:
        expect(runs=2)
        open_one.close()
        event = expect("critical")
        assert event["title"] == f"127.0.0.1:{port}: not reachable" and "Connection refused" in event["message"], event
        open_one = listener(port)
        event = expect("critical", "ok", runs=1)
        assert event["dimension_tags"] == {"target": f"127.0.0.1:{port}"}, event
        open_one.close()


def settle_network():
    """In a network of our own: loopback up, pings allowed."""
    import fcntl
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40) + b"\0" * 22)  # SIOCSIFFLAGS: up, running
    pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")


def test_ping():
    """net/ping: a host that stops answering and answers again (in a network namespace of its own)"""
    if os.environ.get("TEST_OWN_NETWORK") != "1":
        able = subprocess.run(["unshare", "-n", "true"], capture_output=True)
        if able.returncode != 0:
            raise Skip("no network namespaces here")
        done = subprocess.run(["unshare", "-n", sys.executable, __file__, "=test_ping"], capture_output=True, text=True,
                              timeout=200, env={**os.environ, "TEST_OWN_NETWORK": "1"})
        assert done.returncode == 0 and "ok 1" in done.stdout, done.stdout + done.stderr
        return
    settle_network()
    ignore = pathlib.Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
    with inspection("net/ping.run", {"hosts": ["127.0.0.1"], "count": 1, "slow": "20s", "timeout": "200ms"}) as expect:
        expect(runs=2)
        ignore.write_text("1")
        event = expect("critical")
        assert event["title"] == "127.0.0.1: does not answer pings" and "**none of 1**" in event["message"], event
        ignore.write_text("0")
        expect("critical", "ok", runs=1)


def test_ping_forbidden():
    """net/ping: where the kernel forbids it the run fails, and nothing is said about the host"""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ping_group_range").read_text().split())
    if low <= os.getegid() <= high:
        raise Skip("pings are allowed here")
    with project() as p:
        for name in ("net/ping.lua", "lib/target.lua"):
            (p.dir / "inspections" / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / "inspections" / name, p.dir / "inspections" / name)
        done = p.once("-p", "net/ping.run:hosts=127.0.0.1", "--json")
        run = done.json()[0]
        assert run["outcome"] == "failed" and "net.ipv4.ping_group_range" in run["error"], run
        assert [e for e in p.events() if "target" in e["dimension_tags"]] == [], p.events()


class Dnsmasq(Server):
    def __init__(self, port, folder):
        self.hosts = folder / "hosts"
        self.say("192.0.2.7")
        super().__init__(port, "dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "-u", "root",
                         "-p", port, "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/",
                         f"--addn-hosts={self.hosts}")

    def say(self, address):
        self.hosts.write_text(f"{address} shop.test\n" if address else "")
        os.chmod(self.hosts, 0o644)

    def change(self, address):
        self.say(address)
        self.process.send_signal(1)


def test_dns():
    """dns/records: another answer, no such name, no server; then as it was"""
    with project() as place:
        os.chmod(place.dir, 0o755)
        server = Dnsmasq(free_port(), place.dir)
        with ended(server), inspection("dns/records.run", {"records": ["shop.test A 192.0.2.7"],
                                                          "server": f"127.0.0.1:{server.port}"}) as expect:
            expect(runs=2)
            server.change("192.0.2.66")
            event = expect("error")
            assert "expected: `192.0.2.7`" in event["message"] and "answered: `192.0.2.66`" in event["message"], event
            server.change("192.0.2.7")
            expect("error", "ok")
            server.change(None)
            event = expect("error", "ok", "critical")
            assert event["title"] == "shop.test A: the name does not exist", event
            server.stop()
            server.say("192.0.2.7")
            server.start()
            expect("error", "ok", "critical", "ok", runs=1)


NGINX = """daemon off; master_process on; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log; user {user};
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    location / {{ return 200 "hello"; }} }} }}
"""


def test_certificate():
    """tls/certificate: expired, renewed; for another name, renewed; also of a server that never answers HTTP"""
    with project() as place:
        folder, port = place.dir, free_port()
        os.chmod(folder, 0o755)
        ca = Authority(folder / "ca")

        def use(pair):
            for source, name in zip(pair, ("cert.pem", "key.pem")):
                shutil.copy(source, folder / (name + ".new"))
                os.replace(folder / (name + ".new"), folder / name)
        good, expired = ca.issue("good"), ca.expired()
        other = ca.issue("other", san="DNS:other.example")
        use(good)
        (folder / "nginx.conf").write_text(NGINX.format(dir=folder, port=port, user=pwd.getpwuid(os.getuid()).pw_name))
        server = Server(port, "nginx", "-c", folder / "nginx.conf")
        with ended(server), inspection("tls/certificate.run", {"hosts": [f"localhost:{port}"]},
                                       env={"SSL_CERT_FILE": str(ca.ca)}) as expect:
            def turn(pair):
                use(pair)
                server.process.send_signal(1)
            expect(runs=2)
            turn(expired)
            event = expect("critical")
            assert event["title"] == f"localhost:{port}: the certificate has expired", event
            assert "ends 2020-02-01" in event["message"], event
            turn(good)
            expect("critical", "ok")
            turn(other)
            event = expect("critical", "ok", "critical")
            assert "the certificate is for other.example, not for localhost" in event["message"], event
            turn(good)
            expect("critical", "ok", "critical", "ok", runs=1)


def test_ssh_host_key():
    """ssh/host_key: sshd with another key; the fingerprints are those of ssh-keygen"""
    os.makedirs("/run/sshd", exist_ok=True)
    with project() as place:
        folder, port = place.dir, free_port()
        prints = {}
        for name, kind in ("first", "ed25519"), ("second", "ecdsa"):
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / name], check=True)
            prints[name] = subprocess.run(["ssh-keygen", "-l", "-f", folder / name], check=True, capture_output=True,
                                          text=True).stdout.split()[1]

        def sshd(name):
            (folder / "sshd_config").write_text(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / name}\n"
                                                f"PidFile none\nUsePAM no\nMaxStartups 100\n")
            return Server(port, "/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config")
        server = sshd("first")
        with inspection("ssh/host_key.run", {"hosts": [f"127.0.0.1:{port}"]}) as expect:
            with ended(server):
                expect(runs=2)
            server = sshd("second")
            with ended(server):
                # Between the two nobody listened: that may have been told as an error before.
                wait_for(lambda: "critical" in expect.statuses(), "the change", 40)
                seen = expect.statuses()
                event = expect(*seen)
                assert prints["first"] in event["message"] and prints["second"] in event["message"], (event, prints)
                assert event["title"] == f"127.0.0.1:{port}: the host key changed", event
            server = sshd("first")
            with ended(server):
                wait_for(lambda: expect.statuses()[-1] == "ok", "the recovery", 40)
                assert expect.statuses()[:len(seen)] == seen


def test_redis():
    """db/redis: a password, memory against maxmemory, a lost master, gone; each told and healed by itself"""
    port, other = free_port(), free_port()
    with project() as place:
        def redis(p, *more):
            return Server(p, "redis-server", "--port", p, "--bind", "127.0.0.1", "--save", "", "--dir", place.dir,
                          "--requirepass", "s3 cr\"et", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction", *more)

        def cli(*words):
            done = subprocess.run(["redis-cli", "-p", str(port), "-a", "s3 cr\"et", "--no-auth-warning", *words],
                                  capture_output=True, text=True, timeout=30)
            assert done.returncode == 0 and "ERR" not in done.stdout, done
            return done.stdout
        server = redis(port)
        with ended(server), inspection(
                "db/redis.run", {"servers": [f"127.0.0.1:{port}"], "password": "redis", "timeout": "20s"},
                'secrets = { redis = { env = "REDIS_KEY" } }, grant = { ["db/*"] = { "secret:redis" } }',
                env={"REDIS_KEY": "s3 cr\"et"}) as expect:
            expect(runs=2)
            cli("config", "set", "maxmemory", "500kb")
            event = expect("critical")
            assert event["dimension_tags"]["check"] == "memory" and "of its maxmemory" in event["message"], event
            cli("config", "set", "maxmemory", "100mb")
            expect("critical", "ok")
            cli("replicaof", "127.0.0.1", str(other))
            event = expect("critical", "ok", "critical")
            assert event["dimension_tags"]["check"] == "replication" and f":{other}`" in event["message"], event
            cli("replicaof", "no", "one")
            expect("critical", "ok", "critical", "ok")
            server.stop()
            event = expect("critical", "ok", "critical", "ok", "critical")
            assert event["dimension_tags"]["check"] == "alive" and "refused" in event["message"], event
            server.start()
            expect("critical", "ok", "critical", "ok", "critical", "ok", runs=1)


class TimeServer:
    def __init__(self):
        self.offset = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            packet, peer = self.socket.recvfrom(512)
            now = time.time() + self.offset + 2208988800
            stamp = struct.pack(">II", int(now), int(now % 1 * 2 ** 32))
            self.socket.sendto(struct.pack(">BBbb", 36, 2, 6, -20) + b"\0" * 12 + stamp + packet[40:48] + stamp + stamp, peer)


def test_clock():
    """host/clock: a clock that goes wrong and right again"""
    servers = [TimeServer() for _ in range(3)]
    with inspection("host/clock.run", {"servers": [f"127.0.0.1:{s.port}" for s in servers], "warning": "20s",
                                       "critical": "60s"}) as expect:
        servers[0].offset = 900  # one that is wrong is outvoted
        expect(runs=2)
        for s in servers:
            s.offset = 40
        event = expect("warning")
        assert "behind" in event["title"] and "by 3 of 3 time servers" in event["message"], event
        for s in servers:
            s.offset = 0
        expect("warning", "ok", runs=1)


run_all(globals())
