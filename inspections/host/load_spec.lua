local t = require "selfmon.testing"

local function load(fields)
  local l = { one = 0.5, five = 0.5, fifteen = 0.5, running = 1, threads = 200, cores = 4 }
  for k, v in pairs(fields or {}) do l[k] = v end
  return l
end

describe("host/load", function()
  it("says nothing while the cores are enough", function()
    t.machine { load = load { one = 100, five = 7.9 } }
    local r = t.run("host/load.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("compares the load per core", function()
    t.machine { name = "app1", load = load { five = 8 } }
    local event = t.run("host/load.run").events[1]
    assert.are.equal("warning", event.status)
    assert.are.equal("app1: load 2.0 per core", event.title)
    assert.is_truthy(event.message:find("a load of **8.00** on 4 cores over 5 minutes: **2.0 per core**", 1, true))
    t.machine { load = load { five = 16 } }
    assert.are.equal("critical", t.run("host/load.run").events[1].status)
  end)

  it("takes another average and other limits", function()
    t.machine { load = load { one = 5 } }
    assert.are.equal(1, #t.run("host/load.run", { minutes = "1", warning = 1 }).events)
    local r = t.run("host/load.run", { minutes = 2 })
    assert.are.equal("bad_params", r.outcome)
  end)

  it("fails loudly when the machine does not say", function()
    local r = t.run("host/load.run")
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("cannot read the load of this machine", 1, true))
  end)
end)
