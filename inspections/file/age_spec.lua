local t = require "selfmon.testing"

local NOW = 1795000000
local HOUR = 3600

local function run(params, grants)
  return t.run("file/age.run", params, { grants = grants or { "file:/backup/**" } })
end

describe("file/age", function()
  before_each(function()
    t.clock(NOW)
    t.machine { name = "db1" }
  end)

  it("says nothing about fresh files", function()
    t.file("/backup/db.tar", { size = 5000, mtime = NOW - 25 * HOUR })
    t.file("/backup/future.tar", { size = 5000, mtime = NOW + 60 })
    local r = run { files = { "/backup/db.tar", "/backup/*.tar" } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports age, in two steps", function()
    for _, row in ipairs { { 27, "warning" }, { 51, "critical" } } do
      t.file("/backup/db.tar", { size = 3 << 20, mtime = NOW - row[1] * HOUR })
      local r = run { files = "/backup/db.tar" }
      assert.are.equal(1, #r.events)
      assert.are.equal(row[2], r.events[1].status)
      assert.are.same({ host = "db1", file = "/backup/db.tar", problem = "age" }, r.events[1].dimension_tags)
      assert.is_truthy(r.events[1].message:find("- **3.0 MiB**, last changed **2026-11-1", 1, true), r.events[1].message)
    end
    assert.are.same({}, run({ files = "/backup/db.tar", warning = "3d", critical = "4d" }).events)
  end)

  it("looks at the newest of a pattern only", function()
    t.file("/backup/db-1.tar", { size = 10000, mtime = NOW - 100 * HOUR })
    t.file("/backup/db-2.tar", { size = 2000, mtime = NOW - HOUR })
    t.file("/backup/other-9.tar", { size = 1, mtime = NOW - 500 * HOUR })
    t.file("/backup/db-9.tar", { type = "directory", mtime = NOW })
    assert.are.same({}, run({ files = "/backup/db-*.tar" }).events)
    local r = run { files = "/backup/db-*.tar", shrunk = 50 }
    assert.are.equal("db1: /backup/db-*.tar has shrunk to 2.0 KiB", r.events[1].title)
    assert.is_truthy(r.events[1].message:find("before: `db-1.tar`, 9.8 KiB", 1, true))
    r = run { files = "/backup/db-?.tar", min_size = 2001 }
    assert.are.equal("critical", r.events[1].status)
    assert.are.equal("size", r.events[1].dimension_tags.problem)
    t.file("/backup/db-2.tar", false)
    assert.are.equal("age", run({ files = "/backup/db-*.tar" }).events[1].dimension_tags.problem)
  end)

  it("reports what is missing, empty or dated in the future", function()
    t.file("/backup/empty", { size = 0 })
    t.file("/backup/tomorrow", { size = 9, mtime = NOW + 24 * HOUR })
    local r = run { files = { "/backup/none", "/backup/none-*", "/backup/dir/x*", "/backup/empty", "/backup/tomorrow" } }
    assert.are.equal("ok", r.outcome, r.error)
    local got = {}
    for i, e in ipairs(r.events) do got[i] = e.dimension_tags.problem .. " " .. e.status end
    assert.are.same({ "missing critical", "missing critical", "missing critical", "size critical", "future warning" }, got)
    assert.is_truthy(r.events[5].message:find("**1d** ahead of the clock", 1, true))
  end)

  it("is quiet without parameters, and fails when it cannot see, after what it saw", function()
    local r = t.run("file/age.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("set the parameter files", 1, true))
    t.file("/backup/bad", { error = "cannot open /backup/bad: Permission denied", code = "denied" })
    r = run { files = { "/backup/bad", "/backup/none" } }
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("Permission denied", 1, true))
    assert.are.equal(1, #r.events)
    r = run({ files = "/backup/*.tar" }, { "file:/backup/x.tar" })
    assert.is_truthy(r.error:find('permission "file:/backup/*.tar" is not granted', 1, true), r.error)
  end)
end)
