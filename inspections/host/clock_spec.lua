local t = require "selfmon.testing"

local function run(offsets, params)
  params = params or {}
  params.servers = {}
  for i, offset in ipairs(offsets) do
    params.servers[i] = ("t%d.example"):format(i)
    t.net(("ntp t%d.example"):format(i), offset and { offset = offset } or { error = "t: did not answer in time", code = "timeout" })
  end
  return t.run("host/clock.run", params)
end

describe("host/clock", function()
  it("without servers says so in the log and stays quiet", function()
    local r = t.run("host/clock.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter servers", 1, true))
  end)

  it("says nothing of a clock that is right", function()
    local r = run { 0.01, -0.2, 0.4 }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("warns, then alarms, by the median", function()
    local rows = { { { 0.6 }, "warning", "behind" }, { { -7 }, "critical", "ahead" }, { { 0, 0, 900 } }, { { 1, 900, 1 }, "warning", "behind" },
      { { -1, -2 }, "warning", "1.50 s ahead" } }
    for _, row in ipairs(rows) do
      local e = run(row[1]).events[1]
      assert.are.equal(row[2], e and e.status)
      if e then assert.is_truthy(e.title:find(row[3], 1, true), e.title) end
    end
    assert.are.equal("critical", run({ 0.6 }, { critical = "100ms" }).events[1].status)
  end)

  it("names each server's figure and asks its port", function()
    t.net("ntp t9.example:1123", { offset = 8, stratum = 3 })
    local r = t.run("host/clock.run", { servers = "t9.example:1123" })
    assert.is_truthy(r.events[1].message:find("- t9.example:1123: +8.000 s (stratum 3", 1, true), r.events[1].message)
    assert.are.same({ host = "testhost" }, r.events[1].dimension_tags)
  end)

  it("goes on without a server that does not answer, and fails without any", function()
    local r = run { false, 6 }
    assert.are.equal("critical", r.events[1].status)
    assert.is_truthy(r.log:find("did not answer", 1, true))
    r = run { false, false }
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("no time server answers", 1, true), r.error)
  end)
end)
