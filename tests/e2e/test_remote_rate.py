"""The call budget at size: 2,000 inspections at one a minute stay within 20 OpenAPI calls a minute."""
import time

from harness import run_all, wait_for
from remote import Platform, RemoteProject, ref_key

COUNT = 2000
SECONDS = 100


def test_two_thousand_inspections():
    """2,000 registered inspections at one a minute: at most 20 calls in any minute, nothing created or modified"""
    with Platform() as platform:
        p = RemoteProject(platform.env)
        try:
            (p.dir / "selfmon.conf.lua").unlink()
            for n in range(COUNT):
                p.script(f"m/i{n:04}.lua", 'monitor{ title = "t", schedule = "* * * * *", first_run = false }\n'
                                           "function run() end")
                platform.checkers.add({"refKey": ref_key(f"m/i{n:04}.run"), "title": "t", "refFuncInfo": {
                    "funcId": f"m__i{n:04}.run", "description": "", "definition": "run()", "category": "general",
                    "args": [], "kwargs": {}}})
            started = time.monotonic()
            d = p.daemon()
            d.wait_line("ok", "m/i", seconds=90)
            wait_for(lambda: time.monotonic() - started > SECONDS, "the time", SECONDS + 5)
            shown = {i["id"]: i["age"] for i in p.run("status", "--json").json()["inspections"]}
            now = time.time()
            runs = p.runs()
            assert d.stop() == 0
            assert platform.calls_per_minute("openapi") <= 20, platform.calls_per_minute("openapi")
            assert not platform.checkers.created and not platform.checkers.modified
            outcomes = {r["outcome"] for r in runs}
            assert outcomes <= {"ok", "skipped"} and len(runs) >= COUNT, (outcomes, len(runs))
            seen = {}
            for at, keys in platform.checkers.listed:
                seen.update(dict.fromkeys(keys or [], at))
            older = [i for i, age in shown.items() if now - seen[ref_key(i)] > age + 3]
            assert len(shown) == COUNT and not older, older[:5]
            platform.check()
        finally:
            p.close()


run_all(globals())
