"""What the fault tests share: the oracle, the faults, the check of the promise.

The oracle is an HTTP server in the test's own process, so no kill of the program reaches it. The
script tells it "try TOKEN" before it reports and "ack TOKEN ID" after report() returned ID; the
token is the event's title. What report() returned for must be in the store after any fault, once,
with that id and that title, and be delivered by a run without faults.
"""
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

from harness import BINARY, clean_env, wait_for  # noqa: E402,F401


class Oracle:
    """Remembers tries, acknowledgements (token -> id) and refusals (token -> sentence)."""

    def __init__(self):
        self.tried, self.acked, self.refused = set(), {}, {}
        self.lock = threading.Lock()
        oracle = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                oracle.note(*body.split(" ", 2))
                with contextlib.suppress(OSError):  # the script may be dead by now
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def note(self, kind, token, rest=""):
        with self.lock:
            if kind == "try":
                self.tried.add(token)
            elif kind == "ack":
                assert token not in self.acked, f"{token} was acknowledged twice"
                self.acked[token] = rest
            else:
                self.refused[token] = rest

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


PRODUCER = '''monitor{{ title = "Producer", schedule = "{schedule}", timeout = 20 }}
function run(params)
  local http, crypto = require "selfmon.http", require "selfmon.crypto"
  local reporter = EventReporter()
  local function tell(text)
    local res, err = http.post("{url}", {{ body = text, timeout = 5 }})
    if not res then error(err) end
  end
  for i = 1, {count} do
    local token = crypto.uuid()
    tell("try " .. token)
    local ok, id = pcall(reporter.report, reporter, {{ title = token, message = ("x"):rep({size}),
      status = "warning", dimension_tags = {{ n = tostring(i % 3) }} }})
    if ok then tell("ack " .. token .. " " .. id)
    else tell("no " .. token .. " " .. tostring(id)) {give_up} end
  end
end
'''


def producer(oracle, count=4, schedule="0 0 1 1 *", size=1, give_up=True):
    """A script that reports `count` events and tells the oracle of each."""
    return PRODUCER.format(url=oracle.url, count=count, schedule=schedule, size=size,
                           give_up="error(id, 0)" if give_up else "")


def integrity(state):
    """PRAGMA integrity_check on a copy of the database and its journal, as a kill left them."""
    if not (state / "selfmon.db").exists():
        return
    with tempfile.TemporaryDirectory(prefix="selfmon-db-") as copy:
        for name in ("selfmon.db", "selfmon.db-wal"):
            if (state / name).exists():
                shutil.copy(state / name, copy)
        db = sqlite3.connect(pathlib.Path(copy) / "selfmon.db")
        try:
            said = db.execute("PRAGMA integrity_check").fetchall()
            assert said == [("ok",)], said
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        finally:
            db.close()


def rows(state, sql):
    """Rows of a store that nobody holds; on a copy, so that nothing of the test stays behind."""
    with tempfile.TemporaryDirectory(prefix="selfmon-db-") as copy:
        for name in ("selfmon.db", "selfmon.db-wal"):
            if (state / name).exists():
                shutil.copy(state / name, copy)
        db = sqlite3.connect(pathlib.Path(copy) / "selfmon.db")
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()


def check_promise(p, oracle, what, state=None):
    """A run without faults, then: lost = unexpected = duplicated = 0, all delivered, a fresh event
    flows, the store is whole. The store must be held by nobody."""
    state = state or p.dir / ".selfmon"
    integrity(state)
    before = len(oracle.acked)
    done = p.run("run", "--once", "--state-dir", str(state), "inspections/")
    assert done.code == 0, (what, done)
    assert len(oracle.acked) > before, (what, "no fresh event was acknowledged", done)
    listed = p.run("events", "--json", "-n", "100000", "--state-dir", str(state))
    assert listed.code == 0, (what, listed)
    compare(oracle, listed.json(), what)
    integrity(state)
    there = dict(rows(state, "SELECT event_id, count(*) FROM local_events GROUP BY event_id"))
    stored = {e["event_id"] for e in listed.json()}
    assert set(there) == stored, (what, "delivered is not what was stored", set(there) ^ stored)
    assert set(there.values()) <= {1}, (what, "delivered twice", there)
    assert not list(state.glob("*.corrupt.*")), (what, "the database was moved aside")


