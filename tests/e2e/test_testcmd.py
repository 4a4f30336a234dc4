"""`selfmon-lua test` as an author uses it: a fresh directory, a script and its spec, every option; recording
against a server of ours, and playing back without it."""
import contextlib
import json
import os
import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from harness import ROOT, project, run_all

SHOP = """local http = require "selfmon.http"
local secret = require "selfmon.secret"

monitor{
  title = "Shop", permissions = { "secret:shop" },
  params = { url = { type = "string", required = true } },
}
function run(params)
  local res = assert(http.get(params.url, { headers = { Authorization = secret "shop" } }))
  local data = assert(res:json())
  EventReporter():report{ title = "Shop", status = data.ok and "ok" or "critical",
    message = ("%s %s"):format(data.method or "?", res.headers["content-type"] or "?") }
end

monitor{ title = "Broken" }
function broken()
  local function inner(t) return t.field.other end
  print "about to break"
  inner{}
end
"""

SPEC = """local t = require "selfmon.testing"

describe("shop", function()
  it("answers", function()
    t.http("GET https://shop.example/*", { json = { ok = true } })
    assert.are.equal("ok", t.run("demo/shop.run", { url = "https://shop.example/" },
      { grants = { "secret:shop" }, secrets = { shop = "s3cret-of-the-shop" } }).events[1].status)
  end)
  it("is down", function()
    t.http("GET https://shop.example/*", { json = {} })
    assert.are.equal("critical", t.run("demo/shop.run", { url = "https://shop.example/" },
      { grants = { "secret:shop" }, secrets = { shop = "s3cret-of-the-shop" } }).events[1].status)
  end)
end)
"""


@contextlib.contextmanager
def server():
    """A server of tests/fakes on a free port."""
    process = subprocess.Popen([sys.executable, str(ROOT / "tests/fakes/http_server.py")], stdout=subprocess.PIPE,
                               text=True)
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_fresh_directory():
    """a script and its spec, all pass; without a path below ./inspections; from elsewhere by path"""
    with project() as p:
        assert p.run("test").code == 5
        p.script("demo/shop.lua", SHOP)
        p.script("demo/shop_spec.lua", SPEC)
        for args, cwd in (((), None), (("inspections",), None), (("inspections/demo/shop_spec.lua",), None),
                          ((str(p.dir / "inspections"),), "/")):
            done = p.run("test", *args, cwd=cwd)
            assert done.code == 0 and "2 successes / 0 failures / 0 errors" in done.out, done


def test_options():
    """-k, --tap, -- and what is wrong usage"""
    with project() as p:
        p.script("demo/shop.lua", SHOP)
        p.script("demo/shop_spec.lua", SPEC)
        done = p.run("test", "-k", "down")
        assert done.code == 0 and "1 success " in done.out, done
        assert p.run("test", "-k", "nothing").code == 5
        done = p.run("test", "--tap", "--", "inspections")
        assert done.out.splitlines()[:2] == ["ok 1 - shop answers", "ok 2 - shop is down"], done
        for args, words in ((("--tpa",), "unknown option --tpa; known are -k PATTERN, --junit FILE, --tap and --record"),
                            (("--junit",), "--junit needs a value"), (("-k",), "-k needs a value"),
                            (("nowhere",), "nowhere: no such file or directory"),
                            (("--junit=/nonexistent/x.xml",), "cannot write /nonexistent/x.xml")):
            done = p.run("test", *args)
            assert done.code == 64 and words in done.err and done.out == "", done


def test_errors_have_a_place():
    """a mistake in a spec, a script that breaks, a spec that does not load: file and line of each"""
    with project() as p:
        p.script("demo/shop.lua", SHOP)
        p.script("demo/a_spec.lua", 'local t = require "selfmon.testing"\n\nit("breaks", function()\n'
                 '  local r = t.run("demo/shop.broken")\n  assert.are.equal("critical", r.events[1].status)\nend)\n'
                 'it("asks wrongly", function()\n  t.run("demo/shop.run", { ulr = "x" })\nend)\n'
                 'it("fails", function() assert.are.equal(1, 2) end)\n')
        p.script("demo/b_spec.lua", "it('x', function(\n")
        done = p.run("test")
        assert done.code == 1, done
        for words in ("inspections/demo/a_spec.lua:5: attempt to index a nil value",
                      "demo/shop.broken ended as failed: inspections/demo/shop.lua:17: attempt to index a nil value "
                      "(field 'field')",
                      "  inspections/demo/shop.lua:17: in local 'inner'", "  inspections/demo/shop.lua:19: in ",
                      "about to break",
                      "inspections/demo/a_spec.lua:8: t.run: demo/shop.run has no parameter \"ulr\"; it has url",
                      "inspections/demo/a_spec.lua:10: Expected objects to be equal", "inspections/demo/b_spec.lua:"):
            assert words in done.out, (words, done)
        # The trouble of one test is not that of the next.
        assert done.out.count("ended as failed") == 1, done


