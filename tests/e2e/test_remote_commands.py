"""nodes, doctor, and the sentence that each bad input gets; no secret in any of them."""
import json
import pathlib

from harness import run_all, wait_for, workers_of
from remote import Authority, Platform, RemoteProject, Trap, report, script, shop

KEYS = {"SELFMON_API_KEY_ID": "wsak_0123456789abcdef", "SELFMON_API_KEY": "secret-key-of-the-tests"}


def bare(env):
    p = RemoteProject(env)
    p.script("a.lua", script())
    return p


def test_configuration_sentences():
    """one address without the other, unknown node, bare us1: exit 78 and a sentence"""
    rows = [({"SELFMON_OPENAPI_URL": "http://127.0.0.1:1"}, ["SELFMON_OPENAPI_URL", "SELFMON_OPENWAY_URL"]),
            ({"SELFMON_OPENWAY_URL": "http://127.0.0.1:1"}, ["SELFMON_OPENAPI_URL", "SELFMON_OPENWAY_URL"]),
            ({"SELFMON_NODE": "mars"}, ["mars"]), ({"SELFMON_NODE": "truewatch/us2"}, ["us2", "truewatch/us1"]),
            ({"SELFMON_NODE": "truewatch/cn4"}, ["cn4"]),
            *[({"SELFMON_NODE": n}, [f"guance/{n}", f"truewatch/{n}"]) for n in ("us1", "eu1", "ap1", "za1", "id1")],
            ({"SELFMON_OPENAPI_URL": "ftp://h", "SELFMON_OPENWAY_URL": "http://127.0.0.1:1"}, ["SELFMON_OPENAPI_URL", "https://"])]
    for env, words in rows:
        p = bare({**KEYS, **env})
        try:
            done = p.once("--wait", "1")
            assert done.code == 78 and all(w in done.err for w in words), (env, done)
            assert len(done.err.strip().splitlines()) == 1, done
            assert not any(v in done.out + done.err for v in KEYS.values())
        finally:
            p.close()


def test_nodes():
    """nodes prints the table of both brands; --brand chooses; --json is an array"""
    p = bare({})
    try:
        done = p.run("nodes")
        assert done.code == 0, done
        for word in ("default", "aws", "cn3", "cn4", "cn5", "cn6", "guance/us1", "truewatch/us1", "truewatch/ap1",
                     "https://openapi.guance.com", "https://us1-openapi.truewatch.com", "https://us1-openway.truewatch.com",
                     "https://cn6-openapi.guance.one"):
            assert word in done.out, (word, done.out)
        only = p.run("nodes", "--brand", "truewatch").out
        assert "guance.com" not in only and "truewatch.com" in only
        rows = p.run("nodes", "--json").json()
        assert isinstance(rows, list) and any("https://eu1-openway.truewatch.com" in json.dumps(r) for r in rows)
        assert p.run("nodes", "--brand", "acme").code == 64
    finally:
        p.close()


def doctor(p, *args, env=None):
    done = p.run("doctor", *args, env=env, timeout=120)
    return done, done.out + done.err


def test_doctor_healthy():
    """doctor on a good account: exit 0, both addresses, the workspace, no secret"""
    with shop() as (p, platform):
        p.script("a.lua", script())
        done, text = doctor(p)
        assert done.code == 0, done
        assert platform.url("openapi") in text and platform.url("openway") in text
        assert not any(x in text for x in (platform.key, platform.key_id, platform.token))
        assert not platform.events and not platform.checkers.created, "it changes nothing"
        platform.check()


def test_doctor_configuration():
    """doctor --config shows each value with its origin, secrets masked"""
    with shop() as (p, platform):
        p.account("timeout = 7")
        done, text = doctor(p, "--config")
        assert done.code == 0 and "SELFMON_OPENAPI_URL" in text and "selfmon.conf.lua" in text and "7" in text, done
        assert platform.key not in text


def test_doctor_sends_events():
    """--send-event: one marked event by each road"""
    with shop() as (p, platform):
        platform.marked = True
        p.script("a.lua", script())
        p.once()
        done, text = doctor(p, "--send-event")
        assert done.code == 0, done
        assert sorted(e.road for e in platform.events) == ["openway", "report_event"], platform.events
        assert all("selfmon" in e.title.lower() or "doctor" in e.title.lower() for e in platform.events)
        platform.check()


def test_doctor_finds():
    """each fault is found: exit 1 and its sentence"""
    invalid = json.dumps({"code": 403, "content": {}, "errorCode": "ft.InvalidAPIKey", "message": "m", "success": False,
                          "traceId": "trace-5"})
    def no_role(platform):
        platform.administrator = False
    def no_token(platform):
        platform.administrator, platform.token_without_role = False, None
    def ahead(platform):
        platform.clock_offset = 3600
    def behind(platform):
        platform.clock_offset = -3600
    def closed(platform):
        platform.openway_open = False
    rows = [("no role", no_role, ["Administrator"]), ("no token", no_token, ["Administrator"]),
            ("bad key", lambda s: s.misbehave("/api/v1/", times=None, status=403, body=invalid), ["ft.InvalidAPIKey", "trace-5"]),
            ("key of another brand", lambda s: setattr(s, "accepts", "none"), ["ft.InvalidAPIKey", "where it was made"]),
            ("clock ahead", ahead, ["clock"]), ("clock behind", behind, ["clock"]),
            ("closed OpenWay", closed, ["OpenWay", "403"]), ("openapi down", lambda s: s.stop("openapi"), ["openapi"]),
            ("openway down", lambda s: s.stop("openway"), ["OpenWay"]),
            ("html", lambda s: s.html("/", times=None), ["HTML"]),
            ("redirect", lambda s: s.misbehave("/", times=None, status=302, headers={"Location": "http://127.0.0.1:9/"}),
             ["302"])]
    missed = []
    for name, spoil, words in rows:
        with shop() as (p, platform):
            spoil(platform)
            done, text = doctor(p)
            if done.code != 1 or not all(word.lower() in text.lower() for word in words):
                missed.append(f"{name}: expected {words}; {done}")
            assert not any(x in text for x in (platform.key, platform.key_id, platform.token)), name
    assert not missed, "\n".join(missed)


