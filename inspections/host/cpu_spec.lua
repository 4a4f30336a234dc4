local t = require "selfmon.testing"

local function cpu(fields)
  local c = { user = 10, system = 5, iowait = 1, steal = 0, idle = 84, percent = 15, cores = 4 }
  for k, v in pairs(fields or {}) do c[k] = v end
  return c
end

describe("host/cpu", function()
  it("says nothing about a CPU that has time", function()
    t.machine { cpu = cpu { percent = 89.9, iowait = 39, steal = 9 } }
    local r = t.run("host/cpu.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("warns, then alarms, with the figures", function()
    t.machine { name = "app1", cpu = cpu { percent = 92, user = 80, system = 12 } }
    local event = t.run("host/cpu.run").events[1]
    assert.are.equal("warning", event.status)
    assert.are.equal("app1: 92 % of the CPU in use", event.title)
    assert.is_truthy(event.message:find("busy for **92.0 %** of 5 s", 1, true))
    assert.is_truthy(event.message:find("user **80 %**, system 12 %", 1, true))
    assert.are.same({ host = "app1", resource = "cpu" }, event.dimension_tags)
    t.machine { cpu = cpu { percent = 99 } }
    assert.are.equal("critical", t.run("host/cpu.run").events[1].status)
  end)

  it("tells steal and iowait apart", function()
    t.machine { cpu = cpu { steal = 30, iowait = 50 } }
    local r = t.run("host/cpu.run")
    assert.are.equal(2, #r.events)
    assert.are.equal("steal", r.events[1].dimension_tags.resource)
    assert.are.equal("iowait", r.events[2].dimension_tags.resource)
    assert.are.equal("warning", r.events[2].status)
    assert.are.same({}, t.run("host/cpu.run", { steal = 31, iowait = 51 }).events)
  end)

  it("fails loudly when the machine does not say", function()
    local r = t.run("host/cpu.run")
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("cannot read the CPU of this machine", 1, true))
  end)
end)
