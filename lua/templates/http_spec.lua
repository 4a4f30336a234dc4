local t = require "selfmon.testing"

describe("@NAME@", function()
  it("is quiet when the address answers quickly", function()
    t.http("GET https://example.com/", { status = 200, timings = { total = 0.2 } })
    local r = t.run("@ID@")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(0, #r.events)
  end)

  it("warns when it is slow", function()
    t.http("GET https://example.com/", { status = 200, timings = { total = 0.9 } })
    local r = t.run("@ID@", { max_ms = 500 })
    assert.are.equal("warning", r.events[1].status)
    assert.are.equal("`https://example.com/` took **900 ms**; more than 500 ms is slow.", r.events[1].message)
  end)

  it("reports an error page", function()
    t.http("GET https://example.com/", { status = 503 })
    assert.are.equal("error", t.run("@ID@").events[1].status)
  end)

  it("reports an address that does not answer", function()
    t.http("GET https://example.com/", { error = "example.com: connection refused", code = "connect" })
    local r = t.run("@ID@")
    assert.are.equal("critical", r.events[1].status)
    assert.are.equal("https://example.com/", r.events[1].dimension_tags.url)
  end)
end)
