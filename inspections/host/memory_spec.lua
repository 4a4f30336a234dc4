local t = require "selfmon.testing"

local GIB = 1 << 30

local function memory(fields)
  local m = { total = 16 * GIB, available = 8 * GIB, used = 8 * GIB, percent = 50, free = GIB, buffers = 0,
              cached = 7 * GIB, swap_total = 4 * GIB, swap_used = 0, swap_percent = 0 }
  for k, v in pairs(fields or {}) do m[k] = v end
  return m
end

describe("host/memory", function()
  it("says nothing while there is room", function()
    t.machine { memory = memory() }
    local r = t.run("host/memory.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("warns, then alarms", function()
    for _, row in ipairs { { 89.9 }, { 90, "warning" }, { 94.9, "warning" }, { 95, "critical" } } do
      t.machine { name = "db1", memory = memory { percent = row[1] } }
      local event = t.run("host/memory.run").events[1]
      assert.are.equal(row[2], event and event.status, tostring(row[1]))
    end
  end)

  it("names the figures", function()
    t.machine { name = "db1", memory = memory { percent = 97, available = GIB // 2 } }
    local event = t.run("host/memory.run").events[1]
    assert.are.equal("db1: 97 % of memory used", event.title)
    assert.is_truthy(event.message:find("**97.0 %** of its memory: 0.5 GiB of 16.0 GiB are left", 1, true))
    assert.are.same({ host = "db1", resource = "memory" }, event.dimension_tags)
  end)

  it("looks at swap where there is some", function()
    t.machine { memory = memory { swap_percent = 75, swap_used = 3 * GIB } }
    local event = t.run("host/memory.run").events[1]
    assert.are.equal("warning", event.status)
    assert.are.equal("swap", event.dimension_tags.resource)
    t.machine { memory = memory { swap_total = 0, swap_percent = 0 } }
    assert.are.same({}, t.run("host/memory.run", { swap_warning = 0 }).events)
  end)

  it("fails loudly when the machine does not say", function()
    local r = t.run("host/memory.run")
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("cannot read the memory of this machine", 1, true))
  end)
end)
