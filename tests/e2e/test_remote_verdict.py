"""What each answer means for the events: delivered, tried again, held, halved, refused; nothing is lost."""
import email.utils
import json
import time

from harness import run_all, wait_for
from remote import Trap, many, report, script, shop

WRITE = "/v1/write/keyevent"
EVERY = 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() ' + report("E") + " end"


def test_transient_answers():
    """5xx, reset, cut and 408: tried again with the same id until it is there"""
    rows = [("500", {"status": 500}), ("502 html", {"status": 502, "headers": {"Content-Type": "text/html"}, "body": "<html>"}),
            ("503", {"status": 503}), ("504", {"status": 504}), ("408", {"status": 408}), ("425", {"status": 425}),
            ("reset", {"reset": True}), ("429 without Retry-After", {"status": 429})]
    for name, how in rows:
        with shop() as (p, platform):
            platform.misbehave(WRITE, times=2, **how)
            p.script("a.lua", script(report("x")))
            done = p.once("--drain", "25")
            assert done.code == 0, (name, done)
            assert platform.titles() == ["x"], name
            event = p.events()[0]
            assert event["delivery"] == "delivered" and event["attempts"] == 3, (name, event)
            platform.check()


def test_confirmed_whatever_the_body():
    """any 2xx on a write confirms: 204, 202, garbage"""
    for how in ({"status": 204}, {"status": 202, "body": "{"}, {"status": 200, "body": "OK <b>"}):
        with shop() as (p, platform):
            platform.misbehave(WRITE, times=None, after=True, **how)
            p.script("a.lua", script(report("x")))
            assert p.once().code == 0, how
            assert platform.titles() == ["x"] and p.deliveries() == ["delivered"], how
            platform.check()


def test_ambiguous_answers():
    """taken there but answered badly: sent again with the same id, not as another event"""
    for how in ({"status": 500}, {"reset": True}, {"status": 503}):
        with shop() as (p, platform):
            platform.misbehave(WRITE, times=1, after=True, **how)
            p.script("a.lua", script(many(3)))
            assert p.once("--drain", "25").code == 0, how
            assert len(platform.events) == 6 and len({e.id for e in platform.events}) == 3, how
            assert len({(e.id, e.time, e.title) for e in platform.events}) == 3, how
            platform.check()


def test_retry_after():
    """Retry-After in seconds and as a date is waited for; one in the past is not"""
    stamp = lambda seconds: email.utils.formatdate(time.time() + seconds, usegmt=True)
    for status, value, least in ((429, lambda: "3", 3), (503, lambda: "3", 3), (429, lambda: stamp(4), 2.9),
                                 (503, lambda: stamp(-3600), 0)):
        with shop() as (p, platform):
            platform.misbehave(WRITE, status=status, headers={"Retry-After": value()})
            p.script("a.lua", script(report("x")))
            assert p.once("--drain", "25").code == 0
            times = [c.at for c in platform.writes]
            assert len(times) == 2 and least <= times[1] - times[0] < least + 10, (status, times[1] - times[0])
            platform.check()


def test_our_own_faults_hold():
    """401, 403, 404, 405, 501 and redirects hold the events: never refused, exit 1, said; later delivered"""
    for status in (401, 403, 404, 405, 501, 302, 308):
        with shop() as (p, platform):
            platform.misbehave(WRITE, times=None, status=status, body='{"error_code":"x"}')
            p.script("a.lua", script(report("x")))
            done = p.once("--drain", "3")
            assert done.code == 1, (status, done)
            event = p.events()[0]
            assert event["delivery"] == "held" and str(status) in event["reason"], (status, event)
            platform.behave()
            p.script("a.lua", script("print 'quiet'"))
            assert p.once("--drain", "15").code == 0, status
            assert platform.titles() == ["x"] and p.deliveries() == ["delivered"], status
            platform.check()


def test_hold_resumes_by_itself():
    """a daemon whose key is refused holds, and goes on by itself once the key fits"""
    with shop() as (p, platform):
        p.script("a.lua", EVERY)
        d = p.daemon()
        wait_for(lambda: platform.events, "the first event")
        platform.misbehave(times=None, status=403, body=json.dumps(
            {"code": 403, "content": {}, "errorCode": "ft.InvalidAPIKey", "message": "m", "success": False, "traceId": "t"}))
        wait_for(lambda: "held" in p.deliveries(), "held events", 20)
        assert "refused" not in p.deliveries()
        platform.behave()
        wait_for(lambda: "held" not in p.deliveries() and "pending" not in p.deliveries(), "everything delivered", 60)
        assert d.stop() == 0
        ids = {e["event_id"] for e in p.events()}
        assert ids == {e.id for e in platform.events} and not platform.duplicates()
        platform.check()
        print(f"# {len(ids)} events, refused 0, lost 0")


