"""A remote workspace: what is registered, with which parameters it runs, what its events carry."""
import time

from harness import run_all, wait_for
from remote import keyevents, ref_key, report, script, shop

EXAMPLE = '''monitor{ title = "Self-built inspection example",
  doc = [[
    Checks that the shop answers.

      indented
  ]],
  params = { url = "https://shop.example/", max_ms = { type = "number", default = 800, doc = "slower is a warning" },
             strict = true, hosts = { type = "list", items = "string", default = { "a", "b" } },
             since = { type = "duration", default = "15m" }, name = { type = "string", required = true, order = 1 } } }
function run(params)
  print(params.name, params.max_ms, params.strict, table.concat(params.hosts, "+"), params.since, params.url)
end
'''


def test_registration_content():
    """an inspection is registered with key, title, cleaned doc, funcId, definition, args and kwargs"""
    with shop() as (p, platform):
        p.script("demo/example.lua", EXAMPLE)
        p.once()
        assert len(platform.checkers.created) == 1, platform.checkers.created
        body = platform.checkers.created[0]
        assert set(body) <= {"refKey", "title", "refFuncInfo", "monitorUUID", "alertPolicyUUIDs", "isDisabled"}
        assert body["refKey"] == ref_key("demo/example.run") and body["title"] == "Self-built inspection example"
        info = body["refFuncInfo"]
        assert info["funcId"] == "demo__example.run" and info["category"] == "general", info
        assert info["args"] == ["name", "hosts", "max_ms", "since", "strict", "url"], info
        assert info["kwargs"] == {"name": {}, "hosts": {"default": ["a", "b"]}, "max_ms": {"default": 800},
                                  "since": {"default": "15m"}, "strict": {"default": True},
                                  "url": {"default": "https://shop.example/"}}, info
        assert info["definition"].startswith("run(") and "strict=True" in info["definition"], info
        assert "max_ms=800" in info["definition"] and "hosts=['a', 'b']" in info["definition"], info
        assert info["description"].startswith("Checks that the shop answers.\n\n  indented"), info
        assert "slower is a warning" in info["description"].rsplit("\n\n", 1)[1], info
        platform.check()


def test_second_run_changes_nothing():
    """a second run asks, and neither creates nor modifies"""
    with shop() as (p, platform):
        for n in range(5):
            p.script(f"a{n}.lua", script(report(), title=f"T{n}", doc="[[ doc ]]", params="{ n = 1.5, s = 'x', t = {} }"))
        assert set(p.outcomes().values()) == {"ok"}
        assert len(platform.checkers.created) == 5
        calls = len(platform.of("/list"))
        assert set(p.outcomes().values()) == {"ok"}
        assert len(platform.checkers.created) == 5 and not platform.checkers.modified
        assert len(platform.of("/list")) - calls == 1, "one question for all"
        assert len(platform.of("/workspace/get")) <= 2
        platform.check()


def test_parameters_set_there():
    """the run has the parameters set there: converted, defaults for the rest, unknown ones ignored"""
    with shop() as (p, platform):
        p.script("demo/example.lua", EXAMPLE)
        assert p.outcomes() == {"demo/example.run": "bad_params"}, "name is required"
        row = platform.checkers.of_func("demo__example.run")
        row["jsonScript"]["callKwargs"] = {"name": "Anna", "max_ms": "95", "strict": "false", "hosts": "x\ny", "url": None,
                                           "colour": "red"}
        assert p.outcomes() == {"demo/example.run": "ok"}
        line = next(x for x in p.log().split("\n") if x.startswith("Anna"))
        assert line.split() == ["Anna", "95", "false", "x+y", "900", "https://shop.example/"], p.log()
        assert "colour" in p.log()
        row["jsonScript"]["callKwargs"] = {"name": "Anna", "max_ms": "fast"}
        item = p.once("--json").json()[0]
        assert item["outcome"] == "bad_params" and "max_ms" in item["error"] and "fast" in item["error"], item
        assert not platform.checkers.modified
        platform.check()


def test_disabled_there():
    """disabled there: skipped without script code, no failure; enabled again: runs"""
    with shop() as (p, platform):
        p.script("a.lua", script(report()))
        p.script("b.lua", script("print 'b'"))
        p.once()
        row = platform.checkers.of_func("a.run")
        for status, outcome in ((2, "disabled"), (1, "disabled"), (0, "ok")):
            row["status"] = status
            before = len(platform.events)
            assert p.outcomes() == {"a.run": outcome, "b.run": "ok"}, status
            assert len(platform.events) - before == (outcome == "ok")
        platform.check()


def test_deleted_there():
    """deleted there: created anew with another UUID, which the next events carry"""
    with shop() as (p, platform):
        p.script("a.lua", script(report(status="error")))
        p.once()
        first = platform.checkers.of_func("a.run")
        platform.checkers.bury(first)
        assert p.outcomes() == {"a.run": "ok"}
        second = platform.checkers.of_func("a.run")
        assert second["uuid"] != first["uuid"] and second["refKey"] == first["refKey"]
        assert [e.tags["df_monitor_checker_id"] for e in platform.events] == [first["uuid"], second["uuid"]]
        assert platform.events[0].fields["df_fault_id"] != platform.events[1].fields["df_fault_id"], "the old one is closed"
        assert [i["uuid"] for i in p.run("list", "--json").json()] == [second["uuid"]]
        platform.check()