HOSTILE = """local t = require "selfmon.testing"
describe("a <suite> & \\"more\\"", function()
  it("is fine", function() end)
  it("]]> \\1 \\8 \\255 \\u{FFFE} \\n and a\\ttab", function() error("bad \\0 <&> ]]> \\27[31m \\255") end)
  it("fails", function() assert.are.equal("<a>", "&b;") end)
  pending("later <b>")
  describe("in setup", function()
    setup(function() error "no <setup>" end)
    it("never runs", function() end)
  end)
end)
"""


def test_junit():
    """the file is well-formed whatever names and messages hold, valid, and counts what happened"""
    with project() as p:
        p.script("demo/shop.lua", SHOP)
        p.script("demo/shop_spec.lua", SPEC)
        p.script("demo/hostile_spec.lua", HOSTILE)
        p.script("demo/unloadable_spec.lua", "this is not Lua")
        done = p.run("test", "--junit", "out.xml")
        assert done.code == 1 and "3 successes" in done.out, done
        checked = subprocess.run(["xmllint", "--noout", "--schema", str(ROOT / "tests/data/junit.xsd"),
                                  str(p.dir / "out.xml")], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr + (p.dir / "out.xml").read_text(errors="replace")
        top = ElementTree.parse(p.dir / "out.xml").getroot()
        suites = {s.get("name").rsplit("/", 1)[-1]: s for s in top}
        assert set(suites) == {"shop_spec.lua", "hostile_spec.lua", "unloadable_spec.lua"}, suites
        counts = {name: tuple(int(s.get(k)) for k in ("tests", "failures", "errors", "skipped"))
                  for name, s in suites.items()}
        assert counts["shop_spec.lua"] == (2, 0, 0, 0), counts
        assert counts["unloadable_spec.lua"] == (1, 0, 1, 0), counts
        assert counts["hostile_spec.lua"][1:] == (1, 2, 1), counts
        assert [int(top.get(k)) for k in ("tests", "failures", "errors", "skipped")] == [
            sum(c[i] for c in counts.values()) for i in range(4)], counts
        case = suites["shop_spec.lua"].find("testcase")
        assert (case.get("name"), case.get("classname")) == ("shop answers", "inspections.demo.shop_spec"), case.attrib
        assert case.get("file") == "inspections/demo/shop_spec.lua" and case.get("line") == "4", case.attrib
        cases = {c.get("name"): c for c in suites["hostile_spec.lua"]}
        fails = cases['a <suite> & "more" fails'].find("failure")
        assert "&b;" in fails.text and "<a>" in fails.text and "hostile_spec.lua:5:" in fails.get("message"), fails.text
        assert cases['a <suite> & "more" later <b>'].find("skipped") is not None


RECORDED = """local t = require "selfmon.testing"
local function run()
  t.record "shop"
  return t.run("demo/shop.run", { url = "BASE/PATH" },
    { grants = { "secret:shop" }, secrets = { shop = os.getenv "SHOP" or "a made-up secret" } })
end
it("answers", function()
  local r = run()
  assert.are.equal("GET application/json", r.events[1].message)
  t.run("demo/shop.run", { url = "BASE/gzip" }, { grants = { "secret:shop" }, secrets = { shop = os.getenv "SHOP" or "a made-up secret" } })
end)
it("answers again", function() assert.are.equal("ok", run().outcome) end)
"""


def test_record_and_replay():
    """real answers are asked for once, kept without the secret, played back without network; drift is told"""
    with project() as p, server() as base:
        p.script("demo/shop.lua", SHOP)
        spec = RECORDED.replace("BASE", base).replace("PATH", "redirect?to=/echo")
        p.script("demo/shop_spec.lua", spec)
        fixture = p.dir / "inspections/demo/fixtures/shop.json"
        done = p.run("test")
        assert done.code == 1 and ("inspections/demo/fixtures/shop.json is not there; record it: selfmon-lua test "
                                   "--record inspections/demo/shop_spec.lua") in done.out, done
        secret = "the-real-s3cret/of=the+shop"
        done = p.run("test", "--record", env={"SHOP": secret})
        assert done.code == 0 and "2 successes" in done.out, done
        text = fixture.read_text()
        assert "s3cret" not in text and json.loads(text)["format"] == 1, text
        kept = json.loads(text)["http"]
        requests = [e["request"] for e in kept]
        assert requests == sorted(requests) and len(requests) == len(set(requests)), requests
        echo = next(e for e in kept if "/echo" in e["request"])
        assert echo["answer"]["json"]["method"] == "GET" and "***" in json.dumps(echo), kept
        assert text.index('"answer"') < text.index('"request"') and "\n  " in text, "sorted, indented"
        asked = len(requests)
    # The server is gone; the secret is another one.
    with project() as p:
        p.script("demo/shop.lua", SHOP)
        p.script("demo/shop_spec.lua", spec)
        p.write("inspections/demo/fixtures/shop.json", text)
        done = p.run("test")
        assert done.code == 0 and "2 successes" in done.out, done
        assert (p.dir / "inspections/demo/fixtures/shop.json").read_text() == text and asked >= 3
        # What the script asks for has changed.
        p.script("demo/shop.lua", SHOP.replace("http.get(params.url", "http.get(params.url .. '/new'"))
        done = p.run("test")
        assert done.code == 1 and "record again: selfmon-lua test --record inspections/demo/shop_spec.lua" in done.out, done
        assert "has no GET " in done.out, done
        for broken in ("{}", "no JSON", '{"format": 1, "http": [7]}', '{"format": 1, "http": [{"request": "GET x"}]}',
                       '{"format": 2, "http": []}', '{"format": 1, "http": 7}', '{"format": 1, "exec": [{}]}'):
            p.write("inspections/demo/fixtures/shop.json", broken)
            done = p.run("test")
            assert done.code == 1 and "is not a recording of this version" in done.out, (broken, done)


PROGRAMS = '''local exec = require "selfmon.exec"
monitor{ title = "x", permissions = { "exec:/bin/*" } }
function run()
  local r = assert(exec.run{ cmd = "/bin/sh", args = { "-c", "cat; echo \\"$WHO it's\\"; printf '\\\\377' >&2; exit 3" }, stdin = "in\\n",
    env = { WHO = "me" }, cwd = "/tmp" })
  print(r.code, r.stdout, #r.stderr, r.stderr:byte())
  print(select(2, exec.run{ cmd = "/bin/sleep", args = { 60 }, timeout = 0.2 }))
  print(select(3, exec.run{ cmd = "/bin/not-there" }))
end
'''


def test_record_programs():
    """programs are run once with --record, with the environment of the real service, and played back"""
    with project() as p:
        p.script("demo/p.lua", PROGRAMS)
        p.script("demo/p_spec.lua", 'local t = require "selfmon.testing"\nit("runs", function()\n  t.record "p"\n'
                 '  local r = t.run "demo/p.run"\n  assert.are.equal("ok", r.outcome, r.error)\n'
                 '  assert.is_truthy(r.log:find("3\\tin\\n", 1, true) and r.log:find("me it\'s", 1, true), r.log)\n'
                 '  assert.is_truthy(r.log:find("1\\t255", 1, true), r.log)\n'
                 '  assert.is_truthy(r.log:find("/bin/sleep did not end within 0.2 s and was ended", 1, true), r.log)\n'
                 '  assert.is_truthy(r.log:find("not_found", 1, true), r.log)\nend)\n')
        done = p.run("test", "--record")
        assert done.code == 0, done
        fixture = p.dir / "inspections/demo/fixtures/p.json"
        kept = json.loads(fixture.read_text())["exec"]
        assert [e["answer"].get("code") for e in kept] == [None, 3, None], kept
        # Nothing is run when it is played back: the answers are those of the file.
        fixture.write_text(fixture.read_text().replace('"code": 3', '"code": 4'))
        done = p.run("test")
        assert done.code == 1 and "4\tin" in done.out, done
        p.script("demo/p.lua", PROGRAMS.replace("/bin/sleep", "/bin/true"))
        done = p.run("test")
        assert 'unfaked program "/bin/true" "60" (inspections/demo/p.lua:7): inspections/demo/fixtures/p.json has no' in done.out


POLICIES = ["", "events = { recover = true, on_change = true }", "events = { recover = true, confirm = { fail = 2, ok = 2 } }",
            "events = { recover = true, on_change = true, max_dimensions = 2, remind = '4h' }",
            "events = { max_events = { 3, per = '1h' }, recover = true }"]


def decided(events):
    """What a policy made of the events of one run, in a form that both sides have."""
    return sorted((e["dimension_tags"].get("host", "(digest)"), e["status"], e["send"], e["rule"]) for e in events)


def test_sent_is_what_the_store_sends():
    """random runs under five policies: what a spec says would be sent or held is what the real store decides"""
    dice = random.Random(6)
    steps = [{h: dice.choice(["warning", "critical", "ok"]) for h in "abcd" if dice.random() < 0.6} for _ in range(9)]
    for policy in POLICIES:
        with project() as p:
            p.script("pol.lua", f'monitor{{ title = "Policy", params = {{ say = {{}} }}, {policy} }}\nfunction run(params)\n'
                     '  for _, word in ipairs(params.say) do\n    local host, status = word:match "(%a)=(%a+)"\n'
                     '    EventReporter():report{ title = host, message = "m", status = status, dimension_tags = { host = host } }\n'
                     '  end\nend')
            words = [",".join(f"{h}={s}" for h, s in step.items()) for step in steps]
            p.script("pol_spec.lua", 'local t = require "selfmon.testing"\nit("runs", function()\n  local out = {}\n'
                     f'  for i, say in ipairs{{ {", ".join(json.dumps(w) for w in words)} }} do\n'
                     '    local r = t.run("pol.run", { say = say })\n    assert.are.equal("ok", r.outcome, r.error)\n    out[i] = {}\n'
                     '    for _, e in ipairs(r.sent) do e.send = true table.insert(out[i], e) end\n'
                     '    for _, e in ipairs(r.held) do e.send = false table.insert(out[i], e) end\n  end\n'
                     '  io.open("out.json", "w"):write((require "cjson".encode(out)))\nend)\n')
            done = p.run("test")
            assert done.code == 0, done
            told = json.loads((p.dir / "out.json").read_text())
            known, real = set(), []
            for step, word in enumerate(words):
                done = p.once("-p", f"pol.run:say={word}")
                assert done.code == 0, done
                new = [e for e in p.events() if e["event_id"] not in known]
                known |= {e["event_id"] for e in new}
                for e in new:
                    e.update(e.pop("policy") or {"send": True, "rule": "as_reported"}, status=e["status"])
                real.append(decided(new))
                # A recovery that confirm holds back is no event in the store.
                mine = [e for e in told[step] if not (e["rule"] == "confirm" and "id" not in e)]
                assert decided(mine) == real[-1], (policy, step, words[:step + 1], decided(mine), real[-1])
            assert any(real), policy


def test_no_network():
    """neither a script under test nor its spec reaches a server, also one that is there"""
    with project() as p, server() as base:
        p.script("demo/shop.lua", SHOP)
        p.script("demo/shop_spec.lua", 'local t = require "selfmon.testing"\nlocal http = require "selfmon.http"\n'
                 f'it("script", function() t.run("demo/shop.run", {{ url = "{base}/echo" }}, '
                 '{ grants = { "secret:shop" }, secrets = { shop = "x" } }) end)\n'
                 f'it("spec", function()\n  local res, err, code = http.get("{base}/ok")\n'
                 '  assert.is_nil(res)\n  assert.are.equal("denied", code, err)\n'
                 f'  assert.are.equal("denied", select(3, require "selfmon.net".tcp("127.0.0.1", {base.rsplit(":", 1)[1]})))\n'
                 '  assert.are.equal("unavailable", select(3, require "selfmon.store".get "x"))\nend)\n')
        done = p.run("test")
        assert "1 success / 0 failures / 1 error" in done.out and "unfaked request GET " + base in done.out, done
        import urllib.request
        assert json.load(urllib.request.urlopen(base + "/requests")) == [], "the server was asked"


run_all(globals())
