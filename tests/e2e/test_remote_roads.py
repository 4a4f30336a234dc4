"""Roads to the platform: OpenWay with batches, gzip and signatures, report_event, DataKit, several accounts,
which credential is sent."""
import gzip
import json

from harness import run_all, wait_for
from remote import RATE, Platform, RemoteProject, many, ref_key, report, script, shop


def test_batches():
    """250 events are three requests of at most 100 points"""
    with shop() as (p, platform):
        p.script("a.lua", script(many(250)))
        assert p.outcomes() == {"a.run": "ok"}
        assert [c.points for c in platform.writes] == [100, 100, 50], [c.points for c in platform.writes]
        assert len(platform.events) == len({e.id for e in platform.events}) == 250
        assert {e.title for e in platform.events} == {f"E{n}" for n in range(1, 251)}
        platform.check()


def test_gzip():
    """compressed above 20,480 bytes and not below; the stand-in refuses anything else"""
    with shop() as (p, platform):
        p.script("a.lua", script(many(2, 5000)))
        p.script("b.lua", script(many(3, 9000)))
        assert set(p.outcomes().values()) == {"ok"}
        assert len(platform.events) == 5
        for call in platform.writes:
            raw = gzip.decompress(call.body) if call.headers.get("Content-Encoding") else call.body
            assert (len(raw) > 20480) == (call.headers.get("Content-Encoding") == "gzip")
        assert any(c.headers.get("Content-Encoding") for c in platform.writes)
        platform.check()


def test_large_events():
    """100 messages of 64 KiB pass, whole"""
    with shop() as (p, platform):
        p.script("a.lua", script(many(100, 65000)))
        assert p.outcomes() == {"a.run": "ok"}
        assert len(platform.events) == 100 and {len(e.fields["df_message"]) for e in platform.events} == {65001}
        platform.check()


def test_order_of_a_dimension():
    """events of one dimension arrive in the order of their reports"""
    with shop() as (p, platform):
        p.script("a.lua", script('for i = 1, 30 do EventReporter():report{ title = ("%02d"):format(i), message = "m", '
                                 'status = "error", dimension_tags = { d = i % 3 } } end'))
        assert p.outcomes() == {"a.run": "ok"}
        for d in "012":
            titles = [e.title for e in platform.events if e.dimension["d"] == d]
            assert titles == sorted(titles) and len(titles) == 10, titles
        platform.check()


def test_report_event():
    """report_via = report_event: lists of 100, nothing over OpenWay"""
    with shop() as (p, platform):
        p.account('report_via = "report_event"')
        p.script("a.lua", script(many(120)))
        assert p.outcomes() == {"a.run": "ok"}
        assert len(platform.events) == 120 and not platform.writes
        assert {e.road for e in platform.events} == {"report_event"}
        calls = platform.of("/outer_function/execute")
        assert len(calls) == 2 and all(json.loads(c.body)["funcId"] == "guance__openapi.report_event" for c in calls)
        assert {e.dimension["n"] for e in platform.events} == {str(n) for n in range(1, 121)}
        assert set(p.deliveries()) == {"delivered"}
        platform.check()


def test_report_event_fails_inside():
    """a failure inside a 200 (599.3) is no delivery: it is tried again"""
    with shop() as (p, platform):
        p.account('report_via = "report_event"')
        platform.inner.append({"error": 599.3, "reason": "EFuncFailed", "message": "function broke",
                               "detail": {"einfoTEXT": "Traceback"}})
        p.script("a.lua", script(report("once")))
        assert p.outcomes() == {"a.run": "ok"}
        assert len(platform.of("/outer_function/execute")) == 2 and platform.titles() == ["once"]
        assert p.events()[0]["attempts"] == 2
        platform.check()


def test_report_event_refused_inside():
    """a 4xx inside a 200 refuses the event, with the function's words"""
    with shop() as (p, platform):
        p.account('report_via = "report_event"')
        platform.inner.extend([{"error": 400.1, "reason": "EBadArg", "message": "no such status"}] * 9)
        p.script("a.lua", script(report("bad")))
        p.once("--drain", "5")
        event = p.events()[0]
        assert event["delivery"] == "refused" and "no such status" in event["reason"] and "400.1" in event["reason"], event
        platform.check()


def test_datakit():
    """report_via = datakit: events go there, nothing to OpenWay; no key and no token with them"""
    with shop() as (p, platform):
        p.account(f'report_via = "datakit", datakit = "http://127.0.0.1:{platform.ports["datakit"]}"')
        p.script("a.lua", script(many(120)))
        assert p.outcomes() == {"a.run": "ok"}
        assert {e.road for e in platform.events} == {"datakit"} and len(platform.events) == 120
        assert {c.server for c in platform.writes} == {"datakit"}
        for call in platform.writes:
            sent = call.url + str(call.headers)
            assert not any(x in sent for x in (platform.token, platform.key, platform.key_id))
        platform.check()


