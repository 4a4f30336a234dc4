local t = require "selfmon.testing"

local SERVER = "http://prometheus.example:9090"

local function run(answer, params)
  t.http("POST " .. SERVER .. "/api/v1/query", answer)
  local given = { server = SERVER .. "/", query = "up", warning = 80, critical = 90 }
  for k, v in pairs(params or {}) do given[k] = v end
  return t.run("http/prometheus.run", given)
end

local function vector(...)
  local result = {}
  for i, one in ipairs { ... } do result[i] = { metric = one[1], value = { 1700000000.5, one[2] } } end
  return { json = { status = "success", data = { resultType = "vector", result = setmetatable(result, require "cjson".array_mt) } } }
end

local function events(answer, params)
  local r = run(answer, params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events
end

local function fails(answer, sentence, params)
  local r = run(answer, params)
  assert.are.equal("failed", r.outcome)
  assert.is_truthy(r.error:find(sentence, 1, true), r.error)
end

describe("http/prometheus", function()
  it("without a server says so in the log and stays quiet", function()
    local r = t.run("http/prometheus.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("set the parameters server and query", 1, true))
  end)

  it("says nothing within the limits", function()
    assert.are.same({}, events(vector({ { instance = "a" }, "79.5" }, { { instance = "b" }, "80" })))
    assert.are.equal("up", t.requests()[1].body:match "^query=(.*)$")
  end)

  it("reports each set of labels", function()
    local e = events(vector({ { instance = "a" }, "91" }, { { instance = "b", job = "node" }, "85.25" }, { { instance = "c" }, "1" }),
      { name = "Disk", unit = "%" })
    assert.are.equal(2, #e)
    assert.are.equal("critical", e[1].status)
    assert.are.same({ query = "Disk", instance = "a" }, e[1].dimension_tags)
    assert.are.equal("Disk is 85.25 %", e[2].title)
    assert.are.equal("warning", e[2].status)
    assert.is_truthy(e[2].message:find("above 80 %", 1, true) and e[2].message:find("instance=b, job=node", 1, true))
  end)

  it("reads a scalar, and limits below", function()
    local answer = { json = { status = "success", data = { resultType = "scalar", result = { 1700000000, "0" } } } }
    local e = events(answer, { below = true, warning = 1, critical = 1 })
    assert.are.equal("critical", e[1].status)
    assert.are.same({ query = "up" }, e[1].dimension_tags)
    assert.are.same({}, events(answer, { below = true, warning = 0, critical = 0 }))
  end)

  it("takes NaN for no finding", function()
    assert.are.same({}, events(vector({ {}, "NaN" })))
    assert.are.equal("critical", events(vector({ {}, "+Inf" }))[1].status)
  end)

  it("knows what no data means", function()
    fails(vector(), "has no result")
    assert.are.same({}, events(vector(), { empty = "ok" }))
    local e = events(vector(), { empty = "critical" })
    assert.are.equal("up has no value", e[1].title)
    assert.are.equal("critical", e[1].status)
  end)

  it("fails when it cannot see", function()
    fails({ error = "connection refused", code = "connect" }, "does not answer: connection refused")
    fails({ status = 400, json = { status = "error", errorType = "bad_data", error = "parse error" } }, "refuses the query: parse error")
    fails({ status = 502, body = "<html>" }, "answered 502, and no Prometheus answer")
    fails({ json = { status = "success", data = { resultType = "matrix", result = {} } } }, "answers a matrix")
  end)
end)
