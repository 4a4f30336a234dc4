local t = require "selfmon.testing"

local LOG = "/var/log/app.log"
local GRANTS = { grants = { "file:/var/log/**" } }

local function run(params, opts)
  local all = { paths = LOG, critical = "FATAL" }
  for k, v in pairs(params or {}) do all[k] = v end
  return t.run("log/pattern.run", all, opts or GRANTS)
end

describe("log/pattern", function()
  it("begins at the end and then counts each line once", function()
    t.machine { name = "web1" }
    t.file(LOG, "FATAL: long ago\n")
    local r = run { warning = "ERROR" }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    t.file(LOG, "FATAL: long ago\nall is well\nFATAL: disk `x` gone\nERROR 5\nERROR 6\nERR")
    r = run { warning = "ERROR" }
    assert.are.equal(2, #r.events)
    table.sort(r.events, function(a, b) return a.status < b.status end)
    assert.are.equal("critical", r.events[1].status)
    assert.are.equal("web1: 1 line in /var/log/app.log matches FATAL", r.events[1].title)
    assert.is_truthy(r.events[1].message:find("**1** of 4 new lines of `/var/log/app.log` on **web1**", 1, true))
    assert.is_truthy(r.events[1].message:find("- `FATAL: disk 'x' gone`", 1, true))
    assert.are.equal("web1: 2 lines in /var/log/app.log match ERROR", r.events[2].title)
    assert.are.same({ host = "web1", path = LOG, pattern = "ERROR" }, r.events[2].dimension_tags)
    assert.are.same({}, run({ warning = "ERROR" }).events)
    t.file(LOG, "FATAL: long ago\nall is well\nFATAL: disk `x` gone\nERROR 5\nERROR 6\nERROR 7, the rest\n")
    r = run { warning = "ERROR" }
    assert.are.equal(1, #r.events)
    assert.is_truthy(r.events[1].message:find("ERROR 7, the rest", 1, true))
  end)

  it("follows a rotation", function()
    t.file(LOG, "one\n")
    run()
    t.file(LOG, "FATAL in the new one\n")
    assert.are.equal(1, #run().events)
    assert.are.same({}, run().events)
  end)

  it("takes patterns, plain text, lines to ignore and a least number", function()
    t.file(LOG, "")
    run()
    local text = "code=500 a\ncode=503 b\ncode=200 c\ncode=500 known\n[x] 1\n"
    t.file(LOG, text)
    local r = run { critical = "code=5%d%d", ignore = "known" }
    assert.are.equal(1, #r.events)
    assert.is_truthy(r.events[1].message:find("**2** of 5 new lines", 1, true))
    t.file(LOG, text .. "[x] 2\n")
    assert.are.equal(1, #run({ critical = { "[x]" }, plain = true }).events)
    t.file(LOG, text .. "[x] 2\n[x] 3\n[x] 4\n")
    assert.are.same({}, run({ critical = { "[x]" }, plain = true, at_least = 3 }).events)
  end)

  it("reports a log that is missing, as it is told to", function()
    local r = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("warning", r.events[1].status)
    assert.is_truthy(r.events[1].title:find("log /var/log/app.log is missing", 1, true))
    assert.are.equal("critical", run({ missing = "critical" }).events[1].status)
    assert.are.same({}, run({ missing = "ignore" }).events)
    t.file(LOG, "FATAL in a log that is new\n")
    assert.are.equal(1, #run().events)
    assert.are.same({}, run().events)
  end)

  it("is quiet without parameters, and fails when it cannot see", function()
    local r = t.run("log/pattern.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("set the parameters paths", 1, true))
    t.file(LOG, { error = "cannot open /var/log/app.log: Permission denied", code = "denied" })
    t.file("/var/log/b.log", "")
    r = run { paths = { LOG, "/var/log/b.log" } }
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("Permission denied", 1, true))
    assert.is_truthy(t.store()["cursor /var/log/b.log"]) -- the other one was read
    r = run({}, { grants = {} })
    assert.is_truthy(r.error:find('permission "file:/var/log/app.log" is not granted', 1, true), r.error)
    r = run { critical = "%" }
    assert.is_truthy(r.error:find('the pattern "%" is wrong: malformed pattern', 1, true), r.error)
  end)

  it("loses no line when the store does not keep the cursor", function()
    t.file(LOG, "")
    run()
    t.file(LOG, "FATAL\n")
    t.store_fails()
    local r = run()
    assert.are.equal("failed", r.outcome)
    assert.are.equal(1, #r.events)
  end)
end)
