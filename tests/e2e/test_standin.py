"""The stand-in platform judged by itself: what is good is taken, and every strictness refuses."""
import base64
import email.utils
import gzip
import hashlib
import hmac
import http.client
import json
import pathlib
import ssl
import sys
import tempfile
import time

from harness import run_all

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from fakes import keyevents, lineprotocol  # noqa: E402
from fakes.certificates import Authority  # noqa: E402
from fakes.platform import Platform  # noqa: E402
from fakes.proxy import Proxy  # noqa: E402

KEY = "a0cd79a7bfb9203122cbcb2e8cceadf0"
INFO = {"funcId": "demo__insp.run", "description": "d", "definition": "run(a=1)", "category": "general",
        "args": ["a"], "kwargs": {"a": {"default": 1}}}
GOOD = {"refKey": KEY, "title": "Example", "refFuncInfo": INFO}


def ask(platform, method, path, body=None, headers=None, server="openapi", kind="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", platform.ports[server], timeout=10)
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    head = {"User-Agent": "test/1", **({"DF-API-KEY": platform.key_id} if server == "openapi" else {}),
            **({"Content-Type": kind} if data is not None else {}), **(headers or {})}
    try:
        connection.request(method, path, data, head)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None, answer.headers
    finally:
        connection.close()


def api(platform, method, name, body=None, **more):
    status, answer, _ = ask(platform, method, f"/api/v1/self_built_checker/{name}", body, **more)
    assert answer["code"] == status and "traceId" in answer
    return status, answer


def line(row, number=1, tags=None, fields=None, stamp=None):
    dims = {"host": "my host"}
    text = json.dumps(dims, separators=(",", ":"))
    quoted = lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'
    all_tags = {"df_event_id": "event-%032x" % number, "df_monitor_checker_event_ref": keyevents.event_ref(row["uuid"], text),
                "df_monitor_checker_id": row["uuid"], "df_monitor_ref_key": row["refKey"], "df_monitor_type": "bot_obs",
                "df_source": "monitor", "df_status": "ok", "host": "my\\ host", **(tags or {})}
    all_fields = {"df_date_range": "0i", "df_dimension_tags": quoted(text), "df_exec_mode": '"crontab"',
                  "df_fault_status": '"ok"', "df_message": '"m"', "df_monitor_checker": '"self_hosted_monitor"',
                  "df_monitor_checker_name": '"Example"', "df_monitor_checker_sub": '"check"', "df_title": '"t"',
                  **(fields or {})}
    join = lambda d: ",".join(f"{k}={v}" for k, v in sorted(d.items()) if v is not None)
    return f"monitor,{join(all_tags)} {join(all_fields)} {stamp or time.time_ns()}"


def write(platform, body, server="openway", **headers):
    path = f"/v1/write/keyevent?token={platform.token}" if server == "openway" else "/v1/write/keyevent?input=x"
    data = body.encode() if isinstance(body, str) else body
    return ask(platform, "POST", path, data, headers, server, "text/plain")[0]


def test_line_protocol_vectors():
    """the published lines are read back; broken ones are refused"""
    good = {
        r'my\ cpu\,total=1,a\ b=c\ d,x\,y=z\=w f\ 1="a \"q\" \\ b",g\=h=2i 1574243766000000000':
            ("my cpu,total=1", {"a b": "c d", "x,y": "z=w"}, {"f 1": 'a "q" \\ b', "g=h": 2}),
        r'm,t=a\\,b v="x\\\"y" 1574243766000000000': ("m", {"t": "a\\,b"}, {"v": 'x\\"y'}),
        'm multi="line1\nline2\ttab" 1574243766000000000': ("m", {}, {"multi": "line1\nline2\ttab"}),
        'm,t=v a=[1i,2i],e=[],fl=1e+21,s=1e-07,w=3.0 1574243766000000000':
            ("m", {"t": "v"}, {"a": [1, 2], "e": [], "fl": 1e21, "s": 1e-7, "w": 3.0}),
        '主机,标签=值\\ 1 字段="内容" 1574243766000000000': ("主机", {"标签": "值 1"}, {"字段": "内容"})}
    for text, expected in good.items():
        point = lineprotocol.parse(text.encode())[0]
        assert (point.measurement, point.tags, point.fields) == expected, text
    stamp = " 1574243766000000000"
    bad = ["", "m,t=v " + stamp, ",t=v a=1i" + stamp, "#c a=1i" + stamp, "m a=1i", "m a=1i 1574243766", "m a=nan" + stamp,
           "m a=inf" + stamp, "m a=12345678901234567890i" + stamp, "m a=1i,a=2i" + stamp, "m,a=1,a=2 b=1i" + stamp,
           "m,a=1 a=1i" + stamp, "m,b=1,a=2 c=1i" + stamp, "m,t= a=1i" + stamp, "m,t=a=b a=1i" + stamp,
           "m,t=a\u3000b a=1i" + stamp, "m,t=v\\ a=1i" + stamp, "m a=\"x" + stamp, "m a=\"x\\n\"" + stamp, "m a=1" + stamp,
           "m a=[1i,2.0]" + stamp, "m a=1i" + stamp + "\n", "m a=1i" + stamp + "\n\nm a=1i" + stamp, "m a=yes" + stamp,
           "m,t=" + "x" * 1025 + " a=1i" + stamp, "m  a=1i" + stamp]
    for text in bad:
        try:
            lineprotocol.parse(text.encode())
        except lineprotocol.Bad:
            continue
        raise AssertionError(f"taken: {text!r}")