def compare(oracle, events, what):
    """lost = unexpected = duplicated = 0 and everything delivered."""
    events = [e for e in events if "selfmon_function" not in e["dimension_tags"]]  # the runner's own
    by_id = {e["event_id"]: e for e in events}
    with oracle.lock:
        tried, acked = set(oracle.tried), dict(oracle.acked)
    assert len(by_id) == len(events), (what, "an id is there twice")
    titles = [e["title"] for e in events]
    twice = sorted({t for t in titles if titles.count(t) > 1}) if len(set(titles)) != len(titles) else []
    assert not twice, (what, "an event is stored under two ids", twice[:3])
    lost = {t: i for t, i in acked.items() if i not in by_id}
    assert not lost, (what, "acknowledged, then lost", lost)
    wrong = {t for t, i in acked.items() if by_id[i]["title"] != t}
    assert not wrong, (what, "stored under the id of another", wrong)
    assert set(titles) <= tried, (what, "stored, but never reported", set(titles) - tried)
    waiting = [e for e in events if e["delivery"] != "delivered"]
    assert not waiting, (what, "not delivered", waiting)


def five_checks(oracle, events, arrived, what):
    """What report() returned for against what the store lists and the platform took (in order of arrival): lost,
    unexpected, one body per id, no report under two ids, everything delivered. The sixth, that a fresh event
    flows, is the caller's. Returns the counts as one line."""
    with oracle.lock:
        tried, acked = set(oracle.tried), dict(oracle.acked)
    bodies = {}
    for event in arrived:
        bodies.setdefault(event.id, []).append((event.title, json.dumps(event.dimension, sort_keys=True),
                                                event.all.get("df_message")))
    lost = {t: i for t, i in acked.items() if i not in bodies}
    assert not lost, (what, f"{len(lost)} acknowledged, then lost", list(lost.items())[:3])
    unexpected = [b for b in bodies.values() if b[0][0] not in tried]
    assert not unexpected, (what, "arrived, but never reported", unexpected[:3])
    changed = {i: b for i, b in bodies.items() if len(set(b)) != 1}
    assert not changed, (what, "one id with two bodies", list(changed.items())[:3])
    wrong = [t for t, i in acked.items() if bodies[i][0][0] != t]
    assert not wrong, (what, "the body of another", wrong[:3])
    assert len({b[0][0] for b in bodies.values()}) == len(bodies), (what, "one report under two ids")
    waiting = [e for e in events if e["delivery"] != "delivered"]
    assert not waiting, (what, f"{len(waiting)} not delivered", waiting[:2])
    repeats = sum(map(len, bodies.values())) - len(bodies)
    return (f"{len(acked)} acknowledged, {len(bodies)} arrived, {repeats} sent again with the same id, lost 0, "
            f"unexpected 0, duplicates by id 0")


def inject(p, rules, args, timeout=30, state=None, only=None):
    """Runs the program under strace with -e inject rules; returns (exit code, stdout+stderr). A program
    that was killed by a signal has a negative code. No end within the timeout is a failure."""
    calls = sorted({call for rule in rules for call in rule.split(":")[0].split(",")})
    command = ["strace", "-f", "-qqq", "-o", os.devnull, "-e", "trace=" + ",".join(calls)]
    if only:
        command += ["-P", str(only)]
    for rule in rules:
        command += ["-e", "inject=" + rule]
    command += [BINARY, *args]
    if state:
        command += ["--state-dir", str(state)]
    log = p.dir / "strace.out"
    with open(log, "w") as out:
        process = subprocess.Popen(command, cwd=p.dir, env=clean_env(**getattr(p, "env", {})), stdout=out, stderr=out,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            raise AssertionError(f"{rules}: no end within {timeout} s\n{log.read_text()}") from None
    return code, log.read_text(errors="replace")


def fresh_state(p, number, template=None):
    """A state directory of its own for one schedule, empty or a copy of a template."""
    state = p.dir / f"state.{number}"
    if template:
        shutil.copytree(template, state)
    else:
        state.mkdir(mode=0o700)
    return state


def stat_of(pid):
    """Fields of /proc/PID/stat from the state on; None when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def cpu_seconds(pid):
    fields = stat_of(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid):
    """{pid: state} of the direct children, zombies included."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        fields = stat_of(entry.name) if entry.name.isdigit() else None
        if fields and int(fields[1]) == pid:
            found[int(entry.name)] = fields[0]
    return found


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