def test_changes_are_modified():
    """title, doc, category and parameters changed: modify, whole, without alert fields and funcId"""
    with shop() as (p, platform):
        variants = [dict(title="One"), dict(title="Two"), dict(title="Two", doc="'new'"),
                    dict(title="Two", doc="'new'", params="{ n = 1 }"), dict(title="Two", doc="'new'", params="{ n = 2 }"),
                    dict(title="Two", doc="'new'", params="{ n = 2 }", category="'shop'")]
        for number, keys in enumerate(variants):
            p.script("a.lua", script("print(params.n)", **keys))
            assert p.outcomes() == {"a.run": "ok"}, keys
            assert len(platform.checkers.modified) == number, keys
        row = platform.checkers.of_func("a.run")
        assert len(platform.checkers.created) == 1 and row["jsonScript"]["title"] == "Two"
        assert row["jsonScript"]["refFuncInfo"] == {"funcId": "a.run", "description": "new", "definition": "run(n=2)",
                                                    "category": "shop", "args": ["n"], "kwargs": {"n": {"default": 2}}}
        for body in platform.checkers.modified:
            assert not set(body) & {"monitorUUID", "alertPolicyUUIDs", "isDisabled"}, body
        platform.check()


def test_event_fields():
    """each event arrives once with key, inspection, status, tags, title, message, id and time"""
    with shop() as (p, platform):
        p.script("demo/shop.lua", script(
            'print(EventReporter():report{ title = "Disk full", message = [[\n    # Heading\n\n      code\n]], '
            'status = "critical", dimension_tags = { host = "my host", path = "C:\\\\dir", n = 3, flag = true } })',
            title="Shop"))
        before = time.time_ns()
        assert p.outcomes() == {"demo/shop.run": "ok"}
        assert len(platform.events) == 1, platform.events
        event, row = platform.events[0], platform.checkers.of_func("demo__shop.run")
        tags, fields = event.tags, event.fields
        assert tags["df_monitor_ref_key"] == ref_key("demo/shop.run") == row["refKey"]
        assert tags["df_monitor_checker_id"] == row["uuid"] and tags["df_status"] == "critical"
        assert (tags["host"], tags["path"], tags["n"], tags["flag"]) == ("my host", "C:\\dir", "3", "true")
        assert event.dimension == {"host": "my host", "path": "C:\\dir", "n": "3", "flag": "true"}
        assert fields["df_title"] == "Disk full" and fields["df_message"] == "# Heading\n\n  code"
        assert fields["df_monitor_checker_name"] == "Shop"
        assert tags["df_event_id"] == p.log().strip() and fields["df_fault_id"] == tags["df_event_id"]
        assert before <= event.time <= time.time_ns()
        assert [(e["event_id"], e["delivery"], e["attempts"]) for e in p.events()] == [(event.id, "delivered", 1)]
        platform.check()


def test_events_without_tags():
    """an event without dimension tags, and one of each status"""
    with shop() as (p, platform):
        p.script("a.lua", script("\n".join(report(title=s, status=s, tags='{ s = "%s" }' % s) for s in
                                           ("ok", "info", "warning", "error", "critical")) + "\n" + report("bare", "ok")))
        assert p.outcomes() == {"a.run": "ok"}
        assert sorted(e.tags["df_status"] for e in platform.events) == ["critical", "error", "info", "ok", "ok", "warning"]
        assert [e.dimension for e in platform.events if e.title == "bare"] == [{}]
        platform.check()


def test_faults():
    """the fault is that of the first bad event until an ok; the next fault is another one"""
    with shop() as (p, platform):
        p.script("a.lua", script('for _, s in ipairs{ "ok", "warning", "critical", "ok", "error" } do\n'
                                 'EventReporter():report{ title = s, message = "m", status = s } end'))
        assert p.outcomes() == {"a.run": "ok"}
        by_time = sorted(platform.events, key=lambda e: e.time)
        assert [e.title for e in by_time] == ["ok", "warning", "critical", "ok", "error"]
        ids = [e.fields.get("df_fault_id") for e in by_time]
        assert ids[1] == ids[2] == by_time[1].id and ids[4] == by_time[4].id, ids
        assert ids[3] in (None, ids[1]), "a recovery names its fault or none"
        assert len({e.tags["df_monitor_checker_event_ref"] for e in by_time}) == 1
        assert by_time[1].fields["df_fault_start_time"] == by_time[2].fields["df_fault_start_time"]
        platform.check()