def test_html_on_write():
    """a page instead of an answer holds, and the sentence speaks of HTML and a proxy"""
    with shop() as (p, platform):
        platform.html(WRITE, times=None)
        p.script("a.lua", script(report("x")))
        done = p.once("--drain", "3")
        assert done.code == 1 and "HTML" in done.out + done.err, done
        event = p.events()[0]
        assert event["delivery"] == "held" and "HTML" in event["reason"] and "proxy" in event["reason"], event
        platform.check()


def test_poison_event():
    """a batch refused for one event is halved down to it: the others arrive, it stays visible"""
    with shop() as (p, platform):
        platform.poison = lambda event: event.title == "E7"
        p.script("a.lua", script(many(40)))
        done = p.once("--drain", "25")
        assert len({e.id for e in platform.events}) == 39 and not platform.duplicates(), platform.titles()
        events = p.events()
        refused = [e for e in events if e["delivery"] == "refused"]
        assert [e["title"] for e in refused] == ["E7"] and "400" in refused[0]["reason"], refused
        assert len([e for e in events if e["delivery"] == "delivered"]) == 39
        assert len(platform.writes) <= 2 * 6 + 1, "halving, not one by one"
        assert "refused" in done.out + done.err, done
        platform.check()


def test_too_large():
    """413 halves the batch until it fits"""
    with shop() as (p, platform):
        platform.misbehave(WRITE, times=None, status=413, body="{}", when=lambda call: call.lines > 7)
        p.script("a.lua", script(many(30, 10)))
        assert p.once("--drain", "25").code == 0
        assert len(platform.events) == 30 and not platform.duplicates()
        assert 413 in [c.status for c in platform.writes]
        platform.check()


def test_422():
    """422 for a single event refuses it"""
    with shop() as (p, platform):
        platform.misbehave(WRITE, times=None, status=422, body="{}")
        p.script("a.lua", script(report("x")))
        p.once("--drain", "10")
        assert p.deliveries() == ["refused"]
        platform.check()


def test_garbage_from_the_openapi():
    """empty, garbage, cut, HTML, `success:false` and a bare text: unregistered with a sentence, no guesses"""
    rows = [("empty", {"body": ""}), ("garbage", {"body": "}{"}), ("cut", {"body": '{"code":200,', "cut": True}),
            ("html", {"headers": {"Content-Type": "text/html"}, "body": "<html>login"}),
            ("number", {"body": "17"}), ("content is a text", {"body": '{"code":200,"success":true,"content":"yes","errorCode":""}'}),
            ("failure", {"body": '{"code":200,"success":false,"content":{},"errorCode":"ft.Broken","message":"it broke",'
                                 '"traceId":"trace-17"}'})]
    for name, how in rows:
        with shop() as (p, platform):
            platform.misbehave("/self_built_checker/list", times=None, **how)
            p.script("a.lua", script("print 'ran'"))
            done = p.once("--wait", "3", "--json")
            item = done.json()[0]
            assert done.code == 1 and item["outcome"] == "unregistered" and item["error"], (name, done)
            if name == "failure":
                assert "ft.Broken" in item["error"] and "trace-17" in item["error"], item
            if name == "html":
                assert "HTML" in item["error"], item
            assert not platform.checkers.created, name
            platform.behave()
            assert p.outcomes() == {"a.run": "ok"}, name
            platform.check()


def test_redirects_are_never_followed():
    """a redirect is held as a wrong address; neither key nor token nor event reach the other host"""
    with Trap() as trap:
        for path, target in (("/self_built_checker/list", "openapi"), ("/workspace/get", "openapi"), (WRITE, "openway")):
            for status in (301, 302, 303, 307, 308):
                with shop() as (p, platform):
                    platform.misbehave(path, times=None, status=status, headers={"Location": trap.url(target) + path})
                    p.script("a.lua", script(report("x")))
                    done = p.once("--wait", "2", "--drain", "2")
                    assert done.code == 1 and str(status) in done.out + done.err, (path, done)
                    assert "refused" not in p.deliveries()
                    platform.check()
        assert not trap.calls, [c.url for c in trap.calls]


def test_timeout():
    """an answer slower than the account's timeout is tried again with the same id"""
    with shop() as (p, platform):
        p.account("timeout = 1")
        platform.misbehave(WRITE, times=1, delay=4, after=True)
        p.script("a.lua", script(report("x")))
        assert p.once("--drain", "20").code == 0
        assert len({e.id for e in platform.events}) == 1 and len(platform.writes) == 2
        assert platform.writes[1].at - platform.writes[0].at >= 1
        platform.check()


def test_slow_platform_does_not_stop_runs():
    """while writes hang, runs go on and events are durable"""
    with shop() as (p, platform):
        p.account("timeout = 3")
        p.script("a.lua", EVERY)
        platform.misbehave(WRITE, times=None, delay=8)
        d = p.daemon()
        wait_for(lambda: len([r for r in p.runs() if r["outcome"] == "ok"]) >= 4, "four runs", 15)
        platform.behave()
        wait_for(lambda: len({e.id for e in platform.events}) >= 4, "their events", 60)
        assert d.stop() == 0
        platform.check()


run_all(globals())
