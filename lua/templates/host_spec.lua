local t = require "selfmon.testing"

describe("@NAME@", function()
  local function run(five, params)
    t.machine { name = "web1", load = { one = five, five = five, fifteen = five, cores = 4 } }
    return t.run("@ID@", params)
  end

  it("is quiet while the load is low", function()
    local r = run(1)
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(0, #r.events)
  end)

  it("warns, and is critical when it is worse", function()
    assert.are.equal("warning", run(10).events[1].status)
    local r = run(10, { critical = 2 })
    assert.are.equal("critical", r.events[1].status)
    assert.are.equal("web1: load is 2.5 per core", r.events[1].title)
    assert.are.equal("web1", r.events[1].dimension_tags.host)
  end)

  it("fails, and reports nothing, when the load cannot be read", function()
    t.machine { name = "web1" }
    local r = t.run("@ID@")
    assert.are.equal("failed", r.outcome)
    assert.are.equal(0, #r.events)
  end)
end)
