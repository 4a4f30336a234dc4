local t = require "selfmon.testing"

describe("@NAME@", function()
  local function series(host, ...)
    local values = {}
    for i, value in ipairs { ... } do values[i] = { 1700000000 + 60 * i, value } end
    return { name = "cpu", tags = { host = host }, columns = { "time", "used" }, values = values }
  end

  it("is quiet while nobody is busy", function()
    t.dql("M::cpu:*", { series = { series("web1", 10, 20), series("web2", 84) } })
    local r = t.run("@ID@")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(0, #r.events)
  end)

  it("reports the hosts that are, each by itself", function()
    t.dql("M::cpu:*", { series = { series("web1", 80, 100), series("web2", 50), series("web3", 96, 98) } })
    local r = t.run("@ID@")
    assert.are.equal(2, #r.events)
    assert.are.equal("warning", r.events[1].status)
    assert.are.equal("web1: CPU is 90 % busy", r.events[1].title)
    assert.are.equal("critical", r.events[2].status)
    assert.are.equal("web3", r.events[2].dimension_tags.host)
  end)

  it("reports nothing when there is no data", function()
    t.dql("M::cpu:*", {})
    local r = t.run("@ID@")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(0, #r.events)
  end)

  it("fails, and reports nothing, when the workspace cannot be asked", function()
    t.dql("M::cpu:*", { error = "no answer within 30 s", code = "timeout" })
    local r = t.run("@ID@")
    assert.are.equal("failed", r.outcome)
    assert.are.equal(0, #r.events)
  end)
end)
