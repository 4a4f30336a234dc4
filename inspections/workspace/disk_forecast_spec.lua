local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

-- Two weeks by the hour: percent used as a function of the hours up to now.
local function disk(host, used, hours)
  local values = {}
  for h = -(hours or 335), 0 do values[#values + 1] = { t.now() + h * 3600, used(h) } end
  return { tags = { host = host, device = "/dev/sda1" }, columns = { "time", "used" }, values = values }
end

local function steady(h) return 60 + h % 3 / 10 end

local function healthy()
  t.dql("M::`disk`:*", { series = { disk("web1", steady), disk("web2", function(h) return 40 + h * 0.01 end) } })
end

local function unhealthy(complete)
  t.dql("M::`disk`:*", { complete = complete, series = { disk("web1", steady),
    disk("db1", function(h) return 80 + h * 0.5 + h % 5 / 20 end) } })
end

describe("workspace/disk_forecast", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/disk_forecast.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("says when a disk will be full", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/disk_forecast.run")
    assert.are.equal(1, #r.events)
    local event = r.events[1]
    assert.is_truthy(event.title:find("^db1: disk /dev/sda1 is full in %d+ hours$"), event.title)
    local hours = tonumber(event.title:match "(%d+) hours")
    assert.is_true(hours >= 18 and hours <= 22, event.title)
    assert.are.equal("warning", event.status)
    assert.are.same({ host = "db1", device = "/dev/sda1" }, event.dimension_tags)
    assert.is_truthy(event.message:find("grows by 12.0 points a day", 1, true), event.message)
    assert.are.equal(14 * 86400, t.now() - t.queries()[1].since)
    t.dql("M::`disk`:*", { series = { disk("db1", function(h) return 89 + h * 0.5 end) } })
    assert.are.equal("critical", t.run("workspace/disk_forecast.run").events[1].status)
    assert.are.same({}, t.run("workspace/disk_forecast.run", { limit = 100, within = "12h" }).events)
  end)

  it("asks for the hosts it is given, and fails for one without data", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/disk_forecast.run", { hosts = "web1\nweb2\nweb\"3" })
    assert.is_truthy(t.queries()[1].q:find([[{ `host` IN ["web1", "web2", "web\"3"] }]], 1, true), t.queries()[1].q)
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find('no data of web"3', 1, true), r.error)
  end)

  it("waits for history", function()
    t.clock(NOW)
    t.dql("M::`disk`:*", { series = { disk("new1", function(h) return 80 + h end, 8) } })
    local r = t.run("workspace/disk_forecast.run")
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("too little history", 1, true))
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/disk_forecast.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/disk_forecast.run", { hosts = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/disk_forecast.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/disk_forecast.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/disk_forecast.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/disk_forecast.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/disk_forecast.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
