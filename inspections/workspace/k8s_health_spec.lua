local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

local function node(host, used)
  return { tags = { cluster_name_k8s = "prod", host = host }, columns = { "time", "used" }, values = { { t.now(), used } } }
end

local function phase(name, pods)
  return { tags = { cluster_name_k8s = "prod", phase = name }, columns = { "time", "pods" }, values = { { t.now(), pods } } }
end

local function answer(cpu, memory, disk, pods, complete)
  t.dql("M::`cpu`:*", { series = cpu, complete = complete })
  t.dql("M::`mem`:*", { series = memory })
  t.dql("M::`disk`:*", { series = disk })
  t.dql("O::`kubelet_pod`:*", { series = pods })
end

local function healthy()
  answer({ node("n1", 94) }, { node("n1", 80) }, { node("n1", 90) }, { phase("Running", 95), phase("Pending", 5), phase("Succeeded", 400) })
end

local function unhealthy(complete)
  answer({ node("n1", 98), node("n2", 5) }, { node("n1", 80) }, { node("n1", 91.5) },
    { phase("Running", 60), phase("Pending", 20), phase("Succeeded", 400) }, complete)
end

describe("workspace/k8s_health", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/k8s_health.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports nodes and pending pods", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/k8s_health.run")
    assert.are.equal(3, #r.events, r.error)
    assert.are.equal("prod: 25 % of the pods are pending", r.events[1].title)
    assert.is_truthy(r.events[1].message:find("**20 of 80 pods**", 1, true), r.events[1].message)
    assert.are.equal("prod: cpu of node n1 is 98 % used", r.events[2].title)
    assert.are.equal("critical", r.events[2].status)
    assert.are.equal("prod: disk of node n1 is 92 % used", r.events[3].title)
    assert.are.equal("warning", r.events[3].status)
    assert.are.same({ cluster_name_k8s = "prod", host = "n1", figure = "disk" }, r.events[3].dimension_tags)
    assert.is_truthy(t.queries()[1].q:find("{ `cluster_name_k8s` = exists() }", 1, true))
  end)

  it("judges what is there: no pods known", function()
    t.clock(NOW)
    unhealthy()
    t.dql("O::*", {})
    assert.are.equal(2, #t.run("workspace/k8s_health.run").events)
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/k8s_health.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/k8s_health.run", { clusters = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/k8s_health.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/k8s_health.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/k8s_health.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/k8s_health.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/k8s_health.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
