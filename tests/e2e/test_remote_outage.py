"""The platform is away, limits us, or knows these inspections under another secret."""
import json
import re
import time

from harness import run_all, wait_for
from remote import LIMITED, SECRET, Platform, RemoteProject, ref_key, report, script, shop

INVALID = json.dumps({"code": 403, "content": {}, "errorCode": "ft.InvalidAPIKey", "message": "m", "success": False,
                      "traceId": "trace-9"})


def test_down_after_a_first_run():
    """platform down: the last known view is used, the log says how old it is, events wait"""
    with shop() as (p, platform):
        p.script("a.lua", script("print('n', params.n) " + report(), params="{ n = 1 }"))
        p.once()
        platform.checkers.of_func("a.run")["jsonScript"]["callKwargs"] = {"n": 5}
        assert p.outcomes() == {"a.run": "ok"}
        platform.stop()
        wait_for(lambda: p.run("status", "--json").json()["view_age"] > 1, "a view of more than a second ago")
        done = p.once("--wait", "2", "--drain", "2")
        assert done.code == 1, done
        newest = max(p.runs("--log"), key=lambda r: r["started"])
        log = " ".join(line["text"] for line in newest["log"])
        assert newest["outcome"] == "ok" and "n 5" in " ".join(log.split()), log
        assert "old" in log or "ago" in log, log
        assert p.deliveries() == ["delivered", "delivered", "pending"]
        assert "1 event" in done.out and "wait" in done.out + done.err, done
        platform.start()
        assert p.once("--drain", "20").code == 0
        assert len(platform.events) == 4 and not platform.duplicates()
        platform.check()


def test_disabled_stays_disabled_through_an_outage():
    """what was disabled before the outage does not run during it"""
    with shop() as (p, platform):
        p.script("a.lua", script("print 'ran'"))
        p.once()
        platform.checkers.of_func("a.run")["status"] = 2
        assert p.outcomes() == {"a.run": "disabled"}
        platform.stop()
        assert p.outcomes("--wait", "2", "--drain", "1") == {"a.run": "disabled"}


def test_never_known():
    """down from the start: unregistered, exit 1, no script code; once up: runs"""
    with shop() as (p, platform):
        platform.stop()
        p.script("a.lua", script("print 'ran' " + report()))
        done = p.once("--wait", "2", "--json")
        item = done.json()[0]
        assert done.code == 1 and item["outcome"] == "unregistered" and item["error"], done
        assert f"127.0.0.1:{platform.ports['openapi']}" in item["error"], item
        assert not p.events() and "ran" not in done.err
        platform.start()
        assert p.outcomes() == {"a.run": "ok"} and len(platform.events) == 1
        platform.check()


def test_daemon_through_an_outage():
    """a daemon runs on through an outage and delivers everything afterwards, each event once"""
    with shop() as (p, platform):
        p.account("", "config_max_age = 1")
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() ' + report("E") + " end")
        d = p.daemon()
        wait_for(lambda: platform.events, "the first event")
        platform.stop()
        runs = len(p.runs())
        wait_for(lambda: len([r for r in p.runs() if r["outcome"] == "ok"]) >= runs + 4, "runs without a platform", 15)
        platform.start()
        wait_for(lambda: set(p.deliveries()) == {"delivered"}, "everything delivered", 40)
        assert d.stop() == 0
        assert {e["event_id"] for e in p.events()} <= {e.id for e in platform.events} and not platform.duplicates()
        order = [e["event_id"] for e in p.events()]
        assert [e.id for e in platform.events] == order, "one dimension: in the order of the reports"
        assert len(platform.checkers.created) == 1
        platform.check()


def test_daemon_started_without_a_platform():
    """a daemon that never reached it keeps trying with backoff and then registers by itself"""
    with shop() as (p, platform):
        platform.stop()
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() ' + report("E") + " end")
        d = p.daemon()
        d.wait_line("unregistered", "a.run")
        platform.start()
        wait_for(lambda: platform.events, "registered and reported", 40)
        assert d.stop() == 0
        platform.check()


def test_limit_is_no_bad_key():
    """a rate limit arrives as 401: it waits, the other credential is not tried, nothing is held as a bad key"""
    with shop() as (p, platform):
        p.script("a.lua", script(report("x")))
        platform.misbehave("/api/v1/", times=1, status=401, body=LIMITED)
        started = time.monotonic()
        done = p.once("--wait", "90", "--json", timeout=150)
        assert done.json()[0]["outcome"] == "ok", done
        assert time.monotonic() - started > 0.5
        assert all(c.headers["DF-API-KEY"] == platform.key_id for c in platform.calls if c.server == "openapi")
        assert platform.titles() == ["x"]
        platform.check()