def test_registration():
    """create, list, modify, disable, delete, page by page"""
    with Platform() as p:
        assert api(p, "POST", "create", GOOD)[0] == 200
        status, answer = api(p, "GET", f"list?refKey={KEY},x&pageSize=100")
        row = answer["content"]["data"][0]
        assert status == 200 and row["refKey"] == KEY and row["jsonScript"]["refFuncInfo"] == INFO and row["status"] == 0
        assert answer["pageInfo"] == {"pageIndex": 1, "pageSize": 100, "count": 1, "totalCount": 1}
        change = {"refKey": KEY, "title": "New", "refFuncInfo": {"args": [], "kwargs": {}}}
        assert api(p, "POST", "modify", change)[0] == 200
        assert p.checkers.of_key(KEY)[0]["jsonScript"]["refFuncInfo"]["description"] == "", "it replaces"
        assert api(p, "POST", "disable", {"refKey": KEY})[1]["content"] is True and row["uuid"].startswith("rul_")
        assert api(p, "GET", f"get?refKey={KEY}")[1]["content"]["status"] == 2
        assert api(p, "POST", "enable", {"ruleUUIDs": [row["uuid"]]})[0] == 200
        assert api(p, "POST", "delete", {"ruleUUID": row["uuid"]})[0] == 200
        assert api(p, "GET", f"get?refKey={KEY}")[0] == 404 and not p.errors
        for n in range(5):
            p.checkers.add({**GOOD, "refKey": f"k{n}"})
        pages = [api(p, "GET", f"list?pageIndex={i}&pageSize=2")[1] for i in (1, 2, 3)]
        assert [len(x["content"]["data"]) for x in pages] == [2, 2, 1] and pages[0]["pageInfo"]["totalCount"] == 5
        p.check()


def test_registration_strict():
    """unknown fields, nulls, long keys, funcId in modify and doubled rows are noticed"""
    change = lambda **more: {**GOOD, **more}
    rows = [("create", change(colour="red")), ("create", change(title=None)), ("create", change(title="a\nb")),
            ("create", change(refKey="k" * 49)), ("create", change(refKey="ABC")), ("create", {"refKey": KEY}),
            ("create", change(refFuncInfo={**INFO, "x": 1})), ("create", change(refFuncInfo={"args": []})),
            ("create", change(refFuncInfo={**INFO, "funcId": "demo/insp.run"})),
            ("create", change(refFuncInfo={**INFO, "kwargs": {"b": {}}})),
            ("create", change(refFuncInfo={**INFO, "kwargs": {"a": {"default": 1, "type": "x"}}})),
            ("modify", {"refKey": KEY, "refFuncInfo": INFO}), ("modify", {"title": "x"}), ("enable", {"x": 1})]
    for name, body in rows:
        with Platform() as p:
            if name != "create":
                p.checkers.add(GOOD)
            assert api(p, "POST", name, body)[0] == 400 and p.errors, (name, body)
    with Platform() as p:
        for path in ("list?pageSize=101", "list?pageIndex=0", "list?page=1", "nothing"):
            assert api(p, "GET", path)[0] in (400, 404)
        assert api(p, "POST", "create", GOOD, kind="text/plain")[0] == 400
        assert len(p.errors) == 5, p.errors
        p.errors.clear()
        api(p, "POST", "create", GOOD)
        api(p, "POST", "create", GOOD)
        assert len(p.errors) == 1 and "second row" in p.errors[0]


