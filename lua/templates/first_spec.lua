-- Runs with `selfmon-lua test`: a machine made up for each case, no network, nothing sent.
local t = require "selfmon.testing"

describe("memory", function()
  before_each(function()
    t.machine { name = "web1", memory = { percent = 42, used = 3.5 * 2^30, total = 8 * 2^30 } }
  end)

  it("reports how much is in use", function()
    local r = t.run("memory.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("info", r.events[1].status)
    assert.are.equal("web1: 42 % of memory in use", r.events[1].title)
  end)

  it("warns from the threshold on", function()
    assert.are.equal("warning", t.run("memory.run", { warning = 40 }).events[1].status)
  end)

  it("fails, and reports nothing, when the memory cannot be read", function()
    t.machine { memory = false }
    local r = t.run("memory.run")
    assert.are.equal("failed", r.outcome)
    assert.are.equal(0, #r.events)
  end)
end)