def test_hostile_texts():
    """quotes, backslashes, newlines, emoji, Chinese and commas arrive as they were reported"""
    texts = ['a "q" \\ b', "comma, equals= space ", "tab\tand\nline", "报警：磁盘 95% 🔥", "C:\\dir\\", "x\\,y\\=z", "'", "#c"]
    lua = "{ " + ", ".join('"%s"' % t.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
                           for t in texts) + " }"
    with shop() as (p, platform):
        p.script("a.lua", script(
            f'for i, t in ipairs({lua}) do EventReporter():report{{ title = "T" .. i, message = "m" .. t .. "e", '
            f'status = "info", dimension_tags = {{ v = t, ["k " .. i .. ",="] = "x" }} }} end'))
        assert p.outcomes() == {"a.run": "ok"}, p.runs()
        got = {e.title: e for e in platform.events}
        for number, text in enumerate(texts, 1):
            event = got[f"T{number}"]
            assert event.fields["df_message"] == f"m{text}e", event
            assert event.tags["v"] == keyevents.normal(text), event
            assert event.tags[f"k {number},="] == "x", event
        platform.check()


def test_daemon_takes_changes():
    """the daemon registers at load and takes parameters, disabling and deletion within seconds"""
    with shop() as (p, platform):
        p.account("", "config_max_age = 1")
        p.script("a.lua", 'monitor{ title = "a", schedule = "@every 1s", params = { n = 1 } }\n'
                          'function run(params) EventReporter():report{ title = "n=" .. params.n, message = "m", '
                          'status = "ok" } end')
        p.script("b.lua", script(title="on demand"))
        d = p.daemon()
        wait_for(lambda: "n=1" in platform.titles(), "the first event")
        assert platform.checkers.of_func("b.run"), "registered at load though never due"
        row = platform.checkers.of_func("a.run")
        row["jsonScript"]["callKwargs"] = {"n": 7}
        wait_for(lambda: "n=7" in platform.titles(), "the new parameter", 8)
        row["status"] = 2
        d.wait_line("disabled", "a.run", seconds=8)
        row["status"] = 0
        platform.checkers.bury(row)
        wait_for(lambda: any(e.tags["df_monitor_checker_id"] != row["uuid"] for e in platform.events), "a new row", 10)
        p.script("a.lua", (p.dir / "inspections/a.lua").read_text().replace('"a"', '"renamed"'))
        wait_for(lambda: platform.checkers.of_func("a.run")["jsonScript"]["title"] == "renamed", "the new title", 10)
        assert d.stop() == 0
        assert not platform.duplicates()
        platform.check()


def test_two_rows_of_one_key():
    """two rows with one association key: the oldest is taken, with a warning; nothing is created"""
    with shop() as (p, platform):
        p.script("a.lua", script(report()))
        p.once()
        old = platform.checkers.of_func("a.run")
        new = platform.checkers.add(platform.checkers.created[0])
        new["createAt"] += 100
        platform.checkers.rows.reverse()
        done = p.once()
        assert done.code == 0 and old["refKey"] in done.out + done.err, done
        assert {e.tags["df_monitor_checker_id"] for e in platform.events} == {old["uuid"]}
        assert len(platform.checkers.created) == 1
        platform.check()


def test_shapes_of_lists():
    """content of list as a bare array, create that answers null: the same"""
    for array, content in ((True, None), (False, {"uuid": "rul_not_this_one"})):
        with shop() as (p, platform):
            platform.checkers.list_as_array, platform.checkers.created_content = array, content
            p.script("a.lua", script(report()))
            assert p.outcomes() == {"a.run": "ok"}
            assert platform.events[0].tags["df_monitor_checker_id"] == platform.checkers.of_func("a.run")["uuid"]
            platform.check()


def test_instances_and_was():
    """instances have their own keys; `was` keeps the key after a rename"""
    with shop() as (p, platform):
        p.account("", 'instances = { ["a.run"] = { shop = { params = { url = "s" } } } }')
        p.script("a.lua", script("print(params.url)", params='{ url = "" }'))
        p.once()
        assert {r["refKey"] for r in platform.checkers.rows} >= {ref_key("a.run@shop")}
        assert "a.run@shop" in [r["jsonScript"]["refFuncInfo"]["funcId"] for r in platform.checkers.rows]
        p.script("b.lua", script(title="b"))
        p.once()
        (p.dir / "inspections/b.lua").rename(p.dir / "inspections/c.lua")
        p.script("c.lua", script(title="b", was='{ "b.run" }'))
        count = len(platform.checkers.created)
        assert p.outcomes()["c.run"] == "ok"
        assert len(platform.checkers.created) == count, "the row of b.run is kept"
        assert len(platform.checkers.of_key(ref_key("b.run"))) == 1
        platform.check()


def test_dry_run_sends_nothing():
    """--dry-run registers and sends nothing"""
    with shop() as (p, platform):
        p.script("a.lua", script(report()))
        done = p.once("--dry-run")
        assert done.code == 0 and len(done.json()) == 1, done
        assert not platform.checkers.rows and not platform.writes
        platform.check()


run_all(globals())
