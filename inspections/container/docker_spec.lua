local json = require "cjson"
local t = require "selfmon.testing"

local DOCKER = "/usr/bin/docker"

local function containers(list)
  local lines = {}
  for _, c in ipairs(list) do
    lines[#lines + 1] = json.encode { Names = c[1], State = c[2], Status = c[3], Image = "nginx:1" }
  end
  t.exec({ DOCKER, "version" }, "24.0.7\n")
  t.exec({ DOCKER, "ps" }, table.concat(lines, "\n") .. "\n")
end

local function run(params)
  params = params or {}
  params.enabled = params.enabled == nil or params.enabled
  local r = t.run("container/docker.run", params, { grants = { "exec:" .. DOCKER } })
  local by = {}
  for _, e in ipairs(r.events) do by[(e.dimension_tags.container or "") .. ":" .. e.dimension_tags.check] = e end
  return r, by
end

describe("container/docker", function()
  it("does nothing until it is told to", function()
    local r = run { enabled = false }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, t.execs())
    assert.is_truthy(r.log:find("set the parameter enabled", 1, true))
  end)

  it("says nothing when all containers are well", function()
    containers { { "web", "running", "Up 3 hours (healthy)" }, { "job", "exited", "Exited (1) 2 days ago" } }
    local r = run { expect = { "web" } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    t.exec({ DOCKER, "ps" }, "")
    assert.are.same({}, run().events)
  end)

  it("reports containers that are not well, and recovers nothing it cannot see", function()
    containers { { "web", "running", "Up 3 hours (unhealthy)" }, { "app", "restarting", "Restarting (1) 5 seconds ago" },
                 { "old", "dead", "Dead" }, { "noise", "restarting", "Restarting (1)" }, { "db", "exited", "Exited (137) 1 minute ago" } }
    local r, by = run { expect = { "db", "cache" }, exclude = { "noise" } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(5, #r.events)
    assert.are.equal("error", by["web:unhealthy"].status)
    assert.are.equal("error", by["app:restarting"].status)
    assert.are.equal("error", by["old:dead"].status)
    assert.are.equal("critical", by["db:expected"].status)
    assert.is_truthy(by["db:expected"].message:find("Exited (137)", 1, true))
    assert.is_truthy(by["cache:expected"].message:find("no such container", 1, true))
    t.exec({ DOCKER, "version" }, { code = 1, stderr = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the "
      .. "docker daemon running?\n" })
    r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(6, #r.events)
    assert.are.equal("critical", by[":daemon"].status)
  end)

  it("reports a daemon that hangs", function()
    t.exec({ DOCKER, "version" }, "24.0.7\n")
    t.exec({ DOCKER, "ps" }, { error = "it did not end within 20 s", error_code = "timeout" })
    local _, by = run()
    assert.is_truthy(by[":daemon"].message:find("does not answer within 20 s", 1, true))
  end)

  it("is quiet on a machine without docker", function()
    t.exec(DOCKER, { error = "/usr/bin/docker: No such file or directory", error_code = "not_found" })
    local r = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("has no docker", 1, true))
    assert.are.equal("failed", run { expect = { "web" } }.outcome)
  end)

  it("fails when it may not ask, or cannot read the answer", function()
    t.exec({ DOCKER, "version" }, { code = 1, stderr = "permission denied while trying to connect to the Docker daemon socket\n" })
    local r = run()
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("cannot ask Docker: permission denied", 1, true))
    t.exec({ DOCKER, "version" }, "24\n")
    t.exec({ DOCKER, "ps" }, "no json\n")
    assert.are.equal("failed", run().outcome)
    t.exec({ DOCKER, "ps" }, { stdout = "{", truncated = true })
    assert.is_truthy(run().error:find("more than can be read", 1, true))
  end)
end)
