"""`why`: each kind of silence, and of sending, has its reason; with a daemon and without."""
import json

from harness import project, run_all, wait_for
from remote import report, script, shop

WRITE = "/v1/write/keyevent"

EVENT = '''EventReporter():report{{ title = "State of {d}", message = "text", status = "{s}", dimension_tags = {{ d = "{d}" }} }}'''


def say(p, words, events="{ recover = true, on_change = true }", extra="", once=True):
    """One run that reports `d status` pairs, then perhaps more."""
    body = "\n".join("  " + EVENT.format(d=d, s=s) for d, s in words)
    p.script("a.lua", f'monitor{{ title = "T", schedule = "0 0 1 1 *", events = {events} }}\n'
                      f"function run(params)\n{body}\n{extra}\nend\n")
    return p.once() if once else None


def why(p, *args):
    done = p.run("why", "--json", *args)
    assert done.code == 0, done
    answer = done.json()
    text = p.run("why", *args)
    # While a daemon runs the two may speak of different moments.
    same = text.out.rstrip().endswith("=> " + answer["because"])
    assert text.code == 0 and "=> " in text.out and (same or any(d.process.poll() is None for d in p.daemons)), text
    return answer


def because(p, *args, words):
    answer = why(p, *args)
    for word in words:
        assert word in answer["because"], (words, answer)
    return answer


def test_policy_rules():
    """new, unchanged, changed, recovered, nothing to recover: the rule, its file and line"""
    with project() as p:
        say(p, [("x", "warning")])
        answer = because(p, "a.run", words=["a new problem", "inspections/a.lua:1", "delivered at"])
        assert answer["event"]["policy"]["rule"] == "new" and answer["state"]["status"] == "warning", answer
        assert [a["verdict"] for a in answer["attempts"]] == ["delivered"] and answer["outbox"] is None, answer
        say(p, [("x", "warning")])
        because(p, "a.run", words=["events.on_change", "sent already", "inspections/a.lua:1"])
        say(p, [("x", "critical")])
        because(p, "a.run", words=["the status changed"])
        say(p, [])
        answer = because(p, "a.run", words=["the problem ended"])
        assert answer["event"]["status"] == "ok", answer
        say(p, [("x", "ok")])
        because(p, "a.run", "d=x", words=["no problem of this dimension was sent"])


def test_confirm_and_budgets():
    """confirm says which run of how many; budgets say that it is in the digest"""
    with project() as p:
        confirm = "{ on_change = true, confirm = { fail = 3 } }"
        say(p, [("x", "warning")], confirm)
        because(p, "a.run", words=["run 1 of 3", "events.confirm"])
        say(p, [("x", "warning")], confirm)
        because(p, "a.run", words=["run 2 of 3"])
        say(p, [("x", "warning")], confirm)
        because(p, "a.run", words=["a new problem"])
    with project() as p:
        say(p, [("a", "warning"), ("b", "warning")], "{ max_dimensions = 1 }")
        because(p, "a.run", "d=a", words=["a new problem"])
        because(p, "a.run", "d=b", words=["events.max_dimensions", "digest"])
    with project() as p:
        say(p, [("a", "warning"), ("b", "warning")], '{ max_events = { 1, per = "1h" } }')
        because(p, "a.run", "d=b", words=["events.max_events", "digest"])


def test_mute_and_maintenance():
    """a mute and a maintenance window say until when and why"""
    with project() as p:
        say(p, [])
        assert p.run("mute", "a.run", "1h", "--reason", "the release").code == 0
        say(p, [("x", "warning")])
        answer = because(p, "a.run", words=["muted until", "the release"])
        assert "the release" in answer["mute"], answer
    with project() as p:
        p.write("selfmon.conf.lua", 'return { maintenance = { { match = "**", cron = "* * * * *", duration = "2m", '
                                    'reason = "new disks" } } }')
        say(p, [("x", "warning")])
        because(p, "a.run", words=["maintenance until", "new disks"])


def test_runs_that_say_nothing():
    """failed, bad parameters, disabled, nothing reported, never ran, unknown"""
    with project() as p:
        say(p, [], extra='  error("no network here")')
        because(p, "a.run", words=["failed", "no network here"])
        say(p, [])
        because(p, "a.run", words=["ended ok and reported nothing"])
        assert p.run("local", "disable", "a.run").code == 0
        say(p, [])
        because(p, "a.run", words=["disabled on the platform"])
        p.script("b.lua", 'monitor{ title = "B", params = { n = { type = "number", required = true } } }\n'
                          "function run() end")
        p.once()
        because(p, "b.run", words=["bad_params", "n"])
        done = p.run("why", "c.run")
        assert done.code == 1 and "c.run" in done.err and "a.run" in done.err, done
        done = p.run("why")
        assert done.code == 64 and "ID" in done.err, done


def test_slots():
    """a slot that was skipped because the last run had not ended; the same from a daemon and from the store"""
    with project() as p:
        p.script("a.lua", 'monitor{ title = "T", schedule = "@every 1s", timeout = 60 }\n'
                          'function run() require "selfmon.time".sleep(40) end')
        d = p.daemon()
        d.wait_line("next:", seconds=30)
        answer = wait_for(lambda: (lambda w: w if "skipped" in w["because"] else None)(why(p, "a.run")),
                          "a skipped slot", 60)
        assert "overlap" in answer["because"], answer
        d.kill()
        because(p, "a.run", words=["skipped"])


def test_deliveries():
    """held, refused, withdrawn, waiting behind another: with each attempt and its masked answer"""
    with shop() as (p, platform):
        platform.misbehave(WRITE, times=None, status=401, body='{"error_code":"x"}')
        p.script("a.lua", script(report("x", tags='{ d = "1" }'), events="{ on_change = true, recover = true }"))
        p.once("--drain", "2")
        answer = because(p, "a.run", words=["deliveries are held", "401"])
        assert answer["outbox"]["state"] == "held" and answer["attempts"], answer
        assert all(a["verdict"] == "held" for a in answer["attempts"]), answer
        platform.behave()
        p.script("a.lua", script("print 'nothing'", events="{ on_change = true, recover = true }"))
        platform.misbehave(WRITE, times=None, status=400, body='{"error_code":"bad"}')
        p.once("--drain", "10")
        rows = {e["status"]: e["delivery"] for e in p.events()}
        assert rows == {"warning": "refused", "ok": "held_back"}, p.events()
        because(p, "a.run", "d=1", words=["withdrawn", "refused"])


def test_output_is_stable():
    """the members of --json are those of docs/json.md, in every state"""
    with project() as p:
        say(p, [("x", "warning")])
        answer = why(p, "a.run")
        page = (__import__("pathlib").Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
        part = page.split("## `why`", 1)[1].split("\n## ", 1)[0]
        for name in answer:
            assert f"`{name}`" in part, name
        for inner in ("slot", "run", "event", "state"):
            for name in answer[inner] or {}:
                assert f"`{name}`" in part, (inner, name)
        json.dumps(answer)


if __name__ == "__main__":
    run_all(globals())