def test_limit_is_said():
    """limited for longer than we wait: unregistered, and the sentence says that it is a limit"""
    with shop() as (p, platform):
        platform.misbehave("/api/v1/", times=None, status=401, body=LIMITED)
        p.script("a.lua", script())
        done = p.once("--wait", "2", "--json")
        item = done.json()[0]
        assert done.code == 1 and item["outcome"] == "unregistered", done
        assert "limit" in item["error"].lower() or "budget" in item["error"], item
        assert len(platform.calls) <= 3
        platform.check()


def test_own_budget():
    """no more calls than `rate` allows, over restarts as well"""
    with shop() as (p, platform):
        p.write("selfmon.conf.lua", "return { accounts = { default = { rate = { key = 6 } } } }")
        for n in range(8):
            p.script(f"a{n}.lua", script())
        started = time.monotonic()
        for _ in range(3):
            done = p.once("--wait", "1", "--json")
            assert {i["outcome"] for i in done.json()} <= {"ok", "unregistered"}, done
        seconds = time.monotonic() - started
        calls = len([c for c in platform.calls if c.server == "openapi"])
        assert 2 <= calls <= 6 + seconds / 10 + 1, (calls, seconds)
        assert done.code == 1 and any(i["outcome"] == "unregistered" for i in done.json())
        platform.check()


def test_wrong_key():
    """a refused key: unregistered with ft.InvalidAPIKey and the traceId; each credential is tried once"""
    with shop() as (p, platform):
        platform.misbehave("/api/v1/", times=None, status=403, body=INVALID)
        p.script("a.lua", script())
        done = p.once("--wait", "2", "--json")
        item = done.json()[0]
        assert done.code == 1 and item["outcome"] == "unregistered", done
        assert "ft.InvalidAPIKey" in item["error"] and "trace-9" in item["error"], item
        assert not any(x in done.out + done.err for x in (platform.key, platform.key_id))
        keys = [c.headers["DF-API-KEY"] for c in platform.calls]
        assert keys[:2] == [platform.key_id, platform.key] and len(keys) <= 4, len(keys)


def test_identity_guard():
    """a generated secret in a workspace that knows these inspections creates nothing and says what to do"""
    with Platform() as platform:
        first, second = RemoteProject(platform.env), RemoteProject(platform.env)
        try:
            for p in (first, second):
                p.script("demo/a.lua", script(report()))
                p.script("demo/b.lua", script())
            assert set(first.outcomes().values()) == {"ok"}
            del second.env["SELFMON_SECRET"]
            done = second.once("--json")
            assert done.code == 1 and {i["outcome"] for i in done.json()} == {"unregistered"}, done
            text = done.out + done.err
            assert "2 of these inspections are registered under another secret" in text and "SELFMON_SECRET" in text
            assert "--new-identity" in text and "demo/a.run" in text and len(platform.checkers.rows) == 2, done
            done = second.once("--new-identity")
            assert done.code == 0 and len(platform.checkers.rows) == 4, done
            assert second.once().code == 0 and len(platform.checkers.rows) == 4, "asked once only"
            platform.check()
        finally:
            first.close()
            second.close()


def test_generated_secret_in_an_empty_workspace():
    """a generated secret in a workspace without our inspections registers at once, and stays the same"""
    with shop() as (p, platform):
        del p.env["SELFMON_SECRET"]
        platform.checkers.add({"refKey": "0" * 32, "title": "theirs", "refFuncInfo": {"funcId": "demo__other.run"}})
        p.script("a.lua", script())
        assert p.once().code == 0 and p.once().code == 0
        assert len(platform.checkers.rows) == 2 and len(platform.checkers.created) == 1
        secret = (p.dir / ".selfmon/secret").read_bytes()
        assert platform.checkers.of_func("a.run")["refKey"] == ref_key("a.run", secret)
        platform.check()


def test_identity_guard_reads_every_page():
    """the other secret's inspection is on the third page of the workspace's list"""
    with shop() as (p, platform):
        for n in range(230):
            platform.checkers.add({"refKey": f"other{n}", "title": f"t{n}", "refFuncInfo": {"funcId": f"o{n}__x.run"}})
        platform.checkers.add({"refKey": "f" * 32, "title": "ours", "refFuncInfo": {"funcId": "demo__a.run"}})
        del p.env["SELFMON_SECRET"]
        p.script("demo/a.lua", script())
        done = p.once()
        assert done.code == 1 and "under another secret" in done.out + done.err and not platform.checkers.created, done
        platform.check()