def test_doctor_self_signed():
    """doctor names a self-signed certificate"""
    p = RemoteProject({})
    try:
        with Platform(tls=Authority(p.dir / "ca").self_signed()) as platform:
            p.env.update(platform.env)
            done, text = doctor(p)
            assert done.code == 1 and "certificate" in text.lower() and "self" in text.lower(), done
            assert not platform.calls
    finally:
        p.close()


def test_doctor_file_modes():
    """a secrets file that others can read is refused"""
    with shop() as (p, platform):
        del p.env["SELFMON_API_KEY"]
        path = p.write("key", platform.key + "\n")
        path.chmod(0o644)
        done, text = doctor(p, env={"SELFMON_API_KEY_FILE": str(path)})
        assert done.code != 0 and str(path) in text and platform.key not in text, done


def test_role_is_said_at_a_run():
    """a key without the role: the run's sentence names the Administrator role"""
    with shop() as (p, platform):
        platform.administrator = False
        p.script("a.lua", script(report("x")))
        done = p.once("--wait", "2", "--drain", "2")
        assert done.code == 1, done
        text = done.out + done.err + json.dumps(p.events()) + json.dumps(p.runs())
        assert "Administrator" in text, text
        assert not platform.writes and "refused" not in p.deliveries()


def test_default_node_is_named():
    """a key and no node: default (Guance), with a line that names SELFMON_NODE=truewatch/us1"""
    p = bare({**KEYS, "HTTPS_PROXY": "http://127.0.0.1:9"})
    try:
        done = p.once("--wait", "1", "--drain", "1")
        assert "SELFMON_NODE=truewatch/us1" in done.out + done.err and "default" in done.out + done.err, done
    finally:
        p.close()


def everything(folder):
    """Bytes of every file below, by name."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in pathlib.Path(folder).rglob("*") if f.is_file()}


def test_secrets_are_nowhere():
    """key, key id, token and association secret: in no output, log, ps, worker, state file or foreign request"""
    with shop() as (p, platform), Trap() as trap:
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run()\nlocal http = require "selfmon.http"\n'
                          f'http.get("{trap.url("openway")}/x")\nprint(os.getenv)\n' + report("E") + "\nend")
        p.script("bad.lua", script('error("no")', title="b"))
        d = p.daemon("-v", "inspections/")
        wait_for(lambda: len(platform.events) > 2 and trap.calls, "events and a foreign request")
        platform.misbehave("/", times=6, status=500, body="oops")
        wait_for(lambda: all(r.used == 6 for r in platform.rules), "failures", 30)
        shown = [p.run(*args) for args in (("list", "--json"), ("events", "--json"), ("runs", "--log", "--json"),
                                           ("status", "--json"), ("status",), ("doctor", "--config"), ("key", "a.run"))]
        text = b""
        for pid in [d.pid, *workers_of(d.pid)]:
            text += pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in workers_of(d.pid):
            text += pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        for pid in [d.pid, *workers_of(d.pid)]:
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            assert next(x for x in limits.splitlines() if "core file" in x).split()[4] == "0", "it would leave a core"
        assert d.stop() == 0
        text += d.out.encode() + d.err.encode() + b"".join((x.out + x.err).encode() for x in shown)
        text += "".join(c.url + str(c.headers) for c in trap.calls).encode()
        text += b"".join(c.body for c in trap.calls)
        text += b"".join(everything(p.dir / ".selfmon").values())
        for name, value in (("key", platform.key), ("key id", platform.key_id), ("token", platform.token),
                            ("association secret", p.env["SELFMON_SECRET"])):
            assert value.encode() not in text, name


def test_echoed_key_is_masked():
    """a platform or proxy that echoes the key or token in its answer does not bring it into our outputs"""
    with shop() as (p, platform):
        echo = json.dumps({"code": 500, "content": {}, "errorCode": "ft.X", "success": False, "traceId": "t",
                           "message": f"bad {platform.key_id} {platform.key}"})
        platform.misbehave("/list", times=None, status=500, body=echo)
        platform.misbehave("/keyevent", times=None, status=403, body=f"token {platform.token} is bad")
        p.script("a.lua", script(report("x")))
        first = p.once("--wait", "2", "--drain", "2", "--json")
        platform.rules.pop(0)
        second = p.once("--wait", "5", "--drain", "3", "-v")
        text = "".join(x.out + x.err for x in (first, second)) + json.dumps(p.events()) + json.dumps(p.runs("--log"))
        assert "held" in p.deliveries(), text
        text = text.encode() + b"".join(everything(p.dir / ".selfmon").values())
        for value in (platform.key, platform.key_id, platform.token):
            assert value.encode() not in text


def test_script_keys_are_linted():
    """credentials in a script draw lint's warning, which does not repeat them"""
    with Platform() as platform:
        p = RemoteProject({})
        try:
            p.script("a.lua", script(api_key_id=f"'{platform.key_id}'", api_key=f"'{platform.key}'",
                                     node=f"{{ openapi = '{platform.url('openapi')}', openway = '{platform.url('openway')}' }}"))
            done = p.run("lint", "inspections/")
            assert done.code == 1 and "api_key" in done.out, done
            assert platform.key not in done.out + done.err
        finally:
            p.close()


run_all(globals())
