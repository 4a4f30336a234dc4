"""selfmon.dql end to end: queries go to the workspace within the budget of calls, together and once."""
import re
import time

from harness import project, run_all, wait_for
from remote import LIMITED, shop
from fakes.checkers import Refused  # noqa: E402 (remote makes its folder known)


def script(body, head=""):
    return ('local dql = require "selfmon.dql"\n'
            f'monitor{{ title = "Test", {head} }}\nfunction run(params, ctx)\n{body}\nend\n')


def series(value=12.5, host="web01", at=1700000060000):
    return [{"name": "cpu", "tags": {"host": host}, "columns": ["time", "used"], "units": [None, None],
             "values": [[at, value], [at + 60000, None]]}]


def ran(p, *args, code=0):
    done = p.once("-v", *args)
    assert done.code == code, done
    return done.err + done.out


def test_series_and_rows():
    """series and rows come back with times in seconds; null series is no data; the key never shows"""
    with shop() as (p, platform):
        platform.data = lambda query: series() if "cpu" in query["q"] else None
        p.script("a.lua", script('''
          local r = assert(dql.query("M::`cpu`:(avg(`usage_total`)) BY `host`", { since = "15m", interval = "1m", limit = 9 }))
          local values, times = r.series[1]:points()
          print("got", #r.series, values[1], times[1], #values, r.rows[1].host, r.rows[1].used, r.rows[2].used, r.cost, r.interval)
          local none = assert(dql.query "L::nothing")
          print("none", #none.series, #none.rows)'''))
        before = time.time() * 1000
        said = ran(p)
        assert "got 1 12.5 1700000060.0 1 web01 12.5 nil 12ms 60.0" in said, said
        assert "none 0 0" in said, said
        [first], [second] = platform.queried
        assert first["interval"] == 60 and first["limit"] == 9 and set(second) == {"q"}, platform.queried
        low, high = first["timeRange"]
        assert high - low == 900000 and before - 5000 <= high <= time.time() * 1000, first
        assert platform.key not in said and platform.key_id not in said
        platform.check()


def test_together_and_once():
    """queries of one run go in one call, those that wait together too, and equal ones once"""
    with shop() as (p, platform):
        platform.data = lambda query: series(float(query["q"].split()[1]))
        p.script("a.lua", script('''
          local list = {}
          for i = 1, 45 do list[i] = "M " .. i end
          for i, r in ipairs(dql.all(list)) do assert(r.series[1]:points()[1] == i, i) end'''))
        for name in "bcdefgh":
            p.script(f"{name}.lua", script('assert(dql.query "M 7".series[1]:points()[1] == 7)'))
        ran(p)
        asked = [q["q"] for call in platform.queried for q in call]
        assert len(asked) == len(set(asked)) == 45, asked
        assert len(platform.queried) <= 5 and all(len(call) <= 20 for call in platform.queried), platform.queried
        platform.check()


def test_wrong_query():
    """a wrong query spoils only its own answer, whether the platform refuses the call or the element"""
    with shop() as (p, platform):
        def data(query):
            if query["q"] == "bad":
                return Refused(400, "ft.DQLParseError", "parse error near `bad`", strict=False)
            if query["q"] == "half bad":
                return {"series": None, "error": "unknown field `x`", "errorCode": "ft.Field"}
            return series(1)
        platform.data = data
        p.script("a.lua", script('''
          for i, r in ipairs(dql.all{ "a", "b", "bad", "c", "half bad", "d" }) do
            print(i, r.code or "good", r.error or r.series[1]:points()[1])
          end
          print("alone", dql.query "bad")'''))
        said = ran(p)
        for line in ("1 good 1", "2 good 1", "3 refused node", "4 good 1", "5 refused node", "6 good 1", "alone nil node"):
            assert f"a.run: {line}" in said, (line, said)
        assert said.count("parse error near `bad`") == 2 and "unknown field `x`" in said, said
        assert "ft.DQLParseError" in said and "ft.Field" in said, said
        platform.check()


def test_budget():
    """a query waits for budget within its run's deadline, else it is told how long the budget takes"""
    with shop() as (p, platform):
        p.write("selfmon.conf.lua", "return { accounts = { default = { rate = { key = 6, workspace = 200 } } } }")
        platform.data = lambda query: series(1)
        p.script("a.lua", script('''
          for i = 1, 9 do
            local r, message, code = dql.query("M " .. i)
            if not r then return print("after", i - 1, code, message) end
          end''', "timeout = 20"))
        said = ran(p)
        told = re.search(r"after (\d) limit account default: the budget of 6 calls a minute is spent; a query can go out "
                         r"in (\d+) s, after this run's deadline", said)
        assert told and 1 <= int(told.group(1)) <= 3 and 1 <= int(told.group(2)) <= 61, said
        assert platform.calls_per_minute() <= 6, platform.calls_per_minute()
        platform.check()


