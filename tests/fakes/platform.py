"""A stand-in TrueWatch or Guance workspace on loopback, for tests.

    with Platform() as platform:
        platform.env                # what a program needs to use it
        platform.misbehave("/v1/write/keyevent", times=2, status=500)
        …
        platform.check()            # nothing that it received broke the documentation

OpenAPI, OpenWay and DataKit listen on ports of their own. Misbehaviour is scripted by rules, first match
first; a rule with `after` does the work and then answers badly. Everything received is in `calls`.
Import it as fakes.platform: its folder must not be on the path, where it would hide Python's own.
"""
import email.utils
import gzip
import http.server
import itertools
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

from .workspace import Workspace

SERVERS = ("openapi", "openway", "datakit")
HTML = b"<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>"


@dataclass
class Call:
    """One request as it came."""
    server: str
    method: str
    url: str
    headers: object
    body: bytes
    at: float
    number: int
    path: str = ""
    query: dict = field(default_factory=dict)
    status: int = 0
    limited: bool = False
    points: int = 0

    def __post_init__(self):
        parts = urllib.parse.urlsplit(self.url)
        self.path = parts.path
        self.query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))

    @property
    def lines(self):
        """How many points a write holds, by their measurement."""
        body = gzip.decompress(self.body) if self.headers.get("Content-Encoding") == "gzip" else self.body
        return len(re.findall(rb"(?m)^monitor,", body))


@dataclass
class Rule:
    """Misbehaviour for calls whose path holds `path` and which `when` accepts; `times` None: for ever."""
    path: str
    times: object = 1
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0
    cut: bool = False    # the connection ends in the middle of the body
    reset: bool = False  # the connection is reset instead of an answer
    after: bool = False  # the request is carried out first
    server: object = None
    when: object = None
    used: int = 0

    def fits(self, call):
        return (self.path in call.path and self.server in (None, call.server)
                and (self.times is None or self.used < self.times) and (self.when is None or self.when(call)))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *args):
        pass

    def version_string(self):
        return "stand-in"

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + self.server.platform.clock_offset, usegmt=True)

    def do_any(self):
        if "Transfer-Encoding" in self.headers:
            self.server.platform.errors.append("a chunked request")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length or (self.command == "POST" and "Content-Length" not in self.headers and self.gone()):
            self.close_connection = True  # who asks was killed in the middle: nothing was received
            return
        if len(self.path) > 8190:
            self.server.platform.errors.append(f"a request line of {len(self.path)} bytes")
        prefix, path = self.server.platform.prefix, self.path
        if prefix and not path.startswith(prefix):
            self.server.platform.errors.append(f"{path} is not below the path of the configured URL")
        self.server.platform.serve(self, self.command, path.removeprefix(prefix), body)

    def gone(self):
        """Whether who asks closed the connection."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except ValueError:  # TLS knows no flags
            return False
        except OSError:
            return True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_any

    def send(self, status, headers, body, cut=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(len(body) + (64 if cut else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if cut:
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, platform, name, port, context):
        self.platform, self.name, self.context = platform, name, context
        self.open, self.lock = set(), threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def finish_request(self, request, address):
        if self.context:
            try:
                request.settimeout(10)
                request = self.context.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError) as error:
                self.platform.tls_failures.append(str(error))
                return
        with self.lock:
            self.open.add(request)
        try:
            super().finish_request(request, address)
        finally:
            with self.lock:
                self.open.discard(request)
            if self.context:
                request.close()

    def handle_error(self, request, address):
        pass  # the client went away, or a rule cut the connection

    def hang_up(self):
        with self.lock:
            for request in list(self.open):
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Platform(Workspace):
    """A workspace and its servers. `tls`: a certificate and key file; `prefix`: a path before /api and /v1."""

    def __init__(self, name="shop", tls=None, prefix="", host="127.0.0.1"):
        super().__init__(name)
        self.tls, self.prefix, self.host = tls, prefix, host
        self.clock_offset = 0
        self.rules, self.tls_failures = [], []
        self.ports, self.servers = {}, {}
        self.counter = itertools.count(1)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, *names):
        """Starts the servers named (all); the ports stay the same over stop and start."""
        for name in names or SERVERS:
            context = None
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*map(str, self.tls))
            server = Server(self, name, self.ports.get(name, 0), context)
            self.ports[name] = server.server_address[1]
            self.servers[name] = server
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self, *names):
        """From now on connections are refused; open ones end."""
        for name in names or list(self.servers):
            server = self.servers.pop(name)
            server.shutdown()
            server.server_close()
            server.hang_up()

    def url(self, name):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.ports[name]}{self.prefix}"

    @property
    def urls(self):
        return {"SELFMON_OPENAPI_URL": self.url("openapi"), "SELFMON_OPENWAY_URL": self.url("openway")}

    @property
    def env(self):
        return {**self.urls, "SELFMON_API_KEY_ID": self.key_id, "SELFMON_API_KEY": self.key}

    def misbehave(self, path="/", **how):
        """Adds a rule; body may be text. Returns it."""
        if isinstance(how.get("body"), str):
            how["body"] = how["body"].encode()
        rule = Rule(path, **how)
        self.rules.append(rule)
        return rule

    def html(self, path, **how):
        return self.misbehave(path, headers={"Content-Type": "text/html; charset=utf-8"}, body=HTML, **how)

    def behave(self):
        self.rules.clear()

    def serve(self, handler, method, url, body):
        with self.lock:
            call = Call(handler.server.name, method, url, handler.headers, body, time.time(), next(self.counter))
            self.calls.append(call)
            rule = next((r for r in self.rules if r.fits(call)), None)
            if rule:
                rule.used += 1
        answer = None
        if rule is None or rule.after:
            answer = self.answer(call)
        if rule:
            answer = self.bad_answer(rule, handler)
            if answer is None:
                call.status = -1
                return
        call.status = answer[0]
        handler.send(*answer, cut=bool(rule and rule.cut))

    def bad_answer(self, rule, handler):
        if rule.delay:
            time.sleep(rule.delay)
        if rule.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            return None
        return rule.status, {"Content-Type": "application/json", **rule.headers}, rule.body

    # what tests ask
    def of(self, path, server=None):
        """Calls whose path ends with `path`."""
        return [c for c in list(self.calls) if c.path.endswith(path) and server in (None, c.server)]

    @property
    def writes(self):
        return [c for c in self.of("/v1/write/keyevent")]

    def calls_per_minute(self, server="openapi"):
        """The most calls in any 60 s."""
        times = sorted(c.at for c in list(self.calls) if c.server == server)
        return max((sum(1 for t in times if start <= t < start + 60) for start in times), default=0)

    def duplicates(self):
        ids = [e.id for e in self.events]
        return sorted({i for i in ids if ids.count(i) > 1})

    def titles(self):
        return sorted(e.title for e in self.events)

    def forget(self):
        """Empties calls and events, for a second look."""
        with self.lock:
            self.calls.clear()
            self.events.clear()

    def check(self):
        """Nothing that was received broke the documentation."""
        assert not self.errors, "\n".join(self.errors[:10])


class Trap(Platform):
    """A host that nobody should talk to: it answers like a platform and remembers who came."""

    def answer(self, call):
        return 200, {"Content-Type": "application/json"}, b'{"code":200,"success":true,"content":{}}'
