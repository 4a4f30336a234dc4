local t = require "selfmon.testing"

describe("demo/example", function()
  it("shows an event without any network", function()
    t.machine { name = "web1", uptime = 176430.5, load = { one = 0.25, five = 0, fifteen = 0, cores = 2 },
                memory = { percent = 42, total = 8 << 30 } }
    local r = t.run("demo/example.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(1, #r.events)
    assert.are.equal("Self-built inspection example", r.events[1].title)
    assert.are.equal("info", r.events[1].status)
    assert.is_truthy(r.events[1].message:find("**web1** is up for 2d1h.", 1, true))
  end)

  it("fetches an address", function()
    t.http("GET https://shop.example/", { status = 200, timings = { total = 0.3 } })
    local r = t.run("demo/example.run", { url = "https://shop.example/" })
    assert.are.equal("ok", r.events[1].status)
    assert.are.equal("`https://shop.example/` answered **200** in 300 ms", r.events[1].message)
    assert.are.equal("warning", t.run("demo/example.run", { url = "https://shop.example/", max_ms = 100 }).events[1].status)
  end)

  it("reports one that does not answer", function()
    t.http("GET https://shop.example/", { error = "shop.example: connection refused", code = "connect" })
    local r = t.run("demo/example.run", { url = "https://shop.example/" })
    assert.are.equal("critical", r.events[1].status)
    assert.are.equal("shop.example: connection refused", r.events[1].message)
  end)
end)