def test_keys_and_limits():
    """the credential rule, the role, and a limit that is a 401"""
    with Platform() as p:
        get = lambda key: ask(p, "GET", "/api/v1/workspace/get", headers={"DF-API-KEY": key})
        assert get(p.key_id)[1]["content"]["token"] == p.token
        assert get(p.key)[0] == 403 and get(p.key)[1]["errorCode"] == "ft.InvalidAPIKey"
        p.accepts, p.bad_key_status = "key", 401
        assert get(p.key)[0] == 200 and get(p.key_id)[0] == 401
        p.administrator = False
        assert get(p.key)[1]["content"]["token"] == ""
        p.limit = len(p.calls) + 1
        assert get(p.key)[0] == 200
        status, answer, _ = get(p.key)
        assert (status, answer["errorCode"], answer["success"]) == (401, "ft.TriggerApiAkCurrentLimiting", False)
        p.check()


def test_events():
    """a good event is taken, on OpenWay and by DataKit"""
    with Platform() as p:
        row = p.checkers.add(GOOD)
        assert write(p, line(row)) == 200, p.errors
        assert write(p, line(row, 2), "datakit") == 200, p.errors
        assert [(e.road, e.title, e.dimension) for e in p.events] == [
            ("openway", "t", {"host": "my host"}), ("datakit", "t", {"host": "my host"})]
        long = "\n".join(line(row, n) for n in range(3, 103))
        assert write(p, gzip.compress(long.encode()), **{"Content-Encoding": "gzip"}) == 200, p.errors
        assert len(p.events) == 102 and not p.duplicates()
        write(p, line(row, 5))
        assert p.duplicates() == ["event-%032x" % 5]
        p.check()


def test_events_strict():
    """every fault of an event or of its request is refused and remembered"""
    fault = {"df_status": "error"}
    rows = {
        "missing tag": line_of(tags={"df_event_id": None}), "missing field": line_of(fields={"df_title": None}),
        "unknown tag": line_of(tags={"zone": "x"}), "unknown field": line_of(fields={"value": "1i"}),
        "dimension is no tag": line_of(tags={"host": None}), "dimension differs": line_of(tags={"host": "x"}),
        "other ref": line_of(tags={"df_monitor_checker_event_ref": "0" * 32}),
        "unknown key": line_of(tags={"df_monitor_ref_key": "x"}), "unknown uuid": line_of(tags={"df_monitor_checker_id": "rul_x"}),
        "event id": line_of(tags={"df_event_id": "event-1"}), "status": line_of(tags={"df_status": "bad"}),
        "fault without its fields": line_of(tags=fault, fields={"df_fault_status": '"fault"'}),
        "number as text": line_of(fields={"df_date_range": '"0"'}), "old": line_of(stamp=1574243766000000000),
        "trailing newline": lambda row: line(row) + "\n", "101 points": lambda row: "\n".join(line(row, n) for n in range(101)),
        "not compressed": lambda row: "\n".join(line(row, n) for n in range(60)),
        "latin-1": lambda row: line(row).encode() + b"\xff"}
    for name, make in rows.items():
        with Platform() as p:
            assert write(p, make(p.checkers.add(GOOD))) == 400 and p.errors and not p.events, name
    with Platform() as p:
        row = p.checkers.add(GOOD)
        zipped = gzip.compress(line(row).encode())
        assert write(p, zipped, **{"Content-Encoding": "gzip"}) == 400, "small and compressed"
        assert write(p, zipped[:-9], **{"Content-Encoding": "gzip"}) == 400
        assert write(p, line(row), **{"DF-API-KEY": p.key_id}) == 400, "the key on OpenWay"
        assert ask(p, "POST", "/v1/write/keyevent?token=x", line(row).encode(), {}, "openway", "text/plain")[0] == 403
        assert ask(p, "POST", f"/v1/write/keyevent?token={p.token}", line(row).encode(), {}, "openway")[0] == 400
        assert len(p.errors) == 4 and not p.events, p.errors


