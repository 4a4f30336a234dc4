local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

local function app(id, lcp, fid, cls, views)
  return { tags = { app_id = id }, columns = { "time", "lcp", "fid", "cls", "views" },
           values = { { t.now(), lcp and lcp * 1e9, fid and fid * 1e6, cls, views or 500 } } }
end

local function healthy()
  t.dql("R::`view`:*", { series = { app("shop", 2.4, 99, 0.09), app("tiny", 9, 900, 1, 3) } })
end

local function unhealthy(complete)
  t.dql("R::`view`:*", { complete = complete, series = { app("shop", 2.6, 250, 0.05), app("blog", nil, nil, 0.31) } })
end

describe("workspace/rum_performance", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/rum_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports each figure above its limit", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/rum_performance.run")
    assert.are.equal(3, #r.events, r.error)
    assert.are.equal("shop: largest contentful paint 2.6 s", r.events[1].title)
    assert.are.equal("warning", r.events[1].status)
    assert.are.equal("shop: first input delay 250 ms", r.events[2].title)
    assert.are.equal("error", r.events[2].status)
    assert.are.equal("blog: cumulative layout shift 0.31", r.events[3].title)
    assert.are.same({ app_id = "blog", figure = "cls" }, r.events[3].dimension_tags)
    assert.is_truthy(r.events[1].message:find("**2.6 s** or more; up to 2.5 s is good", 1, true), r.events[1].message)
  end)

  it("is sent when it was seen twice", function()
    t.clock(NOW)
    unhealthy()
    assert.are.same({}, t.run("workspace/rum_performance.run").sent)
    t.advance "15m"
    unhealthy()
    assert.are.equal(3, #t.run("workspace/rum_performance.run").sent)
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/rum_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/rum_performance.run", { apps = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/rum_performance.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/rum_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/rum_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/rum_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/rum_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
