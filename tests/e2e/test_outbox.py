"""The command `outbox`: what waits and why, sent again, dropped; with and without a daemon."""
import os

from harness import run_all, wait_for
from remote import many, report, script, shop


def outbox(p, *args):
    return p.run("outbox", "--json", *args).json()


def refused(p, platform, count=1):
    """A project with `count` refused events and nothing else in its outbox."""
    p.script("a.lua", script(many(count)))
    platform.misbehave("/v1/write/", times=None, status=400, body=b'{"error":"bad point"}')
    done = p.once("--drain", "20")
    assert {e["delivery"] for e in p.events()} == {"refused"}, done
    platform.behave()


def test_what_waits():
    """outbox: per account how many and why, then the events; the JSON is as docs/json.md says"""
    with shop() as (p, platform):
        assert p.run("outbox").out == "nothing waits\n" and outbox(p)["events"] == []
        p.script("a.lua", script(many(30)))
        p.script("b.lua", script(report("B")))
        platform.misbehave("/v1/write/", times=None, status=503)
        p.once("--drain", "1")
        told = outbox(p, "-n", "100")
        assert set(told) == {"accounts", "inspections", "reasons", "events"}
        account = told["accounts"][0]
        assert account["account"] == "default" and account["pending"] == 31 and not account["orphaned"], account
        assert account["held"] == account["refused"] == account["inflight"] == 0 and account["bytes"] > 0
        by_id = {i["id"]: i["pending"] for i in told["inspections"]}
        assert by_id == {"a.run": 30, "b.run": 1}, by_id
        assert len(told["events"]) == 31
        tried = [e for e in told["events"] if e["attempts"]]
        assert tried and all("busy" in e["reason"] or "503" in e["reason"] for e in tried), tried[:2]
        assert sum(r["events"] for r in told["reasons"]) == len(tried)
        text = p.run("outbox").out
        assert text.startswith("account default: 31 pending\n") and "and 11 more" in text, text
        assert len(outbox(p, "--id", "b*")["events"]) == 1
        assert outbox(p, "--status", "refused")["events"] == []
        wrong = p.run("outbox", "--status", "lost")
        assert wrong.code == 64 and "refused" in wrong.err, wrong


def test_retry_and_drop_without_a_daemon():
    """a refused event is sent again by hand, or dropped; drop asks or needs --yes, and says who"""
    with shop() as (p, platform):
        refused(p, platform, 3)
        ids = [e["event_id"] for e in outbox(p)["events"]]
        asked = p.run("outbox", "drop", ids[0])
        assert asked.code == 64 and "--yes" in asked.err and len(outbox(p)["events"]) == 3, asked
        done = p.run("outbox", "drop", ids[0], "--yes")
        assert done.code == 0 and "1 event dropped" in done.out, done
        gone = [e for e in p.events() if e["event_id"] == ids[0]]
        assert gone[0]["delivery"] == "dropped" and str(os.getuid()) in gone[0]["policy"]["why"], gone
        unknown = p.run("outbox", "retry", "event-nobody")
        assert unknown.code == 1 and "not in the outbox" in unknown.err, unknown
        assert p.run("outbox", "retry", ids[1]).code == 0
        assert [e["state"] for e in outbox(p)["events"]] == ["pending", "refused"]
        p.script("a.lua", script(""))
        assert p.once("--drain", "20").code == 0
        assert [e.id for e in platform.events] == [ids[1]]
        assert [e["event_id"] for e in outbox(p)["events"]] == [ids[2]]
        assert p.run("outbox", "drop", "--id", "x*", "--yes").out == "0 events dropped\n"
        assert p.run("outbox", "drop", "--id", "a.*", "--yes").out == "1 event dropped\n"
        assert p.run("outbox").out == "nothing waits\n"
        platform.check()


def test_through_a_daemon():
    """while a daemon holds them: retry sends at once, drop keeps what only waits unless --pending"""
    with shop() as (p, platform):
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run()\n' + report("E") + "\nend")
        platform.misbehave("/v1/write/", times=None, status=403)
        d = p.daemon()
        wait_for(lambda: any(e["state"] == "held" for e in outbox(p)["events"]), "a held event", 30)
        held = next(e for e in outbox(p)["events"] if e["state"] == "held")
        assert "refused" in held["reason"] and held["next"] > "20", held
        kept = p.run("outbox", "drop", held["event_id"], "--yes")
        assert kept.out.startswith("0 events dropped") and "--pending" in kept.out, kept
        gone = p.run("outbox", "drop", held["event_id"], "--pending", "--yes")
        assert gone.out == "1 event dropped\n", gone
        platform.behave()
        assert p.run("outbox", "retry").code == 0
        wait_for(lambda: platform.events, "sent at once, not in 30 s", 20)
        wait_for(lambda: not [e for e in outbox(p)["events"] if e["state"] == "held"], "nothing is held", 20)
        assert d.stop() == 0
        assert held["event_id"] not in {e.id for e in platform.events}


def test_orphans():
    """events of an account that is gone: status and outbox say so and what to do"""
    with shop() as (p, platform):
        p.write("selfmon.conf.lua", f'''return {{ accounts = {{ default = {{ rate = {{ key = 600 }} }}, old = {{
          node = {{ openapi = "{platform.url("openapi")}", openway = "{platform.url("openway")}" }},
          api_key_id = env("SELFMON_API_KEY_ID"), api_key = env("SELFMON_API_KEY") }} }} }}''')
        p.script("a.lua", script(report("E"), account='"old"'))
        platform.misbehave("/v1/write/", times=None, status=503)
        p.once("--drain", "1")
        p.account("")
        p.script("a.lua", script(""))
        account = outbox(p)["accounts"][0]
        assert account["account"] == "old" and account["orphaned"] is True and account["pending"] == 1
        text = p.run("outbox").out
        assert "not in the configuration" in text and "drop --pending" in text, text
        assert '"old"' in p.run("status").out, p.run("status").out


run_all(globals())
