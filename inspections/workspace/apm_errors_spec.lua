local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

local function err(count, type, message)
  return { tags = { service = "shop", error_type = type, error_message = message }, columns = { "time", "n" },
           values = { { t.now(), count } } }
end

-- Errors of the last hour and of the time before.
local function answer(now, before, complete)
  t.dql("T::*", function(query)
    if query.until_ > t.now() - 60 then return { series = now, complete = complete } end
    return { series = before }
  end)
end

local function healthy()
  answer({ err(5, "TypeError", "user 4711 not found") }, { err(80, "TypeError", "user 12 not found") })
end

local function unhealthy(complete)
  answer({ err(5, "TypeError", "user 4711 not found"), err(2, "IOError", "disk `sda` is full"), err(1, "IOError", "disk `sda` is full"),
           err(9, "KeyError", "no key 'a' in 0xdeadbeef") }, { err(80, "TypeError", "user 12 not found") }, complete)
end

describe("workspace/apm_errors", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/apm_errors.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports kinds of errors that are new, the most frequent first", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/apm_errors.run")
    assert.are.equal(1, #r.events, r.error)
    local event = r.events[1]
    assert.are.equal("shop: 2 new kinds of errors", event.title)
    assert.are.equal("error", event.status)
    assert.are.same({ service = "shop" }, event.dimension_tags)
    assert.is_truthy(event.message:find("**12 errors** in the last hour", 1, true), event.message)
    assert.is_truthy(event.message:find("- 9 × KeyError: no key 'a' in 0xdeadbeef\n- 3 × IOError: disk sda is full", 1, true), event.message)
    local now, before = t.queries()[1], t.queries()[2]
    assert.are.equal(3600, t.now() - now.since)
    assert.are.equal(13 * 3600, t.now() - before.since)
    assert.are.equal(3600, t.now() - before.until_)
  end)

  it("takes a least number, and groups", function()
    t.clock(NOW)
    unhealthy()
    assert.are.equal("shop: 1 new kind of errors", t.run("workspace/apm_errors.run", { least = 5 }).events[1].title)
    t.run("workspace/apm_errors.run", { services = "shop" })
    assert.is_truthy(t.queries()[3].q:find('`service` IN ["shop"]', 1, true), t.queries()[3].q)
  end)

  it("shows ten kinds and counts the rest", function()
    t.clock(NOW)
    local many = {}
    for i = 1, 14 do many[i] = err(i, "Error" .. string.char(64 + i), "x") end
    answer(many, {})
    local event = t.run("workspace/apm_errors.run").events[1]
    assert.is_truthy(event.message:find("- and 4 kinds more", 1, true), event.message)
  end)

  it("is quiet without errors", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/apm_errors.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/apm_errors.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/apm_errors.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/apm_errors.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
