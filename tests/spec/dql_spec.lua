-- selfmon.dql: the binding and its fake; the platform's side is tests/e2e/test_dql.py.
local t = require "selfmon.testing"
local internal = require "selfmon.internal"
local lfs = require "lfs"

local root, number = nil, 0

-- Runs a body as an inspection.
local function run(body)
  number = number + 1
  local f = assert(io.open(("%s/case%d.lua"):format(root, number), "w"))
  f:write('local dql = require "selfmon.dql"\nlocal cjson = require "cjson"\nmonitor{ title = "x" }\nfunction run()\n',
    body, "\nend\n")
  f:close()
  return t.run(("case%d.run"):format(number))
end

local function ok(body)
  local r = run(body)
  assert.are.equal("ok", r.outcome, r.error)
  return r
end

setup(function()
  root = os.tmpname()
  os.remove(root)
  assert(lfs.mkdir(root))
end)

before_each(function() t.root(root) end)

teardown(function()
  for i = 1, number do os.remove(("%s/case%d.lua"):format(root, i)) end
  os.remove(root)
end)

local CPU = "M::`cpu`:(avg(`usage_total`)) BY `host`"

describe("dql.query", function()
  it("answers series with times in seconds, and rows", function()
    t.dql(CPU, { series = {
      { name = "cpu", tags = { host = "web01" }, columns = { "time", "avg(usage_total)" }, units = { nil, "percent" },
        values = { { 1700000060, 12.5 }, { 1700000120.5, nil }, { 1700000180, 3 } } },
      { name = "cpu", tags = { host = "web02" }, columns = { "time", "avg(usage_total)" }, values = { { 1700000060, 99 } } },
    } })
    ok(("local r = assert(dql.query(%q, { since = '15m' }))"):format(CPU) .. [[
      assert(#r.series == 2 and r.complete == true and r.cost == "1ms")
      local s = r.series[1]
      assert(s.name == "cpu" and s.tags.host == "web01" and s.columns[2] == "avg(usage_total)" and s.units[2] == "percent")
      assert(s.units[1] == cjson.null)
      assert(s.values[1][1] == 1700000060.0 and math.type(s.values[1][1]) == "float" and s.values[1][2] == 12.5)
      assert(s.values[2][1] == 1700000120.5 and s.values[2][2] == cjson.null)
      local values, times = s:points()
      assert(#values == 2 and values[1] == 12.5 and values[2] == 3 and times[2] == 1700000180.0)
      values = s:points "avg(usage_total)"
      assert(#values == 2)
      assert(#r.rows == 4 and r.rows == r.rows)
      assert(r.rows[1].time == 1700000060.0 and r.rows[1].host == "web01" and r.rows[1]["avg(usage_total)"] == 12.5)
      assert(r.rows[2]["avg(usage_total)"] == nil and r.rows[4].host == "web02")
    ]])
  end)

  it("takes null series as no rows", function()
    t.dql("*", {})
    ok [[ local r = assert(dql.query "L::x") assert(#r.series == 0 and #r.rows == 0 and r.complete) ]]
  end)

  it("answers rows that a fake gives, whatever their columns", function()
    t.dql("L::*", { rows = { { time = 1700000000.25, message = "a", n = 1, host = "h" }, { time = 1700000001, message = "b" } },
                    complete = false })
    ok [[
      local r = assert(dql.query("L::*:(message, n)"))
      assert(#r.rows == 2 and r.rows[1].n == 1 and r.rows[1].time == 1700000000.25 and r.rows[2].n == nil)
      assert(r.complete == false)
    ]]
  end)

  it("sends times in ms, and only what is given", function()
    t.clock "2026-03-01T12:00:00Z"
    local now = 1772366400
    t.dql("*", {})
    ok [[
      dql.query "a"
      dql.query("b", { since = "15m", interval = "1m", tz = "Asia/Shanghai", limit = 10, offset = 5, slimit = 7,
                       soffset = 1, max_points = 99, type = "promql" })
      dql.query("c", { since = 900 })
      dql.query("d", { since = 1700000000, until_ = 1700000900.5 })
      dql.query("e", { since = "2026-03-01T11:00:00Z", until_ = "30m" })
    ]]
    local q = t.queries()
    assert.are.same({ q = "a", type = "dql" }, q[1])
    assert.are.same({ q = "b", type = "promql", since = now - 900, until_ = now, interval = 60, tz = "Asia/Shanghai",
                      limit = 10, offset = 5, slimit = 7, soffset = 1, max_points = 99 }, q[2])
    assert.are.same({ q = "c", type = "dql", since = now - 900, until_ = now }, q[3])
    assert.are.same({ q = "d", type = "dql", since = 1700000000, until_ = 1700000900.5 }, q[4])
    assert.are.same({ q = "e", type = "dql", since = now - 3600, until_ = now - 1800 }, q[5])
  end)

  it("answers nil, message, code for what the platform refuses", function()
    t.dql("bad", { error = "parse error", code = "refused" })
    ok [[ local r, message, code = dql.query "bad" assert(r == nil and message == "parse error" and code == "refused") ]]
  end)

  it("raises for a wrong call, at the script's line", function()
    for call, sentence in pairs {
      ["dql.query()"] = "dql.query: query: expected a string, got nil",
      ["dql:query('q')"] = "dql.query: query: expected a string, got table",
      ["dql.query('')"] = "dql.query: option \"query\": expected the text of a query of 1 to 32768 bytes",
      ["dql.query('q', 5)"] = "dql.query: options: expected a table such as {since = \"15m\"}, got number",
      ["dql.query('q', {sinc = 5})"] = "dql.query: unknown option \"sinc\"; did you mean \"since\"?",
      ["dql.query('q', {['until'] = 5})"] = "unknown option \"until\"; it is until_",
      ["dql.query('q', {since = 'yesterday'})"] = "dql.query: option \"since\": ",
      ["dql.query('q', {since = -5})"] = "dql.query: option \"since\": expected a duration before now",
      ["dql.query('q', {until_ = '5m'})"] = "dql.query: option \"until_\" needs since",
      ["dql.query('q', {since = '5m', until_ = '10m'})"] = "dql.query: option \"since\": expected a time before until_",
      ["dql.query('q', {limit = 1.5})"] = "dql.query: option \"limit\": expected a whole number of 0 to 1000000",
      ["dql.query('q', {limit = '1'})"] = "dql.query: option \"limit\": expected a whole number, got string",
      ["dql.query('q', {interval = 0})"] = "dql.query: option \"interval\": expected at least 1 s",
      ["dql.query('q', {type = 'sql'})"] = "option \"type\": expected \"dql\" or \"promql\", got \"sql\"",
      ["dql.all('q')"] = "dql.all: expected a list of queries, got string",
      ["dql.all{ a = 'q' }"] = "dql.all: expected a plain list",
      ["dql.all{ {since = '5m'} }"] = "dql.all[1]: query is missing",
      ["dql.all{ 'q', {query = 'q', sinc = '5m'} }"] = "dql.all[2]: unknown option \"sinc\"",
      ["dql.all{ 'q', 5 }"] = "dql.all[2]: option \"query\": expected the text of a query, got number",
    } do
      local r = run("return " .. call)
      assert.are.equal("failed", r.outcome, call)
      assert.is_truthy(r.error:find(sentence, 1, true), call .. ": " .. r.error)
      assert.is_truthy(r.error:find("case" .. number .. ".lua:5:", 1, true), r.error)
    end
  end)

  it("names the columns when there is no such one", function()
    t.dql("*", { series = { { values = { { 1700000000, 1 } } } } })
    local r = run [[ dql.query "q".series[1]:points "vale" ]]
    assert.is_truthy(r.error:find('the series has no column "vale"; did you mean "value"?', 1, true), r.error)
    r = run [[ dql.query "q".series[1].points() ]]
    assert.is_truthy(r.error:find("with a colon", 1, true), r.error)
  end)

  it("may not be called while a script loads", function()
    local loaded, err = internal.load('require "selfmon.dql".query "q"\nmonitor{ title = "x" }\nfunction run() end', "x.lua")
    assert.is_nil(loaded)
    assert.is_truthy(err:find("dql.query cannot be called while a script is loading", 1, true), err)
  end)
end)

describe("dql.all", function()
  it("keeps the order, with an error for each query of its own", function()
    t.dql("one", { series = { { values = { { 1700000000, 1 } } } } })
    t.dql("bad", { error = "no such field", code = "refused" })
    t.dql("two", function(query) return { rows = { { time = 1, limit = query.limit } } } end)
    ok [[
      local r = dql.all{ "one", "bad", { query = "two", limit = 7 }, { "one", since = "1h" } }
      assert(#r == 4)
      assert(r[1].series[1]:points()[1] == 1)
      assert(r[2].error == "no such field" and r[2].code == "refused" and r[2].series == nil)
      assert(r[3].rows[1].limit == 7)
      assert(r[4].rows[1].value == 1)
      assert(#dql.all{} == 0)
    ]]
    assert.are.equal(4, #t.queries())
  end)
end)

describe("t.dql", function()
  it("fails run and spec for a query without a fake", function()
    local good, err = pcall(run, [[ dql.query "M::cpu" ]])
    assert.is_false(good)
    assert.is_truthy(err:find('unfaked query M::cpu', 1, true) and err:find('t.dql("M::cpu", {…})', 1, true), err)
  end)

  it("refuses answers that are none", function()
    assert.has_error(function() t.dql("q", { serie = {} }) end)
    assert.has_error(function() t.dql({}, {}) end)
    assert.has_error(function() t.dql("q") end)
  end)
end)
