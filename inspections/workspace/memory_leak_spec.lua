local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

-- Two days and the last hours, every five minutes.
local function memory(host, used)
  local values = {}
  for m = -55 * 60, 0, 5 do values[#values + 1] = { t.now() + m * 60, used(m / 60) } end
  return { tags = { host = host }, columns = { "time", "used" }, values = values }
end

local function steady(h) return 50 + h * 12 % 7 / 10 end

local function healthy()
  t.dql("M::`mem`:*", { series = { memory("web1", steady),
    memory("web2", function(h) return 50 + 20 * math.sin(h * math.pi / 12) end),         -- the same on every day
    memory("web3", function(h) return (h > -3 and 70 or 40) + h * 12 % 7 / 10 end) } })   -- a program was started
end

local function unhealthy(complete)
  t.dql("M::`mem`:*", { complete = complete, series = { memory("web1", steady),
    memory("app1", function(h) return 40 + math.max(0, h + 8) * 4 + h * 12 % 7 / 10 end) } })
  t.dql("O::`host_processes`:*", { series = {
    { tags = { process_name = "nginx" }, columns = { "time", "used" }, values = { { t.now(), 1.5 } } },
    { tags = { process_name = "java`x" }, columns = { "time", "used" }, values = { { t.now(), 61 } } } } })
end

describe("workspace/memory_leak", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/memory_leak.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports memory that grows hour by hour, with who holds it", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/memory_leak.run")
    assert.are.equal(1, #r.events, r.error)
    local event = r.events[1]
    assert.are.equal("app1: memory grew by 20 points in 6 hours", event.title)
    assert.are.same({ host = "app1" }, event.dimension_tags)
    assert.is_truthy(event.message:find("4.0 points an hour", 1, true), event.message)
    assert.is_truthy(event.message:find("- java x: 61.0 %\n- nginx: 1.5 %", 1, true), event.message)
    assert.is_truthy(t.queries()[2].q:find('`host` IN ["app1"]', 1, true))
  end)

  it("reports it also when the processes are not known", function()
    t.clock(NOW)
    unhealthy()
    t.dql("O::*", { error = "timeout", code = "timeout" })
    local r = t.run("workspace/memory_leak.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(1, #r.events)
    assert.is_nil(r.events[1].message:find("processes", 1, true))
  end)

  it("leaves out a host with too few samples", function()
    t.clock(NOW)
    t.dql("M::`mem`:*", { series = { { tags = { host = "new1" }, columns = { "time", "used" }, values = { { t.now(), 90 } } } } })
    local r = t.run("workspace/memory_leak.run")
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("too little history", 1, true))
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/memory_leak.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/memory_leak.run", { hosts = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/memory_leak.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/memory_leak.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/memory_leak.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/memory_leak.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/memory_leak.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
