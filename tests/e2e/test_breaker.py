"""The breaker: an address that fails is left alone for a while, one account's trouble is not another's."""
import time

from harness import run_all, wait_for
from remote import Platform, RATE, many, report, script, shop


def account(p, name="default"):
    """The account as a running daemon shows it; before it answers, one whose breaker is closed."""
    try:
        told = p.run("status", "--json").json()["accounts"]
    except ValueError:
        told = []
    return next((a for a in told if a["name"] == name and "breaker" in a), {"breaker": {"state": "closed"}})


def writes(platform):
    return [c for c in platform.calls if c.server == "openway"]


def test_no_storm():
    """500 for a while under a backlog: few requests, all of it delivered afterwards in growing batches, none twice"""
    with shop() as (p, platform):
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run()\n' + many(100) + "\nend")
        platform.misbehave("/v1/write/", times=None, status=500)
        d = p.daemon()
        wait_for(lambda: account(p)["breaker"]["state"] == "open", "the breaker opens", 40)
        began, so_far = time.monotonic(), len(writes(platform))
        wait_for(lambda: len(p.events("-n", "1000000")) >= 800, "a backlog", 60)
        tried = len(writes(platform)) - so_far
        # The waits are random up to a bound that doubles: 1 s, 2 s, 4 s; a dozen is far from one for each report.
        assert tried <= 16 + (time.monotonic() - began) / 10, tried
        said = account(p)["breaker"]
        assert said["failures"] >= 5 and said["batch"] == 1 and said["since"], said
        text = p.run("status").out
        assert "deliveries pause" in text and "events wait" in text, text
        assert not platform.events
        platform.behave()
        wait_for(lambda: len(platform.events) >= 800, "the backlog is delivered", 60)
        sizes = [(c.status, c.points) for c in platform.writes]
        first = next(i for i, c in enumerate(platform.writes) if c.status == 200)
        assert [c.points for c in platform.writes[first:first + 4]] == [1, 4, 16, 64], sizes
        assert account(p)["breaker"]["state"] == "closed"
        assert d.stop() == 0
        assert not platform.duplicates()
        print(f"# {tried} requests while it failed, then {len(platform.events)} delivered, duplicates 0")
        assert d.err.count("nothing is sent for a while") <= 3, d.err


def test_another_account_flows():
    """one account's platform fails; the other account's events are delivered meanwhile"""
    with shop() as (p, platform), Platform() as other:
        p.write("selfmon.conf.lua", f'''return {{ accounts = {{ default = {{ {RATE} }}, shop = {{ {RATE},
            node = {{ openapi = "{other.url("openapi")}", openway = "{other.url("openway")}" }},
            api_key_id = "{other.key_id}", api_key = env("OTHER_KEY") }} }} }}''')
        p.env["OTHER_KEY"] = other.key
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s" }\nfunction run() ' + report("A") + " end")
        p.script("b.lua", 'monitor{ title = "b", schedule = "@every 1s", account = "shop" }\nfunction run() '
                 + report("B") + " end")
        platform.misbehave("/v1/write/", times=None, status=503)
        d = p.daemon()
        wait_for(lambda: account(p)["breaker"]["state"] != "closed", "the breaker opens", 40)
        n = len(other.events)
        wait_for(lambda: len(other.events) > n + 2, "the other account's events", 30)
        assert account(p, "shop")["breaker"] | {"since": 0} == {
            "state": "closed", "since": 0, "failures": 0, "next": None, "batch": 100}
        assert not platform.events
        assert d.stop() == 0


run_all(globals())
