local t = require "selfmon.testing"

local DIR = "/usr/lib/nagios/plugins/"
local GRANTS = { grants = { "exec:" .. DIR .. "*" } }

local function run(params) return t.run("nagios/plugin.run", params, GRANTS) end

describe("nagios/plugin", function()
  it("has nothing to do without plugins", function()
    local r = t.run "nagios/plugin.run"
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter plugins", 1, true))
  end)

  it("says nothing when all are well", function()
    t.exec(DIR .. "check_swap", { stdout = "SWAP OK - 80% free |swap=800MB;100;50;0;1000\n" })
    local r = run { plugins = { DIR .. "check_swap -w 20% -c 10%" } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.are.same({ "-w", "20%", "-c", "10%" }, t.execs()[1].args)
    assert.are.equal(30, t.execs()[1].timeout)
  end)

  it("reports what a plugin says, with its figures", function()
    t.exec(DIR .. "check_disk", { code = 2, stdout = "DISK CRITICAL - free space: / 3 MB (1%); | /=2643MB;5948;@0:5958;0;5968\n"
      .. "more\n| 'a b'=U\n" })
    t.exec(DIR .. "check_load", { code = 1, stdout = "WARNING - load average: 9\n" })
    local r = run { plugins = { "root = " .. DIR .. "check_disk -p '/' \"-w a b\" c\\ d", DIR .. "check_load" } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({ "-p", "/", "-w a b", "c d" }, t.execs()[1].args)
    local e = r.events[1]
    assert.are.equal("critical", e.status)
    assert.are.equal("root: DISK CRITICAL - free space: / 3 MB (1%);", e.title)
    assert.are.same({ host = "testhost", check = "root" }, e.dimension_tags)
    assert.is_truthy(e.message:find("**root** on testhost says CRITICAL:\n\nDISK CRITICAL", 1, true), e.message)
    assert.is_truthy(e.message:find("\n\nmore\n\n- / **2643 MB**, warning 5948, critical @0:5958\n- a b **unknown**", 1, true),
      e.message)
    assert.are.equal("warning", r.events[2].status)
    assert.are.equal("check_load: WARNING - load average: 9", r.events[2].title)
    assert.are.equal(DIR .. "check_load", r.events[2].dimension_tags.check)
  end)

  it("fails when a plugin cannot see, after what the others say", function()
    t.exec(DIR .. "check_a", { code = 3, stdout = "UNKNOWN - no idea\n" })
    t.exec(DIR .. "check_b", { code = 1, stdout = "B WARNING\n" })
    t.exec(DIR .. "check_c", { error = "check_c did not end within 30 s and was ended", error_code = "timeout" })
    t.exec(DIR .. "check_d", { error = "/usr/lib/nagios/plugins/check_d: No such file", error_code = "not_found" })
    local list = { DIR .. "check_a", DIR .. "check_b", DIR .. "check_c", DIR .. "check_d" }
    local r = run { plugins = list }
    assert.are.equal("failed", r.outcome)
    for _, word in ipairs { "no idea", "did not end", "No such file" } do
      assert.is_truthy(r.error:find(word, 1, true), r.error)
    end
    assert.are.equal(1, #r.events)
    r = run { plugins = { list[1], list[3] }, unknown = "error" }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("error", r.events[1].status)
    assert.is_truthy(r.events[2].title:find("did not end", 1, true))
    r = run { plugins = { list[1] }, unknown = "ignore" }
    assert.are.same({}, r.events)
  end)

  it("wants every program granted", function()
    local r = run { plugins = { "/usr/local/bin/check_x" } }
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find('permission "exec:/usr/local/bin/check_x" is not granted to nagios/plugin.run', 1, true), r.error)
    assert.is_truthy(run { plugins = { DIR .. "x 'open" } }.error:find("a quote is not closed", 1, true))
  end)
end)
