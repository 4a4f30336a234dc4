local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

-- A day of five-minute values: v(minutes before now, noise).
local function series(service, column, v)
  local values = {}
  for i = -300, 0 do values[#values + 1] = { t.now() + i * 300, v(-i * 5, (i * 7919 % 101) / 101) } end
  return { tags = { service = service }, columns = { "time", column }, values = values }
end

local function answer(count, failed, p99, complete)
  t.dql("T::*count(*)*", { complete = complete, series = { series("shop", "n", count) } })
  t.dql("T::*count(*)*status*", { series = { series("shop", "n", failed) } })
  t.dql("T::*percentile*", { series = { series("shop", "p99", p99) } })
end

local function hundred(_, noise) return 100 + math.floor(10 * noise) end
local function one(_, noise) return noise > 0.7 and 2 or 1 end
local function fast(_, noise) return 150000 + 40000 * noise end

local function healthy() answer(hundred, one, fast) end

local function unhealthy(complete)
  answer(hundred, function(m, noise) return m < 60 and 20 + math.floor(5 * noise) or one(m, noise) end,
    function(m, noise) return fast(m, noise) * (m < 90 and 4 or 1) end, complete)
end

describe("workspace/apm_performance", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/apm_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports figures that went up and stayed there", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/apm_performance.run")
    assert.are.equal(2, #r.events, r.error)
    local rate, p99 = r.events[1], r.events[2]
    assert.are.same({ service = "shop", figure = "error rate" }, rate.dimension_tags)
    assert.are.equal("error", rate.status)
    assert.is_truthy(rate.title:find("^shop: 2%d %% of the requests fail$"), rate.title)
    assert.is_truthy(p99.title:find("^shop: one of a hundred requests takes 6%d%d ms$"), p99.title)
    assert.is_truthy(p99.message:find("at **2026-11-22 10:3", 1, true), p99.message)
  end)

  it("says nothing of a service with few requests, small figures, or of what is over", function()
    t.clock(NOW)
    unhealthy()
    assert.are.same({}, t.run("workspace/apm_performance.run", { requests = 1000000 }).events)
    assert.are.same({}, t.run("workspace/apm_performance.run", { error_rate = 50, p99_ms = 2000 }).events)
    answer(hundred, one, function(m, noise) return fast(m, noise) * (m > 120 and m < 240 and 4 or 1) end)
    assert.are.same({}, t.run("workspace/apm_performance.run").events)
  end)

  it("judges the error rate also without response times", function()
    t.clock(NOW)
    unhealthy()
    t.dql("T::*percentile*", {})
    assert.are.equal(1, #t.run("workspace/apm_performance.run").events)
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/apm_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/apm_performance.run", { services = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/apm_performance.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/apm_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/apm_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/apm_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/apm_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
