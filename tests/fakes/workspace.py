"""A workspace of the stand-in platform: what its OpenAPI, OpenWay and DataKit answer.

answer(server, call) gives (status, headers, body bytes). Written from the public documentation; strict:
whatever a request does against it is refused and noted in `errors`.
"""
import base64
import collections
import datetime
import gzip
import hashlib
import hmac
import json
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field

from . import keyevents, lineprotocol
from .checkers import DISABLED, OK, Checkers, Refused, invalid

GZIP_ABOVE = 20480
POINTS = 100
STATUSES = keyevents.STATUSES


@dataclass
class Event:
    """One arrival of an event; tags and fields as they came, `all` is both."""
    road: str
    tags: dict
    fields: dict
    time: int
    request: int  # number of the call it came with
    all: dict = field(default_factory=dict)

    def __post_init__(self):
        self.all = {**self.tags, **self.fields}

    @property
    def id(self):
        return self.all.get("df_event_id")

    @property
    def title(self):
        return self.all.get("df_title")

    @property
    def dimension(self):
        return json.loads(self.all["df_dimension_tags"])


def reply(status, value, **headers):
    return status, {"Content-Type": "application/json", **headers}, json.dumps(value, ensure_ascii=False).encode()


class Workspace:
    def __init__(self, name="shop"):
        mark = uuid.uuid4().hex
        self.name, self.uuid = name, "wksp_" + mark
        self.key_id, self.key = "wsak_" + uuid.uuid4().hex, "sk" + uuid.uuid4().hex
        self.token = "tkn_" + uuid.uuid4().hex
        self.accepts = "key_id"  # what DF-API-KEY must carry: key_id, key, both, none
        self.bad_key_status = 403  # documented; 401 was observed
        self.administrator = True
        self.token_without_role = ""  # None: the field is absent
        self.limit = None  # calls a minute over the OpenAPI
        self.openway_open = True
        self.dway = None  # (access key, secret key, "full" or "empty")
        self.checkers = Checkers(self.key_id)
        self.events, self.errors, self.calls = [], [], []
        self.poison = lambda event: False  # true: the batch that holds it is answered 400
        self.marked = False  # true: an event that belongs to no inspection is taken
        self.max_body = 64 << 20
        self.inner = collections.deque()  # answers of report_event: {"error": 599.3, …}
        self.lock = threading.RLock()
        self.data = lambda query: None  # a query's series; None: none; a dict: its element of the answer
        self.queried = []  # what `queries` held, one list a call

    # the OpenAPI
    def envelope(self, status, content, code="", message="", page=None):
        body = {"code": status, "content": content, "errorCode": code, "message": message,
                "success": not code, "traceId": str(time.time_ns())}
        if page:
            body["pageInfo"] = page
        return reply(status, body)

    def openapi(self, call):
        try:
            self.check_openapi_call(call)
            routes = {("GET", "/api/v1/workspace/get"): self.workspace_get,
                      ("GET", "/api/v1/workspace/accesskey/list"): self.accesskey_list,
                      ("POST", "/api/v1/outer_function/execute"): self.execute,
                      ("POST", "/api/v1/df/query_data_v1"): self.query_data}
            route = routes.get((call.method, call.path)) or self.checker_route(call)
            given = dict(call.query) if call.method == "GET" else self.json_body(call)
            content = route(given)
            page = None
            if isinstance(content, tuple):
                content, page = content
            self.errors += self.checkers.complaints
            self.checkers.complaints = []
            return self.envelope(200, content, page=page)
        except Refused as refused:
            if refused.strict:
                self.errors.append(f"{call.method} {call.path}: {refused.message}")
            return self.envelope(refused.status, {}, refused.code, refused.message)

    def check_openapi_call(self, call):
        if call.headers.get("User-Agent", "curl/").startswith(("curl/", "libcurl", "Python-urllib")):
            raise invalid("no User-Agent of its own")
        if "Authorization" in call.headers or "Cookie" in call.headers:
            raise invalid("an Authorization or Cookie header")
        good = {"key_id": (self.key_id,), "key": (self.key,), "both": (self.key_id, self.key), "none": ()}
        given = call.headers.get_all("DF-API-KEY") or []
        if len(given) != 1:
            raise invalid(f"{len(given)} DF-API-KEY headers")
        if self.limit is not None:
            recent = [c for c in self.calls if c.server == "openapi" and c.at > call.at - 60 and not c.limited]
            if len(recent) > self.limit:  # the present call is among them
                call.limited = True
                raise Refused(401, "ft.TriggerApiAkCurrentLimiting", "API rate limit", strict=False)
        if given[0] not in good[self.accepts]:
            raise Refused(self.bad_key_status, "ft.InvalidAPIKey", "the API key is invalid", strict=False)
        if call.method not in ("GET", "POST"):
            raise invalid(f"method {call.method}")
        if call.method == "GET" and call.body:
            raise invalid("a GET with a body")

    def json_body(self, call):
        if call.headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
            raise invalid(f"Content-Type {call.headers.get('Content-Type')!r}")
        if call.query:
            raise invalid(f"a POST with a query: {call.query}")
        try:
            body = json.loads(call.body)
        except ValueError as error:
            raise invalid(f"no JSON: {error}") from None
        if not isinstance(body, dict):
            raise invalid("the body is no object")
        return body

    def checker_route(self, call):
        name, c = call.path.removeprefix("/api/v1/self_built_checker/"), self.checkers
        routes = {"GET get": c.get, "GET list": c.list, "POST create": c.create, "POST modify": c.modify,
                  "POST enable": lambda b: c.set_status(b, OK, "enable"),
                  "POST disable": lambda b: c.set_status(b, DISABLED, "disable"),
                  "POST delete": c.delete, "POST batch_delete": c.batch_delete}
        if f"{call.method} {name}" not in routes:
            raise Refused(404, "ft.NotFound", f"no such call: {call.method} {call.path}")
        return routes[f"{call.method} {name}"]

    def workspace_get(self, query):
        if query:
            raise invalid("workspace/get has no parameters")
        content = {"uuid": self.uuid, "name": self.name, "language": "en", "timezone": "", "rpName": "default",
                   "status": 0, "versionType": "pay", "cliToken": "wkcli_" + "0" * 32, "datastore": {},
                   "durationSet": {"keyevent": "14d"}}
        token = self.token if self.administrator else self.token_without_role
        return content if token is None else {**content, "token": token}

    def accesskey_list(self, query):
        if set(query) - {"search"}:
            raise invalid("accesskey/list knows only search")
        return [{"ak": self.key_id, "uuid": self.key_id, "sk": self.key, "name": "k", "status": 0}]

    def query_data(self, body):
        known = {"q", "timeRange", "tz", "interval", "maxPointCount", "limit", "offset", "slimit", "soffset"}
        if set(body) - {"fieldTagDescNeeded"} != {"queries"} or not body["queries"]:
            raise invalid(f"query_data_v1: {sorted(body)}")
        for one in body["queries"]:
            query = one.get("query", {})
            times = query.get("timeRange", [0, 1])
            if set(one) != {"qtype", "query"} or one["qtype"] not in ("dql", "promql") or set(query) - known:
                raise invalid(f"query_data_v1: {one}")
            if not query.get("q") or len(times) != 2 or not all(isinstance(t, int) for t in times) or times[0] >= times[1]:
                raise invalid(f"query_data_v1: {query}")
        self.queried.append([one["query"] for one in body["queries"]])
        data = []
        for one in body["queries"]:
            found = self.data(one["query"])
            if isinstance(found, Refused):
                raise found
            rest = {"points": None, "cost": "12ms", "is_running": False, "complete": True, "async_id": "",
                    "interval": 60000, "window": 60000, "sample": 1, "next_cursor_time": -1, "search_after": None}
            data.append(found if isinstance(found, dict) else {"series": found, **rest})
        return {"data": data, "declaration": {}}

    def execute(self, body):
        if set(body) != {"funcId", "funcBody"} or body["funcId"] not in (
                "guance__openapi.report_event", "guance__openapi.test"):
            raise invalid(f"execute: {sorted(body)} {body.get('funcId')!r}")
        given = body["funcBody"]
        if not isinstance(given, dict) or set(given) - {"kwargs", "options"} or "kwargs" not in given:
            raise invalid(f"execute: funcBody {given!r}")
        inner = {"ok": True, "error": 200, "reason": "", "message": "", "data": {"result": None}, "detail": {},
                 "traceId": "t", "reqTime": "", "respTime": "", "reqCost": 12}
        if self.inner:
            failure = self.inner.popleft()
            return {**inner, "ok": False, "data": {}, **failure}
        if body["funcId"].endswith("report_event"):
            self.report_event(given["kwargs"])
        return inner

    def report_event(self, kwargs):
        if set(kwargs) != {"workspace_uuid", "workspace_token", "data"}:
            raise invalid(f"report_event: {sorted(kwargs)}")
        if (kwargs["workspace_uuid"], kwargs["workspace_token"]) != (self.uuid, self.token):
            raise invalid("report_event: workspace_uuid or workspace_token is wrong")
        many = kwargs["data"] if isinstance(kwargs["data"], list) else [kwargs["data"]]
        if not 1 <= len(many) <= POINTS:
            raise invalid(f"report_event: {len(many)} events")
        for event in many:
            if set(event) - {"dimension_tags"} != {"title", "message", "status"}:
                raise invalid(f"report_event: fields {sorted(event)}")
            tags = event.get("dimension_tags", {})
            tags = json.loads(tags) if isinstance(tags, str) else tags
            if event["status"] not in STATUSES or "\n" in event["title"] or not all(
                    isinstance(v, str) for v in tags.values()):
                raise invalid(f"report_event: {event}")
            self.events.append(Event("report_event", {"df_status": event["status"]},
                                     {"df_title": event["title"], "df_message": event["message"],
                                      "df_dimension_tags": json.dumps(tags, sort_keys=True, ensure_ascii=False)},
                                     time.time_ns(), len(self.calls)))

    # OpenWay and DataKit
    def write_refused(self, call, status, code, message, strict=True):
        if strict:
            self.errors.append(f"{call.server} {call.method} {call.path}: {message}")
        return reply(status, {"error_code": code, "message": message})

    def openway(self, call):
        if "DF-API-KEY" in call.headers or any(k in str(call.headers) + call.url
                                               for k in (self.key, self.key_id)):
            return self.write_refused(call, 400, "standin.key", "the API key was sent to OpenWay")
        if call.method == "GET" and call.path.startswith("/v1/check/"):
            good = urllib.parse.unquote(call.path[10:]) == self.token and self.openway_open
            return reply(200, {"content": {}}) if good else reply(403, {"error_code": "dataway.invalidToken"})
        if call.method == "GET" and call.path.rstrip("/") == "/v1/ntp":
            return reply(200, {"content": {"timestamp_sec": int(time.time())}})
        if (call.method, call.path) != ("POST", "/v1/write/keyevent"):
            return self.write_refused(call, 404, "standin.path", f"no such path: {call.method} {call.url}")
        if call.server == "openway":
            if not self.openway_open:
                return reply(403, {"error_code": "dataway.publicDatawayDisabled"})
            if set(call.query) != {"token"}:
                return self.write_refused(call, 400, "standin.query", f"query {sorted(call.query)}")
            if call.query["token"] != self.token:
                return self.write_refused(call, 403, "dataway.invalidToken", "invalid token", strict=False)
        elif set(call.query) - {"input", "precision", "source"} or call.query.get("precision", "n") != "n":
            return self.write_refused(call, 400, "standin.query", f"query {sorted(call.query)}")
        wrong = self.signature_fault(call)
        if wrong:
            return self.write_refused(call, 401, "dataway.signature", wrong, strict=False)
        return self.write(call)

    def signature_fault(self, call):
        given = call.headers.get("Authorization")
        if call.server != "openway" or not self.dway:
            return "an Authorization header" if given else None
        access, secret, mode = self.dway
        date = call.headers.get("Date", "")
        try:
            when = datetime.datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            return f"Date {date!r}"
        if abs(when.timestamp() - time.time()) > 900:
            return f"Date {date!r} is more than 15 minutes off"
        body, kind = (call.body, call.headers.get("Content-Type", "")) if mode == "full" else (b"", "")
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        text = f"{call.method}\n{digest}\n{kind}\n{date}"
        good = base64.b64encode(hmac.new(secret.encode(), text.encode(), "sha1").digest()).decode()
        return None if given == f"DWAY {access}:{good}" else f"signature {given!r}, expected {access}:{good}"

    def write(self, call):
        if call.headers.get("Content-Type") != "text/plain":
            return self.write_refused(call, 400, "standin.type", f"Content-Type {call.headers.get('Content-Type')!r}")
        body, coding = call.body, call.headers.get("Content-Encoding")
        if len(body) > self.max_body:
            return self.write_refused(call, 413, "dataway.tooLarge", "too large", strict=False)
        if coding == "gzip":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError) as error:
                return self.write_refused(call, 400, "standin.gzip", f"gzip: {error}")
        elif coding is not None:
            return self.write_refused(call, 400, "standin.gzip", f"Content-Encoding {coding!r}")
        if call.server == "openway" and not self.dway and (coding == "gzip") != (len(body) > GZIP_ABOVE):
            return self.write_refused(call, 400, "standin.gzip", f"{len(body)} bytes, Content-Encoding {coding}")
        try:
            points = lineprotocol.parse(body)
        except lineprotocol.Bad as error:
            return self.write_refused(call, 400, "dataway.invalidLinePoint", str(error))
        if len(points) > POINTS:
            return self.write_refused(call, 400, "standin.points", f"{len(points)} points")
        wrong = [w for p in points for w in keyevents.check(p, self.checkers.ever, self.marked)]
        if wrong:
            return self.write_refused(call, 400, "standin.event", "; ".join(wrong))
        events = [Event(call.server, p.tags, p.fields, p.time, call.number) for p in points]
        if any(self.poison(e) for e in events):
            return self.write_refused(call, 400, "dataway.invalidLinePoint", "one of the points is bad", strict=False)
        self.events += events
        call.points = len(points)
        return 200, {"Content-Type": "application/json"}, b""

    def answer(self, call):
        with self.lock:
            return self.openapi(call) if call.server == "openapi" else self.openway(call)
