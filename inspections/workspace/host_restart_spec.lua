local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

local function host(name, uptime)
  local values = {}
  for m = -14, 0 do
    local up = uptime(m * 60)
    values[#values + 1] = { t.now() + m * 60, up }
  end
  return { tags = { host = name }, columns = { "time", "uptime" }, values = values }
end

local function healthy()
  t.dql("M::`system`:*", { series = { host("web1", function(s) return 86400 * 30 + s end) } })
end

local function unhealthy(complete)
  t.dql("M::`system`:*", { complete = complete, series = {
    host("web1", function(s) return 86400 * 30 + s end),
    host("db1", function(s) return s < -420 and 5000000 + s or s + 420 end) } })
end

describe("workspace/host_restart", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/host_restart.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports a host that was started anew, and when", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/host_restart.run")
    assert.are.equal(1, #r.events)
    assert.are.equal("db1 was restarted", r.events[1].title)
    assert.is_truthy(r.events[1].message:find("started at **2026-11-22 11:53:00** (UTC), 7 minutes ago", 1, true), r.events[1].message)
    healthy()
    r = t.run("workspace/host_restart.run")
    assert.are.same({}, r.events)
    assert.are.equal("recovered", r.sent[1].rule)
  end)

  it("fails for a host that has no data, after it reported the others", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/host_restart.run", { hosts = "db1, gone1" })
    assert.are.equal(1, #r.events)
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no data of gone1", 1, true), r.error)
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/host_restart.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/host_restart.run", { hosts = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/host_restart.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/host_restart.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/host_restart.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/host_restart.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/host_restart.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
