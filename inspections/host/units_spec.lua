local t = require "selfmon.testing"

local SYSTEMCTL = "/usr/bin/systemctl"

local function run(params)
  params = params or {}
  params.enabled = params.enabled == nil or params.enabled
  return t.run("host/units.run", params, { grants = { "exec:" .. SYSTEMCTL } })
end

describe("host/units", function()
  it("says nothing when no unit has failed", function()
    t.exec(SYSTEMCTL, "")
    local r = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.are.equal("list-units", t.execs()[1].args[1])
  end)

  it("reports each failed unit", function()
    t.machine { name = "web1" }
    t.exec(SYSTEMCTL, "nginx.service          loaded failed failed A high performance web server\n"
      .. "● mnt-data.mount not-found failed failed\napt-daily.service loaded failed failed Daily apt\n")
    local r = run { critical = { "nginx.*" }, exclude = { "apt*" } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(2, #r.events)
    local e = r.events[1]
    assert.are.equal("critical", e.status)
    assert.are.equal("web1: unit nginx.service has failed", e.title)
    assert.are.same({ host = "web1", unit = "nginx.service" }, e.dimension_tags)
    assert.is_truthy(e.message:find("`nginx.service` (A high performance web server) on **web1**", 1, true), e.message)
    assert.are.equal("error", r.events[2].status)
    assert.are.equal("mnt-data.mount", r.events[2].dimension_tags.unit)
  end)

  it("does nothing until it is told to", function()
    local r = run { enabled = false }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, t.execs())
    assert.is_truthy(r.log:find("set the parameter enabled", 1, true))
  end)

  it("is quiet where there is no systemd, and says so in the log", function()
    t.exec(SYSTEMCTL, { code = 1, stderr = "System has not been booted with systemd as init system (PID 1). Can't operate.\n" })
    local r = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("not booted with systemd", 1, true))
    t.exec(SYSTEMCTL, { error = "/usr/bin/systemctl: No such file or directory", error_code = "not_found" })
    r = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("has no systemd", 1, true))
  end)

  it("fails when systemd does not answer, or not as it should", function()
    t.exec(SYSTEMCTL, { code = 1, stderr = "Failed to connect to bus: Permission denied\n" })
    local r = run()
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("cannot ask systemd: Failed to connect to bus", 1, true))
    t.exec(SYSTEMCTL, { error = "it did not end within 20 s", error_code = "timeout" })
    assert.are.equal("failed", run().outcome)
    t.exec(SYSTEMCTL, "something else\n")
    assert.is_truthy(run().error:find("cannot read what systemctl says: something else", 1, true))
    assert.are.same({}, run().events)
  end)
end)