def test_keys_and_adopt():
    """adopt checks an object there and prints the keys line; pinned, its row is used and not created"""
    with shop() as (p, platform):
        row = platform.checkers.add({"refKey": "d519e0bd69d1e0d17de7c536fc58babe", "title": "SSL", "refFuncInfo": {
            "funcId": "guance_monitor_user_example_obs__ssl.run", "args": ["name"], "kwargs": {"name": {"default": ""}}}})
        p.script("demo/ssl.lua", script(report(), title="SSL", params='{ name = "" }'))
        done = p.run("adopt", "demo/ssl.run", row["refKey"])
        assert done.code == 0 and '["demo/ssl.run"]' in done.out and row["refKey"] in done.out, done
        assert not platform.checkers.created and not platform.checkers.modified
        missing = p.run("adopt", "demo/ssl.run", "0" * 32)
        assert missing.code == 1 and "0" * 32 in missing.out + missing.err, missing
        p.account("", f'keys = {{ ["demo/ssl.run"] = "{row["refKey"]}" }}')
        assert p.outcomes() == {"demo/ssl.run": "ok"}
        assert not platform.checkers.created and len(platform.checkers.rows) == 1
        assert platform.events[0].tags["df_monitor_checker_id"] == row["uuid"]
        assert platform.events[0].tags["df_monitor_ref_key"] == row["refKey"] != ref_key("demo/ssl.run", SECRET)
        platform.check()


def test_two_inspections_of_one_key():
    """two inspections pinned to one key are refused, naming both"""
    with shop() as (p, platform):
        p.account("", 'keys = { ["a.run"] = "k1", ["b.run"] = "k1" }')
        p.script("a.lua", script())
        p.script("b.lua", script())
        done = p.once()
        assert done.code != 0 and "a.run" in done.out + done.err and "b.run" in done.out + done.err, done
        assert not platform.checkers.created


def test_status_says_how_old():
    """status --json names the account, its address and the last error, and no secret"""
    with shop() as (p, platform):
        p.account("", "config_max_age = 1")
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() end')
        d = p.daemon()
        d.wait_line("ok", "a.run")
        text = json.dumps(p.run("status", "--json").json())
        assert platform.url("openapi") in text and platform.url("openway") in text, text
        platform.stop()
        wait_for(lambda: p.run("status", "--json").json()["accounts"][0].get("last_error"), "a call failed", 30)
        done = p.run("status")
        assert done.code == 0 and "default" in done.out, done
        both = done.out + p.run("status", "--json").out
        assert not any(x in both for x in (platform.key, platform.key_id, platform.token)), both
        assert d.stop() == 0


def test_filling_a_workspace():
    """a fresh workspace is filled at the budget's pace and status says how long that takes"""
    with shop() as (p, platform):
        p.write("selfmon.conf.lua", "return { accounts = { default = { rate = { key = 6 } } } }")
        for n in range(40):
            p.script(f"m/i{n:02}.lua", 'monitor{ title = "t", schedule = "@daily" }\nfunction run() end')
        d = p.daemon()
        wait_for(lambda: platform.checkers.created, "the first registration")
        done = p.run("status")
        assert "registered" in done.out and "min" in done.out, done
        account = p.run("status", "--json").json()["accounts"][0]
        assert account["unregistered"] >= 30 and 240 <= account["fill_seconds"] <= 900, account
        budget = lambda: p.run("status", "--json").json()["accounts"][0]["budget"]
        wait_for(lambda: budget()["key"] < 1 and budget()["waiting"] > 0, "calls wait for the budget", 30)
        assert d.stop() == 0
        assert len([c for c in platform.calls if c.server == "openapi"]) <= 6 + 3
        platform.check()



def test_a_platform_that_never_answers_does_not_hold_the_stop():
    """a platform that takes requests and never answers: TERM ends the daemon after its last batch, twice TERM at once"""
    for twice in (False, True):
        with shop() as (p, platform):
            p.script("a.lua", script(report(), schedule='"@every 1s"'))
            d = p.daemon()
            d.wait_line("ok", "a.run", seconds=30)
            platform.misbehave("", times=None, delay=300)
            wait_for(lambda: "pending" in p.deliveries() or "inflight" in p.deliveries(), "an event that waits", 30)
            began = time.monotonic()
            d.process.terminate()
            d.wait_line("stopping")
            if twice:
                d.process.terminate()
            assert d.process.wait(timeout=60) == 0, d.err
            took = time.monotonic() - began
            assert took < (8 if twice else 20), took  # 3 s of a last batch, on a busy machine
            assert not re.search("ERROR: |runtime error: ", d.err), d.err  # of a build with sanitizers
            assert {"pending", "delivered"} >= set(p.deliveries()) and "pending" in p.deliveries(), p.deliveries()
            print(f"# {took:.1f} s{' with a second TERM' if twice else ''}")


run_all(globals())