def test_dway():
    """DWAY signatures, full by default and empty by option; gzip with them or not"""
    for option, mode in (("", "full"), (', dway = "full"', "full"), (', dway = "empty"', "empty")):
        with shop() as (p, platform):
            platform.dway = ("ak_test", "s3cr3t/+=KEY", mode)
            p.account(f'access_key = "ak_test", secret_key = "s3cr3t/+=KEY"{option}')
            p.script("a.lua", script(many(60, 500)))
            p.script("b.lua", script(report("报警")))
            assert set(p.outcomes().values()) == {"ok"}
            assert len(platform.events) == 61, (mode, [c.status for c in platform.writes])
            platform.check()


def test_dway_wrong():
    """a wrong signature holds the events; nothing is refused"""
    with shop() as (p, platform):
        platform.dway = ("ak_test", "right", "full")
        p.account('access_key = "ak_test", secret_key = "wrong"')
        p.script("a.lua", script(report("x")))
        assert p.once("--drain", "3").code == 1
        assert p.deliveries() == ["held"] and not platform.events
        p.account('access_key = "ak_test", secret_key = "right"')
        assert p.once("--drain", "10").code == 0
        assert len(platform.events) == 2 and set(p.deliveries()) == {"delivered"}


def test_two_accounts_in_one_daemon():
    """two accounts on two stand-ins in one daemon: each inspection is with its own"""
    with Platform("one") as one, Platform("two") as two:
        p = RemoteProject(one.env)
        p.write("selfmon.conf.lua", f'''return {{ accounts = {{ default = {{ {RATE} }}, other = {{ {RATE},
          node = {{ openapi = "{two.url("openapi")}", openway = "{two.url("openway")}" }},
          api_key_id = "{two.key_id}", api_key = env("OTHER_KEY") }} }} }}''')
        p.env["OTHER_KEY"] = two.key
        try:
            every = 'schedule = "@every 1s"'
            body = "\nfunction run(params, ctx) " + report("E") + " print(ctx.account, ctx.node) end"
            p.script("a.lua", 'monitor{ title = "A", ' + every + " }" + body)
            p.script("b.lua", 'monitor{ title = "B", account = "other", ' + every + " }" + body)
            d = p.daemon()
            wait_for(lambda: one.events and two.events, "events at both")
            assert d.stop() == 0
            for platform, name in ((one, "a.run"), (two, "b.run")):
                assert [r["jsonScript"]["refFuncInfo"]["funcId"] for r in platform.checkers.rows] == [name]
                assert {e.tags["df_monitor_ref_key"] for e in platform.events} == {ref_key(name)}
                for call in platform.calls:
                    other = two if platform is one else one
                    assert not any(x in call.url + str(call.headers) for x in (other.key, other.key_id, other.token))
                platform.check()
            listed = {i["id"]: i["account"] for i in p.run("list", "--json").json()}
            assert listed == {"a.run": "default", "b.run": "other"}, listed
        finally:
            p.close()


def test_unfit_node_in_the_script():
    """a script whose own node does not fit does not load; nothing of it reaches the default account's workspace"""
    for node, word in (("'us1'", "truewatch/us1"), ("'nowhere'", "nowhere"),
                       ("{ openapi = 'http://192.0.2.1:1', openway = 'http://192.0.2.1:1' }", "https")):
        with shop() as (p, platform):
            p.script("a.lua", script(report("mine"), api_key_id="'wsak_of_another'", api_key="'sk_of_another_key'",
                                     node=node))
            done = p.once("--json")
            assert done.code != 0 and word in done.out, done
            assert not platform.checkers.rows and not platform.events and not p.events()


def test_another_key_in_the_script():
    """a script that is saved with another key of its own: the daemon goes on with that one"""
    with Platform() as platform:
        p = RemoteProject({})
        try:
            (p.dir / "selfmon.conf.lua").write_text(f"return {{ accounts = {{ default = {{ {RATE} }} }} }}")
            address = f"{{ openapi = '{platform.url('openapi')}', openway = '{platform.url('openway')}' }}"
            text = script(report("mine"), api_key="'KEY'", node=address, schedule="'@every 1s'")
            p.script("a.lua", text.replace("KEY", "sk_that_is_no_key_there"))
            d = p.daemon("--node", "local", "inspections/")
            wait_for(lambda: "InvalidAPIKey" in json.dumps(p.runs()), "the refused key")
            p.script("a.lua", text.replace("KEY", platform.key_id))
            wait_for(lambda: platform.events, "an event with the new key", 40)
            assert d.stop() == 0, d.err
        finally:
            p.close()


