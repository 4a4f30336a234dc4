"""A real database judges our line protocol: what the program would send over OpenWay is written to
influxd, queried back and compared, field by field and tag by tag."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

from harness import BINARY, run_all, wait_for

TOOL = pathlib.Path(BINARY).parent / "tests" / "tool_keyevents"
EVENTS = 1000
BATCH = 100
AT = 1_700_000_000_000_000_000
OUR_TAGS = ["df_event_id", "df_monitor_checker_event_ref", "df_monitor_checker_id", "df_monitor_ref_key",
            "df_monitor_type", "df_source", "df_status"]
NUMBERS = ["df_date_range", "df_fault_duration", "df_fault_start_time", "df_issue_duration",
           "df_issue_start_time"]

CONFIG = '''
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "{dir}/meta"
[data]
  dir = "{dir}/data"
  wal-dir = "{dir}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:0"
  log-enabled = false
'''


class Influx:
    """A database server of its own on a port that it chose itself."""

    def __init__(self, process, port):
        self.process, self.base = process, f"http://127.0.0.1:{port}"
        # The environment's proxies have no business on the loopback interface.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, path, query, data=None, headers=None):
        url = f"{self.base}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, data=data, headers=headers or {})
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def query(self, text, **more):
        status, body = self.call("/query", {"q": text, **more}, data=b"")
        answer = json.loads(body)
        assert status == 200 and "error" not in answer["results"][0], (text, body)
        return answer["results"][0].get("series", [])

    def write(self, body, gzip):
        headers = {"Content-Type": "text/plain"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return self.call("/write", {"db": "events"}, data=body, headers=headers)


@contextlib.contextmanager
def influx():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="selfmon-influx-"))
    config, log = directory / "influx.conf", directory / "influx.log"
    config.write_text(CONFIG.format(dir=directory))
    with open(log, "w") as out:
        process = subprocess.Popen(["influxd", "-config", str(config)], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=out, env={**os.environ, "HOME": str(directory)})

    def port():
        assert process.poll() is None, log.read_text()
        line = re.search(r"Listening on HTTP.*?addr=\S*?:(\d+)", log.read_text())
        return line and int(line.group(1))
    try:
        server = Influx(process, wait_for(port, "influxd listens", 60))
        wait_for(lambda: server.call("/ping", {})[0] == 204, "influxd answers", 60)
        server.query("CREATE DATABASE events")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def encode(batches):
    """The bodies that our code makes of batches of payloads: [(bytes, gzip, bad)]."""
    assert TOOL.exists(), f"{TOOL} is not built (target tool_keyevents)"
    text = "".join(json.dumps(b, ensure_ascii=False) + "\n" for b in batches)
    done = subprocess.run([TOOL], input=text.encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out, found = done.stdout, []
    while out:
        head, out = out.split(b"\n", 1)
        head = json.loads(head)
        found.append((out[:head["n"]], head["gzip"], head["bad"]))
        out = out[head["n"]:]
    assert len(found) == len(batches)
    return found


PIECES = [" ", ",", "=", '"', "\\", "\n", "\t", "\r\n", "'", "#", "🔥", "👩‍🚒", "中文", "值", "é", "\u3000", "\u00a0",
          "\u2028", "a", "b", "host", "0", "95%", "|", "`", "*", "[", "]", "{", "}", ":", "/", "$", "\\n", "\\\"",
          "\\ ", "\\,", "\\=", "://", "ｗ", "\u200b", "𝄞"]


def random_text(rng, most):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, most)))


def random_payload(rng, number, event_id=None):
    tags = {random_text(rng, 6): random_text(rng, 8) for _ in range(rng.randint(0, 6))}
    if rng.random() < 0.5:
        tags["host"] = random_text(rng, 8)
    event = {"event_id": event_id or f"event-{rng.getrandbits(128):032x}", "at_ns": AT + number,
             "title": random_text(rng, 12), "message": random_text(rng, 60),
             "status": rng.choice(["ok", "info", "warning", "error", "critical"]), "dimension_tags": tags,
             "dimension": json.dumps(tags, ensure_ascii=False, sort_keys=True, separators=(",", ":"))}
    if rng.random() < 0.5:
        event |= {"fault_id": f"event-{rng.getrandbits(128):032x}",
                  "fault_start_ns": AT - rng.randint(0, 10**15)}
    return {"run": "r", "id": "demo/a.run", "ref_key": f"{rng.getrandbits(128):032x}", "account": "default",
            "node": "default", "checker": f"rul_{number % 7}", "title": random_text(rng, 10), "attempt": 0,
            "event": event}


def normal(text):
    """Names and tag values as documented: each white space one blank, no backslash before one or at the end."""
    return re.sub(r"\\+( |$)", r"\1", re.sub(r"\s", " ", text))


def expected_tags(payload):
    tags = {}
    for key in sorted(payload["event"]["dimension_tags"]):
        name, value = normal(key), normal(payload["event"]["dimension_tags"][key])
        if name and name not in tags:
            tags[name] = value
    return {k: v for k, v in tags.items() if v}


def expected_fields(payload):
    event = payload["event"]
    ok, at = event["status"] == "ok", event["at_ns"]
    fields = {"df_title": event["title"], "df_message": event["message"], "df_dimension_tags": event["dimension"],
              "df_monitor_checker_name": payload["title"], "df_monitor_checker": "self_hosted_monitor",
              "df_monitor_checker_sub": "check", "df_exec_mode": "crontab", "df_date_range": 0,
              "df_fault_status": "ok" if ok else "fault"}
    if "fault_id" in event or not ok:
        start = event.get("fault_start_ns", at)
        lasted = (at - start) // 10**9
        fields |= {"df_fault_id": event.get("fault_id", event["event_id"]), "df_fault_start_time": start // 10**9,
                   "df_fault_duration": lasted, "df_issue_start_time": start // 10**9,
                   "df_issue_duration": lasted}
    return fields


def read_back(server):
    """Every point of the measurement by event id: (time, tags, fields)."""
    kinds = server.query("SHOW FIELD KEYS FROM monitor", db="events")
    names = {name for name, _ in kinds[0]["values"]} if kinds else set()
    found = {}
    for series in server.query("SELECT * FROM monitor", db="events", epoch="ns"):
        for row in series["values"]:
            point = {c: v for c, v in zip(series["columns"], row) if v is not None}
            at = point.pop("time")
            key = point["df_event_id"]
            assert key not in found, f"{key} is there twice"
            found[key] = (at, {c: v for c, v in point.items() if c not in names},
                          {c: v for c, v in point.items() if c in names})
    return found


def compare(payloads, found):
    assert len(found) == len(payloads), f"{len(payloads)} events were written, {len(found)} are there"
    for payload in payloads:
        event = payload["event"]
        assert event["event_id"] in found, event
        at, tags, fields = found[event["event_id"]]
        ours = {k: tags.pop(k) for k in OUR_TAGS}
        assert at == event["at_ns"], (at, event)
        assert tags == expected_tags(payload), f"\nhave {tags}\nwant {expected_tags(payload)}\nof {event}"
        assert fields == expected_fields(payload), f"\nhave {fields}\nwant {expected_fields(payload)}"
        assert all(type(fields[k]) is int for k in NUMBERS if k in fields), fields
        assert re.fullmatch("[0-9a-f]{32}", ours.pop("df_monitor_checker_event_ref")), ours
        assert ours == {"df_event_id": event["event_id"], "df_monitor_checker_id": payload["checker"],
                        "df_monitor_ref_key": payload["ref_key"], "df_monitor_type": "bot_obs",
                        "df_source": "monitor", "df_status": event["status"]}, ours


def test_random_events():
    """1,000 random events are written to a real InfluxDB, queried back, and equal"""
    seed = int(os.environ.get("SELFMON_SEED") or random.randrange(2**32))
    print(f"# seed {seed} (SELFMON_SEED)")
    rng = random.Random(seed)
    payloads = [random_payload(rng, i) for i in range(EVENTS)]
    batches = [payloads[i:i + BATCH] for i in range(0, EVENTS, BATCH)]
    bodies = encode(batches)
    with influx() as server:
        for body, gzip, bad in bodies:
            assert bad is None, bad
            assert gzip == body.startswith(b"\x1f\x8b")
            status, answer = server.write(body, gzip)
            assert status == 204, (status, answer)
        compare(payloads, read_back(server))


def one(tags, message="text"):
    event = {"event_id": "event-" + "0" * 32, "at_ns": AT, "title": "t", "message": message, "status": "ok",
             "dimension_tags": tags, "dimension": json.dumps(tags)}
    return {"ref_key": "r", "checker": "rul_1", "title": "T", "event": event}


def test_backslash_before_a_blank():
    """a backslash before a blank is left out of a tag, as a reader loses the line's end with it"""
    payload = one({"dir": "C:\\ x\\,y"}, "two\nlines")
    (body, gzip, _), = encode([[payload]])
    kept = body.replace(b"dir=C:\\ x", b"dir=C:\\\\ x")
    assert kept != body, body
    with influx() as server:
        status, answer = server.write(kept, gzip)
        assert status == 400 and b"unable to parse" in answer, (status, answer)
        status, answer = server.write(body, gzip)
        assert status == 204, (status, answer)
        compare([payload], read_back(server))


if __name__ == "__main__":
    run_all(globals())
