"""The shipped HTTP inspections against real servers: nginx with stub_status, Prometheus, JSON answers; broken and whole."""
import contextlib
import http.server
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.request

from harness import ROOT, Skip, project, run_all, wait_for


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class Root:
    """A project with shipped inspections in it, each by its own folder, and lib/."""

    def __init__(self, p, *names, **params):
        self.p = p
        for name in names:
            target = p.dir / "inspections" / f"{name}.lua"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "inspections" / f"{name}.lua", target)
        shutil.copytree(ROOT / "inspections/lib", p.dir / "inspections/lib")

    def run(self, name, params, code=0, more=""):
        """Events that the store let out in this run: (status, title), and what the run said."""
        fields = ", ".join(f'{k} = {lua(v)}' for k, v in params.items())
        self.p.write("selfmon.conf.lua", f'return {{ params = {{ ["{name}.run"] = {{ {fields} }} }}, {more} }}')
        before = {e["event_id"] for e in self.p.events()}
        done = self.p.run("run", "--once", "-v", f"inspections/{name}.lua")
        assert done.code == code, done
        new = [e for e in self.p.events() if e["event_id"] not in before]
        return [(e["status"], e["title"]) for e in new], done.out + done.err


def lua(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(map(lua, value)) + " }"
    return json.dumps(value)


@contextlib.contextmanager
def shipped(*names):
    with project() as p:
        yield Root(p, *names)


@contextlib.contextmanager
def nginx(port, workers=512):
    """nginx with a stub_status page; it is stopped by its own pid."""
    if not shutil.which("nginx"):
        raise Skip("nginx is not installed")
    home = pathlib.Path(tempfile.mkdtemp(prefix="selfmon-nginx-"))
    conf = home / "nginx.conf"
    temp = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf.write_text(f"daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
                    f"events {{ worker_connections {workers}; }}\n"
                    f"http {{ access_log off; {temp} keepalive_timeout 60s; server {{ listen 127.0.0.1:{port};\n"
                    'location /status { stub_status; } location / { return 200 "fine"; } } }\n')
    process = subprocess.Popen(["nginx", "-c", str(conf), "-e", str(home / "error.log"), "-p", str(home)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.log = lambda: (home / "error.log").read_text()
    try:
        wait_for(lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/status"), "nginx", 60)
        assert process.poll() is None, (home / "error.log").read_text()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        status, body, headers = self.server.routes.get(self.path.split("?")[0], (404, {"error": "no such thing"}, {}))
        data = json.dumps(body).encode() if not isinstance(body, str) else body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def stand_in():
    """A server on loopback: routes[path] = (status, body, headers)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.routes, server.seen = {}, []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def test_nginx():
    """web/nginx: well, connections dropped for want of worker_connections, stopped, well again"""
    port = free_port()
    with shipped("web/nginx") as root:
        params = {"urls": [f"http://127.0.0.1:{port}/status"]}
        with nginx(port, workers=14) as process:
            assert root.run("web/nginx", params)[0] == []
            held = []
            try:
                def one_more():
                    s = socket.create_connection(("127.0.0.1", port), timeout=10)
                    held.append(s)
                    with contextlib.suppress(OSError):
                        s.sendall(b"GET / HTTP/1.1\r\n")  # one that has begun a request is not given up for another
                    return "worker_connections are not enough" in process.log()
                wait_for(one_more, "a dropped connection", 30)
            finally:
                for s in held:
                    s.close()
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/status"), "a free connection", 60)
            events, said = root.run("web/nginx", params)
            assert len(events) == 1 and events[0][0] == "error" and "dropped" in events[0][1], (events, said)
            events, said = root.run("web/nginx", params)
            assert events == [("ok", events[0][1])], (events, said)
        events, said = root.run("web/nginx", params)
        assert events == [("critical", "nginx does not answer")], (events, said)
        with nginx(port):
            events, said = root.run("web/nginx", params)
            assert events == [("ok", "nginx does not answer")], (events, said)
            wrong = {"urls": [f"http://127.0.0.1:{port}/"]}
            events, said = root.run("web/nginx", wrong, code=1)
            assert events == [] and "is no stub_status page" in said, said


def test_endpoint():
    """http/endpoint: text, JSON value and status of a real nginx and a stand-in, broken and whole"""
    port = free_port()
    with shipped("http/endpoint") as root, nginx(port), stand_in() as api:
        site = f"http://127.0.0.1:{port}/"
        assert root.run("http/endpoint", {"urls": [site], "text": "fine", "slow": "60s"})[0] == []
        events, _ = root.run("http/endpoint", {"urls": [site], "text": "better", "slow": "60s"})
        assert events == [("critical", f"{site} answers without the expected text")], events
        events, _ = root.run("http/endpoint", {"urls": [site], "text": "fine", "slow": "60s"})
        assert events == [("ok", f"{site} answers without the expected text")], events
        health = api.url + "/health"
        params = {"urls": [health], "json_path": "parts[0].state", "json_value": "UP", "slow": "60s"}
        api.routes["/health"] = (200, {"parts": [{"state": "DOWN"}]}, {})
        events, _ = root.run("http/endpoint", params)
        assert events == [("critical", f"{health} has another JSON value")], events
        api.routes["/health"] = (200, {"parts": [{"state": "UP"}]}, {})
        assert root.run("http/endpoint", params)[0] == [("ok", f"{health} has another JSON value")]
        api.routes["/health"] = (500, {}, {})
        assert root.run("http/endpoint", params)[0] == [("critical", f"{health} answers 500")]


def test_json_value():
    """http/json_value: a number that passes its limits and comes back; what cannot be seen is no event"""
    with shipped("http/json_value") as root, stand_in() as api:
        params = {"url": api.url + "/stats", "path": "queue.waiting", "name": "Jobs", "warning": 10, "critical": 100}
        for waiting, expected in ((5, []), (50, [("warning", "Jobs is 50")]), (500, [("critical", "Jobs is 500")]),
                                  (5, [("ok", "Jobs is 500")])):
            api.routes["/stats"] = (200, {"queue": {"waiting": waiting}}, {})
            assert root.run("http/json_value", params)[0] == expected, waiting
        api.routes["/stats"] = (200, {"queue": {}}, {})
        events, said = root.run("http/json_value", params, code=1)
        assert events == [] and "there is no `queue.waiting`" in said, said
        api.routes["/stats"] = (200, {"queue": {"waiting": 1}}, {})
        secret = root.p.write("token", "s3cr3t-bearer")
        secret.chmod(0o600)
        more = 'secrets = { json_value = { file = "token" } }, grant = { ["http/*"] = { "secret:json_value" } }'
        events, said = root.run("http/json_value", {**params, "bearer": True}, more=more)
        assert events == [] and api.seen[-1][1]["Authorization"] == "Bearer s3cr3t-bearer", api.seen[-1]
        assert "s3cr3t" not in said


def test_prometheus():
    """http/prometheus: a real Prometheus server: within, beyond and again within limits; a wrong query"""
    if not shutil.which("prometheus"):
        raise Skip("prometheus is not installed")
    port, home = free_port(), pathlib.Path(tempfile.mkdtemp(prefix="selfmon-prom-"))
    (home / "prometheus.yml").write_text("global: { scrape_interval: 1s }\nscrape_configs:\n- job_name: self\n"
                                         f"  static_configs: [ {{ targets: [ '127.0.0.1:{port}' ] }} ]\n")
    with open(home / "log", "w") as log:
        server = subprocess.Popen(["prometheus", f"--config.file={home}/prometheus.yml", f"--storage.tsdb.path={home}/data",
                                   f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        base = f"http://127.0.0.1:{port}"
        wait_for(lambda: server.poll() is not None or answers(base + "/-/ready"), "prometheus", 90)
        assert server.poll() is None, (home / "log").read_text()

        def up():
            with urllib.request.urlopen(base + "/api/v1/query?query=up", timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        wait_for(up, "a first sample", 60)
        with shipped("http/prometheus") as root:
            params = {"server": base, "query": "up", "name": "Targets", "below": True, "warning": 1, "critical": 1}
            assert root.run("http/prometheus", params)[0] == []
            events, said = root.run("http/prometheus", {**params, "warning": 2, "critical": 0})
            assert events == [("warning", "Targets is 1")], (events, said)
            [event] = root.p.events()
            assert event["dimension_tags"] == {"query": "Targets", "__name__": "up", "job": "self",
                                               "instance": f"127.0.0.1:{port}"}, event
            assert root.run("http/prometheus", params)[0] == [("ok", "Targets is 1")]
            assert root.run("http/prometheus", {**params, "query": "scalar(vector(7))"})[0] == []
            events, said = root.run("http/prometheus", {**params, "query": "up{"}, code=1)
            assert events == [] and "refuses the query" in said and "parse error" in said, said
            events, said = root.run("http/prometheus", {**params, "query": "absent_metric"}, code=1)
            assert events == [] and "has no result" in said, said
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
        with shipped("http/prometheus") as root:
            events, said = root.run("http/prometheus", params, code=1)
            assert events == [] and "does not answer" in said, said
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        shutil.rmtree(home, ignore_errors=True)


def test_domain():
    """domain/expiry: an RDAP stand-in with a redirect to the registry: soon, renewed, gone, no answer"""
    with shipped("domain/expiry") as root, stand_in() as rdap:
        params = {"domains": ["shop.example"], "rdap": rdap.url + "/domain/"}
        rdap.routes["/domain/shop.example"] = (302, "", {"Location": rdap.url + "/registry/shop.example"})

        def ends(date):
            rdap.routes["/registry/shop.example"] = (200, {"events": [{"eventAction": "expiration", "eventDate": date}]}, {})
        ends("2020-01-01T00:00:00Z")
        events, _ = root.run("domain/expiry", params)
        assert events == [("critical", "shop.example: the registration has ended")], events
        ends("2999-01-01T00:00:00Z")
        assert root.run("domain/expiry", params)[0] == [("ok", "shop.example: the registration has ended")]
        rdap.routes["/registry/shop.example"] = (429, {}, {})
        events, said = root.run("domain/expiry", params, code=1)
        assert events == [] and "shop.example: the service answered 429" in said, said
        rdap.routes["/registry/shop.example"] = (404, {}, {})
        assert root.run("domain/expiry", params)[0] == [("critical", "shop.example is not registered")]


def test_rabbitmq():
    """mq/rabbitmq: a management API's answers: an alarm and its end, a long queue; its password stays secret"""
    with shipped("mq/rabbitmq") as root, stand_in() as api:
        password = root.p.write("password", "r4bbit-secret")
        password.chmod(0o600)
        more = 'secrets = { rabbitmq = { file = "password" } }, grant = { ["mq/*"] = { "secret:rabbitmq" } }'
        for check in ("alarms", "virtual-hosts", "node-is-quorum-critical"):
            api.routes["/api/health/checks/" + check] = (200, {"status": "ok"}, {})
        api.routes["/api/queues"] = (200, [{"name": "q", "vhost": "/", "messages": 3, "consumers": 1}], {})
        params = {"url": api.url, "user": "watch"}
        assert root.run("mq/rabbitmq", params, more=more)[0] == []
        assert api.seen[-1][1]["Authorization"].startswith("Basic ")
        api.routes["/api/health/checks/alarms"] = (503, {"status": "failed", "reason": "alarms", "alarms": [
            {"node": "rabbit@a", "resource": "disk"}]}, {})
        api.routes["/api/queues"] = (200, [{"name": "q", "vhost": "/", "messages": 200000, "consumers": 1}], {})
        events, said = root.run("mq/rabbitmq", params, more=more)
        assert sorted(events) == [("critical", "Queue q holds 200000 messages"), ("critical", "RabbitMQ has an alarm")], events
        api.routes["/api/health/checks/alarms"] = (200, {"status": "ok"}, {})
        api.routes["/api/queues"] = (200, [], {})
        events, said = root.run("mq/rabbitmq", params, more=more)
        assert sorted(e[0] for e in events) == ["ok", "ok"], events
        api.routes["/api/queues"] = (401, {"error": "not_authorised"}, {})
        events, said = root.run("mq/rabbitmq", params, code=1, more=more)
        assert events == [] and "answered 401" in said and "r4bbit" not in said, said
        events, said = root.run("mq/rabbitmq", params, code=1, more='secrets = { rabbitmq = { file = "password" } }')
        assert 'permission "secret:rabbitmq" is not granted to mq/rabbitmq.run' in said, said


run_all(globals())
