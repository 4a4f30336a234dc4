"""Permissions as docs/permissions.md tells them: asked for in `monitor`, granted in the configuration by pattern,
refused with the sentence of the page, checked again by the daemon."""
import re

from harness import ROOT, project, run_all

ASKS = {
    "secret": ('monitor{ title = "x", permissions = { "secret:shop" } }\nfunction run()\n'
               '  print(tostring(require "selfmon.secret" "shop"))\nend', "secret:shop", "<secret shop>"),
    "exec": ('monitor{ title = "x", permissions = { "exec:/usr/bin/df" } }\nfunction run()\n'
             '  print(assert(require "selfmon.exec".run{ cmd = "/usr/bin/df", args = { "--version" } }).stdout)\nend',
             "exec:/usr/bin/df", "coreutils"),
    "file": ('monitor{ title = "x", permissions = { "file:/etc/passwd" } }\nfunction run()\n'
             '  print(assert(require "selfmon.host".file.stat "/etc/passwd").type)\nend', "file:/etc/passwd", "file"),
    "processes": ('monitor{ title = "x", permissions = { "processes:cmdline" } }\nfunction run()\n  local found\n'
                  '  for _, p in ipairs(assert(require "selfmon.host".processes{ cmdline = true })) do\n'
                  '    found = found or p.cmdline and p.cmdline:match "selfmon%-lua run" \n  end\n  print(found)\nend',
                  "processes:cmdline", "selfmon-lua run"),
}


def outcome(p, args=(), id="host/a.run"):
    """Runs the inspections once: outcome and error of one, and what was printed."""
    done = p.once("--json", *args)
    found = [one for one in done.json() if one.get("id") == id]
    assert found, done
    return found[0]["outcome"], found[0].get("error") or "", done.err


def configure(p, grant, more=""):
    p.write("shop.key", "the-key-of-the-shop\n").chmod(0o600)
    p.write("selfmon.conf.lua", f'return {{ secrets = {{ shop = {{ file = "shop.key" }} }}, {more} grant = {grant} }}')


def test_refusal_and_cure():
    """what is not granted raises with the sentence that names permission, inspection and file; granted, it works"""
    page = (ROOT / "docs/permissions.md").read_text()
    for name, (text, permission, shows) in ASKS.items():
        with project() as p:
            p.script("host/a.lua", text)
            configure(p, "{}")
            what, error, _ = outcome(p)
            sentence = f'permission "{permission}" is not granted to host/a.run: add it to grant in selfmon.conf.lua'
            assert what == "failed" and sentence in error and re.search(r"inspections/host/a\.lua:\d+: ", error), (name, error)
            configure(p, f'{{ ["host/a.run"] = "{permission}" }}')
            what, error, log = outcome(p)
            assert what == "ok" and shows in log, (name, what, error, log)
        assert f"`{permission.split(':')[0]}:" in page, f"docs/permissions.md has no {name}"
    assert 'is not granted to host/disk_by_df.run: add it to grant in selfmon.conf.lua' in page


def test_page_as_it_stands():
    """the script and the grants shown on the page load, are refused without, and work with them"""
    page = (ROOT / "docs/permissions.md").read_text()
    script = re.search(r"```lua\n(-- inspections/host/disk_by_df\.lua\n.*?)```", page, re.S).group(1)
    conf = re.search(r"```\n(return \{.*?)```", page, re.S).group(1)
    shown = re.search(r"(permission \"exec:/usr/bin/df\" is not granted to host/disk_by_df\.run[^\n]*)\n```", page).group(1)
    with project() as p:
        p.script("host/disk_by_df.lua", script)
        what, error, _ = outcome(p, id="host/disk_by_df.run")
        assert what == "failed" and error.endswith(shown), (error, shown)
        p.write("shop.key", "the-key-of-the-shop\n").chmod(0o600)
        p.write("selfmon.conf.lua", conf.replace("/etc/selfmon-lua/shop.key", "shop.key"))
        what, error, log = outcome(p, id="host/disk_by_df.run")
        assert what == "ok" and "Mounted on" in log, (what, error, log)


def test_a_running_daemon_takes_a_grant():
    """a grant that is added while the daemon runs holds for the next run"""
    with project() as p:
        p.script("host/a.lua", ASKS["secret"][0].replace('title = "x"', 'title = "x", schedule = "@every 1s"'))
        configure(p, "{}")
        d = p.daemon()
        d.wait_line("failed", "host/a.run", seconds=40)
        configure(p, '{ ["host/*"] = "secret:shop" }')
        d.wait_line("ok", "host/a.run", seconds=40)
        assert d.stop() == 0


def test_patterns():
    """`*` is a part of a path, `**` any number; a grant holds for instances too; several add up"""
    text = ASKS["secret"][0]
    cases = [('["host/a.run"]', True), ('["host/*"]', True), ('["host/**"]', True), ('["**"]', True), ('["*/a.*"]', True),
             ('["*"]', False), ('["host/b*"]', False), ('["host"]', False), ('["host/a.run@one"]', False),
             ('["hos?/a.run"]', True)]
    with project() as p:
        p.script("host/a.lua", text)
        for pattern, good in cases:
            configure(p, f'{{ {pattern} = {{ "secret:other", "secret:shop" }} }}')
            what, error, _ = outcome(p)
            assert (what == "ok") == good, (pattern, what, error)
        for permission, good in (("secret:*", True), ("secret:sh?p", True), ("secret:**", True), ("secret:shop2", False)):
            configure(p, f'{{ ["host/**"] = "{permission}" }}')
            assert (outcome(p)[0] == "ok") == good, permission
        configure(p, '{ ["host/*"] = "secret:other", ["host/a.*"] = { "secret:shop" } }')
        assert outcome(p)[0] == "ok"
        configure(p, '{ ["host/a.run"] = "secret:shop" }', 'instances = { ["host/a.run"] = { one = { schedule = "@hourly" } } },')
        assert outcome(p, id="host/a.run@one")[0] == "ok"
        configure(p, '{ ["host/a.run@one"] = "secret:shop" }', 'instances = { ["host/a.run"] = { one = { schedule = "@hourly" } } },')
        assert outcome(p, id="host/a.run@one")[0] == "ok" and outcome(p)[0] == "failed"


def test_asking_grants_nothing():
    """a permission that is only asked for is refused; one that is only granted is used"""
    with project() as p:
        p.script("host/a.lua", ASKS["secret"][0])
        configure(p, "{}")
        assert outcome(p)[0] == "failed"
        p.script("host/a.lua", ASKS["secret"][0].replace(', permissions = { "secret:shop" }', ""))
        configure(p, '{ ["host/**"] = "secret:shop" }')
        assert outcome(p)[0] == "ok"


def test_wrong_grants():
    """a grant that cannot be meant is a configuration error, with its place and what is expected"""
    with project() as p:
        p.script("host/a.lua", ASKS["secret"][0])
        for grant, words in (('{ ["host/*"] = "shop" }', "secret:name"), ('{ ["host/*"] = { "secret:" } }', "secret:name"),
                             ('{ ["host/*"] = { 7 } }', "secret:name"), ('{ [""] = "secret:shop" }', "pattern"),
                             ('{ ["host/*"] = { "sercet:shop" } }', "secret:name")):
            configure(p, grant)
            done = p.once()
            assert done.code == 78 and "selfmon.conf.lua" in done.err and words in done.err, (grant, done)


run_all(globals())
