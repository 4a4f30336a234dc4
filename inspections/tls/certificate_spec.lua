local t = require "selfmon.testing"

local function certificate(fields)
  local tls = { subject = "CN=shop.example", issuer = "CN=Some CA", not_before = 0, not_after = 0, days_left = 60,
                san = { "shop.example", "www.shop.example" }, verified = true }
  for k, v in pairs(fields or {}) do tls[k] = v end
  return tls
end

local function one(answer, params)
  t.http("HEAD https://shop.example/", answer)
  params = params or {}
  params.hosts = "shop.example"
  local r = t.run("tls/certificate.run", params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events[1]
end

describe("tls/certificate", function()
  it("without hosts says so in the log and stays quiet", function()
    local r = t.run("tls/certificate.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter hosts", 1, true))
  end)

  it("says nothing of a good certificate, whatever the status", function()
    assert.is_nil(one { status = 200, tls = certificate() })
    assert.is_nil(one { status = 404, tls = certificate() })
  end)

  it("warns as the end comes near, then alarms", function()
    for _, row in ipairs { { 21 }, { 20.9, "warning" }, { 7, "warning" }, { 6.9, "critical" }, { -3, "critical" } } do
      local event = one { tls = certificate { days_left = row[1] } }
      assert.are.equal(row[2], event and event.status, tostring(row[1]))
    end
  end)

  it("names the figures", function()
    local event = one { tls = certificate { days_left = 5.25 } }
    assert.are.equal("shop.example: the certificate ends in 5 days", event.title)
    assert.is_truthy(event.message:find("**5.2 more days**", 1, true))
    assert.is_truthy(event.message:find("shop.example, www.shop.example", 1, true))
    assert.are.same({ host = "shop.example" }, event.dimension_tags)
    assert.is_truthy(one { tls = certificate { days_left = -3.2 } }.message:find("expired **3 days ago**", 1, true))
  end)

  it("reports one that is not trusted, if wanted", function()
    assert.are.equal("critical", one { tls = certificate { verified = false } }.status)
    assert.is_nil(one({ tls = certificate { verified = false } }, { trusted = "false" }))
  end)

  it("reports a host that shows none", function()
    local event = one { error = "connection refused", code = "connect" }
    assert.are.equal("critical", event.status)
    assert.is_truthy(event.message:find("connection refused", 1, true))
  end)
end)
