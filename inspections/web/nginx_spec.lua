local t = require "selfmon.testing"

local URL = "http://127.0.0.1/nginx_status"

local function page(active, accepts, handled, requests)
  return { body = ("Active connections: %d \nserver accepts handled requests\n %d %d %d \nReading: 1 Writing: 2 Waiting: %d \n")
    :format(active, accepts, handled, requests, active - 3) }
end

local function run(answer, params)
  t.http("GET " .. URL, answer)
  local given = { urls = { URL } }
  for k, v in pairs(params or {}) do given[k] = v end
  return t.run("web/nginx.run", given)
end

local function event(...)
  local r = run(...)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events[1]
end

describe("web/nginx", function()
  it("without servers says so in the log and stays quiet", function()
    local r = t.run("web/nginx.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("set the parameter urls", 1, true))
  end)

  it("says nothing when every connection is handled, and knows the rate", function()
    t.clock "2026-03-01T12:00:00Z"
    assert.is_nil(event(page(5, 100, 100, 500)))
    t.advance "60s"
    local r = run(page(9, 200, 200, 1100))
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("9 active, 0 dropped, 10.0 requests/s", 1, true), r.log)
  end)

  it("reports connections dropped since the last run, once", function()
    t.clock "2026-03-01T12:00:00Z"
    assert.is_nil(event(page(5, 100, 90, 500))) -- what was before the first run is not known
    t.advance "60s"
    local e = event(page(5, 150, 133, 600))
    assert.are.equal("error", e.status)
    assert.are.equal("nginx dropped 7 connections", e.title)
    assert.is_truthy(e.message:find("since 2026-03-01T12:00:00", 1, true), e.message)
    assert.are.same({ url = URL }, e.dimension_tags)
    assert.is_nil(event(page(5, 160, 143, 700)))
    assert.is_nil(event(page(5, 170, 152, 700), { dropped = 1 }))
  end)

  it("counts from 0 after a restart", function()
    event(page(5, 1000, 900, 5000))
    assert.is_nil(event(page(5, 10, 10, 20)))
    assert.are.equal("nginx dropped 4 connections", event(page(5, 9, 5, 20)).title)
  end)

  it("warns of many connections when wanted", function()
    assert.is_nil(event(page(500, 1000, 1000, 5000)))
    local e = event(page(501, 1000, 1000, 5000), { active = 500 })
    assert.are.equal("warning", e.status)
    assert.is_truthy(e.message:find("**501 connections**", 1, true))
  end)

  it("reports a server that does not answer", function()
    local e = event { error = "connection refused", code = "connect" }
    assert.are.equal("critical", e.status)
    assert.are.equal("nginx does not answer", e.title)
  end)

  it("fails for a page that is none, and still reports the others", function()
    t.http("GET http://b.example/", { error = "connection refused", code = "connect" })
    local r = run({ status = 404 }, { urls = { URL, "http://b.example/" } })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("answered 404, and is no stub_status page", 1, true), r.error)
    assert.are.equal(1, #r.events)
    assert.are.equal("failed", run({ body = "Welcome to nginx!" }).outcome)
  end)
end)
