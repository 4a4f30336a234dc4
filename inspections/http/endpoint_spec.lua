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

  it("fits a pattern, and misses what must not be there", function()
    assert.is_nil(one({ body = "version 1.2.3" }, { pattern = "version %d+%.%d+" }))
    local event = one({ body = "version x" }, { pattern = "version %d+" })
    assert.is_truthy(event.message:find("do not fit the pattern `version %d+`", 1, true))
    assert.is_nil(one({ body = "all is well" }, { not_text = "Exception" }))
    event = one({ body = "java.lang.Exception" }, { not_text = "Exception" })
    assert.are.equal(URL .. " answers with a text that must not be there", event.title)
    local r = t.run("http/endpoint.run", { urls = { URL }, pattern = "[" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("the pattern `[` cannot be read", 1, true))
  end)

  it("looks at a JSON value", function()
    local up = { json = { status = "UP", parts = { { name = "db", ok = true }, { name = "queue", ok = false } } } }
    assert.is_nil(one(up, { json_path = "status", json_value = "UP" }))
    assert.is_nil(one(up, { json_path = "$.parts[0].ok", json_value = "true" }))
    assert.is_nil(one(up, { json_path = "parts.#", json_value = "2" }))
    assert.is_nil(one(up, { json_path = "parts[-1].name" }))
    local event = one(up, { json_path = "parts[1].ok", json_value = "true" })
    assert.are.equal("critical", event.status)
    assert.is_truthy(event.message:find("`parts[1].ok` is **false** instead of true", 1, true))
    event = one(up, { json_path = "parts[7].ok" })
    assert.is_truthy(event.message:find("there is no `parts[7].ok`: `$.parts` has no member 7", 1, true), event.message)
    event = one({ json = { status = require "cjson".null } }, { json_path = "status" })
    assert.is_truthy(event.message:find("`status` is null", 1, true))
    event = one({ body = "<html>" }, { json_path = "status" })
    assert.are.equal(URL .. " answers no JSON", event.title)
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
