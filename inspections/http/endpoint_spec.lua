local t = require "selfmon.testing"

local URL = "https://shop.example/health"

local function one(answer, params)
  t.http("GET " .. URL, answer)
  params = params or {}
  params.urls = { URL }
  local r = t.run("http/endpoint.run", params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events[1]
end

describe("http/endpoint", function()
  it("without addresses says so in the log and stays quiet", function()
    local r = t.run("http/endpoint.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter urls", 1, true))
  end)

  it("says nothing when all is well", function()
    assert.is_nil(one { status = 200, body = "fine" })
  end)

  it("reports an address that does not answer", function()
    local event = one { error = "connection refused", code = "connect" }
    assert.are.equal("critical", event.status)
    assert.are.equal("No answer from " .. URL, event.title)
    assert.is_truthy(event.message:find("connection refused", 1, true))
    assert.are.same({ url = URL }, event.dimension_tags)
  end)

  it("reports another status than expected", function()
    local event = one { status = 503 }
    assert.are.equal("critical", event.status)
    assert.is_truthy(event.message:find("answered **503** instead of 200", 1, true))
    assert.is_nil(one({ status = 503 }, { status = "503" }))
  end)

  it("looks for a text", function()
    assert.is_nil(one({ body = "status: up" }, { text = "status: up" }))
    local event = one({ body = "status: down" }, { text = "status: up" })
    assert.is_truthy(event.message:find("do not contain `status: up`", 1, true))
  end)

  it("warns of a slow answer", function()
    local event = one { timings = { total = 2.5, ttfb = 2.4 } }
    assert.are.equal("warning", event.status)
    assert.is_truthy(event.message:find("**2.50 s**", 1, true))
    assert.is_nil(one({ timings = { total = 2.5 } }, { slow = "3s" }))
  end)

  it("fetches all and reports each", function()
    t.http("GET https://a.example/", { status = 200 })
    t.http("GET https://b.example/", { status = 500 })
    t.http("GET https://c.example/", { error = "no such host", code = "dns" })
    local r = t.run("http/endpoint.run", { urls = "https://a.example/\nhttps://b.example/\nhttps://c.example/" })
    assert.are.equal(3, #t.requests())
    assert.are.equal(2, #r.events)
    assert.are.same({ url = "https://b.example/" }, r.events[1].dimension_tags)
    assert.are.same({ url = "https://c.example/" }, r.events[2].dimension_tags)
  end)
end)
