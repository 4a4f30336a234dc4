local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

-- Counters of an hour, by minutes before now.
local function counter(host, rate)
  local values, n = {}, 1000000
  for m = 61, 0, -1 do
    n = n + rate(m)
    values[#values + 1] = { t.now() - m * 60, n }
  end
  return { tags = { host = host }, columns = { "time", "n" }, values = values }
end

local function percent(host, v)
  local values = {}
  for m = 9, 0, -1 do values[#values + 1] = { t.now() - m * 60, v(m) } end
  return { tags = { host = host }, columns = { "time", "used" }, values = values }
end

local function answer(queries, slow, cpu, memory, complete)
  t.dql("M::`mysql`:*Queries*", { complete = complete, series = { counter("db1", queries) } })
  t.dql("M::`mysql`:*Slow_queries*", { series = { counter("db1", slow) } })
  t.dql("M::`cpu`:*", { series = { percent("db1", cpu) } })
  t.dql("M::`mem`:*", { series = { percent("db1", memory) } })
end

local function usual() return 500 end
local function none() return 0 end
local function half() return 50 end

local function healthy()
  answer(usual, none, function(m) return m == 5 and 80 or 99 end, half)
end

local function unhealthy(complete)
  answer(function(m) return m < 30 and 5000 or 500 end, function(m) return m < 30 and 2 or 0 end,
    function() return 97 end, function() return 99.5 end, complete)
end

describe("workspace/mysql_performance", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/mysql_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports processor, memory, statements and slow queries", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/mysql_performance.run")
    assert.are.equal(4, #r.events, r.error)
    local by = {}
    for _, e in ipairs(r.events) do by[e.dimension_tags.figure] = e end
    assert.are.equal("db1: MySQL has no processor left", by.processor.title)
    assert.is_truthy(by.processor.message:find("**97.0 %** on average", 1, true), by.processor.message)
    assert.are.equal("critical", by.memory.status)
    assert.are.equal("db1: 150000 statements in 30 minutes", by.statements.title)
    assert.is_truthy(by.statements.message:find("and 15000 in the 30 minutes before", 1, true), by.statements.message)
    assert.are.equal("db1: 60 slow queries in 30 minutes", by.slow_queries.title)
    assert.is_truthy(t.queries()[3].q:find('M::`cpu`', 1, true) and t.queries()[3].q:find('IN ["db1"]', 1, true))
  end)

  it("does not take a restart of the server, or small numbers, for many statements", function()
    t.clock(NOW)
    answer(function(m) return m == 20 and -1000000 or 500 end, function(m) return m == 3 and 4 or 0 end, half, half)
    local r = t.run("workspace/mysql_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("does not judge a host by three minutes", function()
    t.clock(NOW)
    answer(usual, none, half, half)
    t.dql("M::`cpu`:*", { series = { { tags = { host = "db1" }, columns = { "time", "used" },
      values = { { t.now() - 120, 99 }, { t.now() - 60, 99 }, { t.now(), 99 } } } } })
    assert.are.same({}, t.run("workspace/mysql_performance.run").events)
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/mysql_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/mysql_performance.run", { hosts = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/mysql_performance.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/mysql_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/mysql_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/mysql_performance.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/mysql_performance.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