def line_of(**change):
    return lambda row: line(row, **change)


def test_report_event():
    """outer_function: the documented fields only, and a failure inside a 200"""
    with Platform() as p:
        call = lambda **more: ask(p, "POST", "/api/v1/outer_function/execute", {
            "funcId": "guance__openapi.report_event", "funcBody": {"kwargs": {
                "workspace_uuid": p.uuid, "workspace_token": p.token, "data": [
                    {"title": "t", "message": "m", "status": "error", "dimension_tags": {"a": "b"}, **more}]}}})
        assert call()[1]["content"]["error"] == 200 and p.events[0].dimension == {"a": "b"}
        p.inner.append({"error": 599.3, "message": "no", "reason": "EFuncFailed"})
        status, answer, _ = call()
        assert status == 200 and answer["success"] and answer["content"]["error"] == 599.3 and len(p.events) == 1
        p.check()
        assert call(colour="red")[0] == 400 and p.errors


def test_dway():
    """signatures full and empty are told apart; a wrong or old one is refused"""
    def sign(p, body, mode, age=0):
        date = email.utils.formatdate(time.time() - age, usegmt=True)
        data, kind = (body, "text/plain") if mode == "full" else (b"", "")
        text = f"POST\n{base64.b64encode(hashlib.md5(data).digest()).decode()}\n{kind}\n{date}"
        mac = base64.b64encode(hmac.new(b"sk", text.encode(), "sha1").digest()).decode()
        return write(p, body, Date=date, Authorization=f"DWAY ak:{mac}")
    with Platform() as p:
        body = line(p.checkers.add(GOOD)).encode()
        for mode, other in (("full", "empty"), ("empty", "full")):
            p.dway = ("ak", "sk", mode)
            assert [sign(p, body, mode), sign(p, body, other), sign(p, body, mode, 1000), write(p, body)] == \
                [200, 401, 401, 401]


def test_misbehaviour():
    """rules answer, cut, reset, delay and lie about the date, so many times as asked"""
    with Platform() as p:
        p.misbehave("/workspace/get", times=2, status=503, headers={"Retry-After": "7"}, body="{}")
        get = lambda: ask(p, "GET", "/api/v1/workspace/get")
        status, _, headers = get()
        assert status == 503 and headers["Retry-After"] == "7"
        assert [get()[0], get()[0]] == [503, 200]
        for how in ({"cut": True, "body": '{"code":'}, {"reset": True}):
            p.misbehave("/workspace/get", **how)
            try:
                get()
            except (OSError, http.client.HTTPException):
                continue
            raise AssertionError(how)
        p.clock_offset = 3600
        date = email.utils.parsedate_to_datetime(get()[2]["Date"]).timestamp()
        assert 3590 < date - time.time() < 3610
        port = p.ports["openapi"]
        p.stop("openapi")
        try:
            get()
            raise AssertionError("it still answers")
        except OSError:
            pass
        p.start("openapi")
        assert p.ports["openapi"] == port and get()[0] == 200
        assert p.calls_per_minute() == len(p.of("/workspace/get", "openapi")) == 7


def test_tls_and_proxy():
    """certificates of the private CA hold for its trusters only; a tunnel is seen"""
    with tempfile.TemporaryDirectory() as folder, Proxy() as proxy:
        authority = Authority(folder)
        rows = [("good", authority.issue("good"), None), ("alone", authority.self_signed(), "self-signed"),
                ("expired", authority.expired(), "expired"), ("name", authority.issue("n", "DNS:example.org"), "mismatch")]
        context = ssl.create_default_context(cafile=authority.ca)
        for name, pair, word in rows:
            with Platform(tls=pair) as p:
                connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=context, timeout=10)
                connection.set_tunnel("127.0.0.1", p.ports["openapi"])
                try:
                    connection.request("GET", "/api/v1/workspace/get", headers={"DF-API-KEY": p.key_id, "User-Agent": "t"})
                    assert connection.getresponse().status == 200 and word is None, name
                except ssl.SSLError as error:
                    assert word and word in str(error), (name, error)
                finally:
                    connection.close()
        assert len(proxy.seen) == 4 and all(s.startswith("CONNECT 127.0.0.1:") for s in proxy.seen)


run_all(globals())
