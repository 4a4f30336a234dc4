local t = require "selfmon.testing"

local function answer(date, more)
  local body = { objectClassName = "domain", events = {
    { eventAction = "registration", eventDate = "1995-08-14T04:00:00Z" }, { eventAction = "expiration", eventDate = date } } }
  for k, v in pairs(more or {}) do body[k] = v end
  return { json = body }
end

local REGISTRAR = { entities = { { roles = { "abuse" } }, { roles = { "registrar" }, handle = "292",
  vcardArray = { "vcard", { { "version", {}, "text", "4.0" }, { "fn", {}, "text", "Example Registrar" } } } } } }

local function run(answers, params)
  t.clock "2026-03-01T12:00:00Z"
  local domains = {}
  for domain, a in pairs(answers) do
    t.http("GET https://rdap.org/domain/" .. domain, a)
    domains[#domains + 1] = domain
  end
  table.sort(domains)
  local given = { domains = domains }
  for k, v in pairs(params or {}) do given[k] = v end
  return t.run("domain/expiry.run", given)
end

local function event(a, params)
  local r = run({ ["shop.example"] = a }, params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events[1]
end

describe("domain/expiry", function()
  it("without domains says so in the log and stays quiet", function()
    local r = t.run("domain/expiry.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("set the parameter domains", 1, true))
  end)

  it("says nothing when there is time", function()
    assert.is_nil(event(answer "2027-03-01T04:00:00Z"))
    assert.is_nil(event(answer "2026-03-31T13:00:00Z"))
    assert.is_nil(event(answer "9999-12-31T00:00:00Z"))
  end)

  it("reports an end that comes near, with the registrar", function()
    local e = event(answer("2026-03-21T12:00:00Z", REGISTRAR))
    assert.are.equal("warning", e.status)
    assert.are.equal("shop.example: the registration ends in 20 days", e.title)
    assert.is_truthy(e.message:find("ends on **2026-03-21**", 1, true), e.message)
    assert.is_truthy(e.message:find("Registrar: Example Registrar", 1, true), e.message)
    assert.are.same({ domain = "shop.example" }, e.dimension_tags)
    assert.are.equal("critical", event(answer "2026-03-08T11:00:00Z").status)
  end)

  it("reports an end that has passed, and a domain that is not there", function()
    local e = event(answer "2026-02-27T12:00:00Z")
    assert.are.equal("critical", e.status)
    assert.are.equal("shop.example: the registration has ended", e.title)
    assert.are.equal("shop.example is not registered", event { status = 404, body = "{}" }.title)
  end)

  it("follows to the registry", function()
    t.http("GET https://rdap.registry.example/domain/shop.example", answer("2026-03-02T12:00:00Z"))
    local e = event { status = 302, headers = { Location = "https://rdap.registry.example/domain/shop.example" } }
    assert.are.equal("critical", e.status)
  end)

  it("reports what it sees, and fails for what it does not", function()
    local r = run { ["a.example"] = answer "2026-03-02T12:00:00Z", ["b.example"] = { error = "no such host", code = "dns" },
                    ["c.example"] = { status = 429 }, ["d.example"] = { json = { events = {} } }, ["e.example"] = { body = "<html>" } }
    assert.are.equal("failed", r.outcome)
    assert.are.equal(1, #r.events)
    for _, part in ipairs { "b.example: no such host", "c.example: the service answered 429",
                            "d.example: its registry does not say", "e.example: the answer is no JSON" } do
      assert.is_truthy(r.error:find(part, 1, true), r.error)
    end
    assert.is_nil(r.error:find("a.example", 1, true))
  end)
end)
