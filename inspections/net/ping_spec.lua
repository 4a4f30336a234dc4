local t = require "selfmon.testing"

local function run(params)
  local r = t.run("net/ping.run", params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events, r
end

describe("net/ping", function()
  it("without hosts says so in the log and stays quiet", function()
    local events, r = run()
    assert.are.same({}, events)
    assert.is_truthy(r.log:find("set the parameter hosts", 1, true))
  end)

  it("says nothing of a host that answers", function()
    t.net("ping *", true)
    assert.are.same({}, run { hosts = "gw.example" })
    assert.are.equal(5, t.net_requests()[1].count)
  end)

  it("reports one that does not answer", function()
    t.net("ping gw.example", { received = 0, reason = "No route to host" })
    local events = run { hosts = "gw.example" }
    assert.are.equal("critical", events[1].status)
    assert.is_truthy(events[1].message:find("**none of 5**", 1, true))
    assert.is_truthy(events[1].message:find("No route to host", 1, true))
  end)

  it("warns of loss and of slowness", function()
    t.net("ping gw.example", { sent = 5, received = 4, avg = 0.01 })
    assert.are.equal("gw.example: 20 % of pings are lost", run { hosts = "gw.example" }[1].title)
    assert.are.same({}, run { hosts = "gw.example", loss = 30 })
    t.net("ping gw.example", { avg = 0.3 })
    assert.are.equal("gw.example: slow: 300.0 ms", run { hosts = "gw.example" }[1].title)
    assert.are.same({}, run { hosts = "gw.example", slow = "1s" })
  end)

  it("fails, and reports nothing, where it may not ping", function()
    t.net("ping *", { error = "gw.example: this system lets nobody like us ping", code = "denied" })
    local r = t.run("net/ping.run", { hosts = "gw.example" })
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("lets nobody like us ping", 1, true))
  end)

  it("reports a name that is not there", function()
    t.net("ping *", { error = "gw.example: there is no such name", code = "dns" })
    assert.are.equal("critical", run { hosts = "gw.example" }[1].status)
  end)
end)
