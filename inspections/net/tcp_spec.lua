local t = require "selfmon.testing"

local function run(params)
  local r = t.run("net/tcp.run", params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events, r
end

describe("net/tcp", function()
  it("without targets says so in the log and stays quiet", function()
    local events, r = run()
    assert.are.same({}, events)
    assert.is_truthy(r.log:find("set the parameter targets", 1, true))
  end)

  it("says nothing of open ports", function()
    t.net("tcp *", true)
    assert.are.same({}, run { targets = "db.example:5432\n[2001:db8::1]:22" })
    assert.are.equal("2001:db8::1", t.net_requests()[2].host)
  end)

  it("reports those that are closed, and only those", function()
    t.net("tcp *", true)
    t.net("tcp db.example:5432", { error = "db.example:5432: no connection to 192.0.2.1: Connection refused", code = "connect" })
    local events = run { targets = { "a.example:80", "db.example:5432" } }
    assert.are.equal(1, #events)
    assert.are.equal("critical", events[1].status)
    assert.are.equal("db.example:5432: not reachable", events[1].title)
    assert.are.same({ target = "db.example:5432" }, events[1].dimension_tags)
    assert.is_truthy(events[1].message:find("Connection refused", 1, true))
  end)

  it("warns of a slow one", function()
    t.net("tcp a.example:80", { timings = { dns = 0.004, connect = 1.5, total = 1.504 } })
    local events = run { targets = "a.example:80" }
    assert.are.equal("warning", events[1].status)
    assert.is_truthy(events[1].message:find("**1.50 s**", 1, true), events[1].message)
    assert.are.same({}, run { targets = "a.example:80", slow = "2s" })
  end)

  it("expects a greeting", function()
    t.net("tcp m.example:25", function(request)
      assert.are.equal("220 ", request.expect)
      return { error = 'm.example:25: closed the connection; "220 " was expected, 4 bytes came', code = "protocol" }
    end)
    local events = run { targets = "m.example:25", expect = "220 " }
    assert.are.equal("error", events[1].status)
    assert.are.equal("m.example:25: unexpected greeting", events[1].title)
  end)

  it("refuses what is no target", function()
    for _, bad in ipairs { "db.example", "db.example:0", "db.example:99999", "a:b:c" } do
      local r = t.run("net/tcp.run", { targets = bad })
      assert.are.equal("failed", r.outcome, bad)
      assert.is_truthy(r.error:find("is no target", 1, true), r.error)
    end
  end)
end)
