local t = require "selfmon.testing"

local function one(answer, params)
  t.net("tls shop.example:443", answer)
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

  it("says nothing of a good certificate", function()
    assert.is_nil(one(true))
    assert.is_nil(one { handshake = "shop.example:443: wants a certificate of ours" })
  end)

  it("warns as the end comes near, then alarms", function()
    for _, row in ipairs { { 21 }, { 20.9, "warning" }, { 7, "warning" }, { 6.9, "critical" }, { -3, "critical" } } do
      local event = one { days_left = row[1] }
      assert.are.equal(row[2], event and event.status, tostring(row[1]))
    end
  end)

  it("names the figures", function()
    local event = one { days_left = 5.25, san = { "shop.example", "www.shop.example" } }
    assert.are.equal("shop.example: the certificate ends in 5 days", event.title)
    assert.is_truthy(event.message:find("**5.2 more days**", 1, true))
    assert.is_truthy(event.message:find("shop.example, www.shop.example", 1, true))
    assert.are.same({ host = "shop.example" }, event.dimension_tags)
    assert.is_truthy(one { days_left = -3.2 }.message:find("expired **3 days ago**", 1, true))
  end)

  it("sees an intermediate that ends first", function()
    local leaf = { subject = "CN=shop", issuer = "CN=Sub", san = {}, not_after = 1900000000, days_left = 60 }
    local sub = { subject = "CN=Sub", issuer = "CN=Root", san = {}, not_after = 1800000000, days_left = 3 }
    local event = one { chain = { leaf, sub }, days_left = 60 }
    assert.are.equal("critical", event.status)
    assert.is_truthy(event.message:find("intermediate certificate CN=Sub", 1, true), event.message)
  end)

  it("reports one that is not trusted, with the reason, if wanted", function()
    local bad = { verified = false, problems = { "name" }, error = "the certificate is for other.example, not for shop.example" }
    local event = one(bad)
    assert.are.equal("critical", event.status)
    assert.is_truthy(event.message:find("**the certificate is for other.example, not for shop.example**", 1, true))
    assert.is_nil(one(bad, { trusted = "false" }))
  end)

  it("reports a host that shows none", function()
    local event = one { error = "connection refused", code = "connect" }
    assert.are.equal("critical", event.status)
    assert.is_truthy(event.message:find("connection refused", 1, true))
  end)

  it("knows ports and protocols that begin in the clear", function()
    t.net("tls *", true)
    local r = t.run("tls/certificate.run", { hosts = "a.example:8443\nsmtp://mail.example\npostgres://db.example:5433\nhttps://b.example/" })
    assert.are.equal("ok", r.outcome, r.error)
    local seen = {}
    for i, q in ipairs(t.net_requests()) do seen[i] = ("%s:%d %s"):format(q.host, q.port, q.starttls or "-") end
    assert.are.same({ "a.example:8443 -", "mail.example:25 smtp", "db.example:5433 postgres", "b.example:443 -" }, seen)
  end)
end)
