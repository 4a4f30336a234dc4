local t = require "selfmon.testing"

local function run(records, params)
  params = params or {}
  params.records = records
  local r = t.run("dns/records.run", params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events, r
end

describe("dns/records", function()
  it("without records says so in the log and stays quiet", function()
    local r = t.run("dns/records.run")
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter records", 1, true))
  end)

  it("says nothing of records as expected, whatever their order", function()
    t.net("dns shop.example A", { "192.0.2.8", "192.0.2.7" })
    t.net("dns shop.example TXT", { "v=spf1 -all" })
    assert.are.same({}, run { "shop.example A 192.0.2.7 192.0.2.8", 'shop.example TXT "v=spf1 -all"', "shop.example" })
  end)

  it("reports another answer, with both", function()
    t.net("dns shop.example MX", { "10 old.example" })
    local events = run({ 'shop.example mx "10 mail.example"' }, { server = "192.0.2.53" })
    assert.are.equal("error", events[1].status)
    assert.are.equal("shop.example MX: not as expected", events[1].title)
    assert.is_truthy(events[1].message:find("expected: `10 mail.example`", 1, true), events[1].message)
    assert.is_truthy(events[1].message:find("answered: `10 old.example`", 1, true))
    assert.are.same({ name = "shop.example", type = "MX" }, events[1].dimension_tags)
    assert.are.equal("192.0.2.53", t.net_requests()[1].server)
  end)

  it("reports a name or record that is not there, and a server that does not answer", function()
    t.net("dns a.example", { rcode = "NXDOMAIN" })
    t.net("dns b.example", { rcode = "SERVFAIL" })
    t.net("dns c.example", {})
    t.net("dns d.example", { error = "192.0.2.53:53: did not answer in time", code = "timeout" })
    local events = run { "a.example", "b.example", "c.example", "d.example" }
    local titles = {}
    for i, e in ipairs(events) do
      titles[i] = e.title
      assert.are.equal("critical", e.status)
    end
    assert.are.same({ "a.example A: the name does not exist", "b.example A: SERVFAIL", "c.example A: no such record",
      "d.example A: no answer" }, titles)
  end)

  it("tells a change, once", function()
    t.net("dns shop.example", { "192.0.2.7" })
    assert.are.same({}, run { "shop.example" })
    t.net("dns shop.example", { "192.0.2.9" })
    local events = run { "shop.example" }
    assert.are.equal("info", events[1].status)
    assert.is_truthy(events[1].message:find("before: `192.0.2.7`", 1, true), events[1].message)
    assert.are.same({}, run { "shop.example" })
    t.net("dns shop.example", { "192.0.2.10" })
    assert.are.same({}, run({ "shop.example" }, { changes = "false" }))
  end)

  it("keeps quiet about what it cannot remember, and fails", function()
    t.net("dns shop.example", { "192.0.2.7" })
    t.store_fails()
    assert.are.equal("failed", t.run("dns/records.run", { records = "shop.example" }).outcome)
  end)
end)