def test_limited_by_the_platform():
    """the platform's own rate limit: the query waits, and ends before the deadline with a sentence"""
    with shop() as (p, platform):
        platform.data = lambda query: series(1)
        p.script("a.lua", script('print("got", dql.query "M 1" ~= nil)'))
        ran(p)
        platform.misbehave("query_data_v1", times=1, status=401, headers={"Retry-After": "1"}, body=LIMITED)
        assert "got true" in ran(p)  # it waited and went again
        platform.misbehave("query_data_v1", times=None, status=401, body=LIMITED)
        p.script("a.lua", script('local r, message, code = dql.query "M 1"\nprint("got", r, code, message)', "timeout = 6"))
        said = ran(p)
        assert "got nil limit account default: the budget of" in said and "can go out in" in said, said


def test_bad_answers():
    """an envelope of failure, a page of HTML, garbage, 500, a slow answer, a bad key: a code and a sentence each"""
    with shop() as (p, platform):
        platform.data = lambda query: series(1)
        p.script("a.lua", script('local r, message, code = dql.query "M 1"\nprint("got", r and "data", code, message)',
                                 "timeout = 5"))
        assert "got data nil nil" in ran(p)
        envelope = '{"code":400,"content":{},"errorCode":"ft.Broken","message":"no","success":false,"traceId":"t-1"}'
        for how, code, part in (({"status": 200, "body": envelope}, "refused", "ft.Broken"),
                                ({"status": 200, "body": "{}"}, "protocol", "node"),
                                ({"status": 200, "body": '{"code":200,"success":true,"content":{"data":[]}}'}, "protocol",
                                 "no place"),
                                ({"status": 500, "body": "oops"}, "connect", "node"),
                                ({"reset": True}, "connect", "node")):
            rule = platform.misbehave("query_data_v1", times=None, **how)
            said = ran(p)
            assert f"got nil {code} node " in said and part in said and rule.used >= 1, (how, said)
            platform.behave()
        platform.misbehave("query_data_v1", times=None, delay=20)
        began = time.monotonic()
        said = ran(p)
        assert "got nil timeout" in said and time.monotonic() - began < 19, said
        platform.behave()
        platform.accepts = "none"
        p.script("a.lua", script('local r, message, code = dql.query "M 1"\nprint("got", r and "data", code, message)'))
        done = p.once("-v", "--dry-run")
        assert "got nil denied node " in done.err, done


def test_no_workspace():
    """an account without workspace says so, with the way to one"""
    with project() as p:
        p.script("a.lua", script('print("got", dql.query "M 1")\nprint("all", dql.all{ "a", "b" })'))
        said = ran(p)
        assert said.count("nil account default has no workspace to query: its node is local") == 2, said
        assert "unavailable" in said
        assert "unavailable" in ran(p, "--dry-run")


def test_dry_run():
    """--dry-run queries too, and registers, stores and sends nothing"""
    with shop() as (p, platform):
        platform.data = lambda query: series(3)
        p.script("a.lua", script('print("got", dql.query "M 1".series[1]:points()[1])'))
        assert "got 3" in ran(p, "--dry-run")
        assert {c.path for c in platform.calls} == {"/api/v1/df/query_data_v1"}, platform.calls
        assert not (p.dir / ".selfmon").exists()
        platform.check()


def test_last_in_line():
    """under a storm of queries inspections are still registered and events delivered, within the limit"""
    with shop() as (p, platform):
        p.write("selfmon.conf.lua", 'return { health_listen = "127.0.0.1:0", accounts = { default = '
                "{ rate = { key = 40, workspace = 200 } } } }")
        platform.data = lambda query: series(1)
        for i in range(6):
            p.script(f"q{i}.lua", script('for i = 1, 200 do dql.query("M " .. ctx.id .. i) end',
                                         'schedule = "0 0 1 1 *", timeout = 60'))
        d = p.daemon()
        wait_for(lambda: len(platform.queried) >= 8, "queries", 60)
        p.script("new.lua", script('EventReporter():report{ title = "seen", message = "m", status = "error" }',
                                   'schedule = "0 0 1 1 *"'))
        wait_for(lambda: "seen" in platform.titles(), "the event of a new inspection", 100)
        assert platform.calls_per_minute() <= 40, platform.calls_per_minute()
        assert d.stop() == 0
        platform.check()


def test_stopped_meanwhile():
    """a daemon that is stopped while queries wait, and runs that time out while they do, leave nothing behind"""
    with shop() as (p, platform):
        platform.data = lambda query: series(1)
        platform.misbehave("query_data_v1", times=None, delay=2)
        for i in range(5):
            p.script(f"q{i}.lua", script('dql.query("M " .. ctx.id)\nlocal t = dql.all{ "M x", "M y" }\nwhile true do end',
                                         'schedule = "@every 1s", timeout = 3'))
        d = p.daemon()
        wait_for(lambda: len(platform.of("query_data_v1")) >= 3, "queries", 60)
        assert d.stop() == 0
        assert "AddressSanitizer" not in d.err and "runtime error" not in d.err, d.err


run_all(globals())