def test_credentials_in_the_script():
    """node and key in the script, as the original has it"""
    with Platform() as platform:
        p = RemoteProject({})
        try:
            (p.dir / "selfmon.conf.lua").unlink()
            p.script("a.lua", script(report("mine"), api_key_id=f"'{platform.key_id}'", api_key=f"'{platform.key}'",
                                     node=f"{{ openapi = '{platform.url('openapi')}', openway = '{platform.url('openway')}' }}"))
            assert p.outcomes() == {"a.run": "ok"}
            assert platform.titles() == ["mine"] and len(platform.checkers.rows) == 1
            platform.check()
        finally:
            p.close()


def test_key_id_first():
    """DF-API-KEY carries the Key ID; the key itself never leaves while the Key ID works"""
    with shop() as (p, platform):
        p.script("a.lua", script(report()))
        assert p.outcomes() == {"a.run": "ok"}
        sent = {c.headers["DF-API-KEY"] for c in platform.calls if c.server == "openapi"}
        assert sent == {platform.key_id}
        assert not any(platform.key in c.url + str(c.headers) or platform.key.encode() in c.body for c in platform.calls)
        platform.check()


def test_key_fallback():
    """ft.InvalidAPIKey for the Key ID: once the key, and what worked is remembered"""
    for status in (403, 401):
        with shop() as (p, platform):
            platform.accepts, platform.bad_key_status = "key", status
            p.script("a.lua", script(report()))
            assert p.outcomes() == {"a.run": "ok"}
            keys = [c.headers["DF-API-KEY"] for c in platform.calls if c.server == "openapi"]
            assert keys.count(platform.key_id) == 1 and keys[0] == platform.key_id, len(keys)
            platform.forget()
            assert p.outcomes() == {"a.run": "ok"}
            keys = [c.headers["DF-API-KEY"] for c in platform.calls if c.server == "openapi"]
            assert set(keys) == {platform.key}, "remembered over restarts"
            platform.check()


def test_path_prefix():
    """a path in the configured addresses is kept, a trailing slash is not doubled"""
    with shop(prefix="/inner/dw") as (p, platform):
        p.env.update({k: v + "/" for k, v in platform.urls.items()})
        p.script("a.lua", script(report()))
        assert p.outcomes() == {"a.run": "ok"}
        assert len(platform.events) == 1 and not any("//" in c.url for c in platform.calls)
        platform.check()


def test_token_rotates():
    """another workspace token: a 403 on the write, one workspace/get, delivered with the new one"""
    with shop() as (p, platform):
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() ' + report("E") + " end")
        d = p.daemon()
        wait_for(lambda: platform.events, "the first event")
        with platform.lock:
            platform.token = "tkn_" + "f" * 32
            seen = len(platform.events)
        wait_for(lambda: len(platform.events) > seen, "an event with the new token", 20)
        assert len(platform.of("/workspace/get")) == 2
        assert d.stop() == 0 and not platform.duplicates()
        assert "refused" not in p.deliveries()
        platform.check()


def test_key_file_rotates():
    """a key in a file is read again when the file changes"""
    with shop() as (p, platform):
        del p.env["SELFMON_API_KEY_ID"], p.env["SELFMON_API_KEY"]
        for name, text in (("id", platform.key_id), ("key", platform.key)):
            p.write(name, text + "\n").chmod(0o600)
        p.account('api_key_id = file("id"), api_key = secret("key")', 'secrets = { key = { file = "key" } }')
        p.env.update(SELFMON_API_KEY_ID_FILE=str(p.dir / "id"), SELFMON_API_KEY_FILE=str(p.dir / "key"))
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() ' + report("E") + " end")
        d = p.daemon()
        wait_for(lambda: platform.events, "the first event")
        platform.key_id = "wsak_" + "e" * 32
        fresh = p.write("id.new", platform.key_id + "\n")
        fresh.chmod(0o600)
        fresh.rename(p.dir / "id")
        wait_for(lambda: any(c.headers.get("DF-API-KEY") == platform.key_id for c in platform.calls), "the new key", 40)
        seen = len(platform.events)
        wait_for(lambda: len(platform.events) > seen, "events again", 20)
        assert d.stop() == 0
        platform.check()


def test_node_per_flag():
    """--node local keeps everything here though a key is given"""
    with shop() as (p, platform):
        for name in ("SELFMON_OPENAPI_URL", "SELFMON_OPENWAY_URL"):
            del p.env[name]
        p.script("a.lua", script(report()))
        done = p.once("--node", "local")
        assert done.code == 0 and "node local" in done.out, done
        assert not platform.calls


run_all(globals())
