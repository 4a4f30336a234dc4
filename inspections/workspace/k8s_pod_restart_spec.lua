local t = require "selfmon.testing"

local NOW = "2026-11-22T12:00:00Z"

-- Pods of a namespace, `restarted` of them with two restarts in the time asked for.
local function pods(namespace, all, restarted)
  local list = {}
  for i = 1, all do
    list[i] = { tags = { cluster_name_k8s = "prod", namespace = namespace, pod_name = "pod-" .. i }, columns = { "time", "most", "least" },
                values = { { t.now(), i <= restarted and 6 + i or 4, 4 } } }
  end
  return list
end

local function answer(now, before, complete)
  t.dql("OH::*", function(query)
    if query.until_ > t.now() - 60 then return { series = now, complete = complete } end
    return { series = before }
  end)
end

local function healthy()
  answer(pods("shop", 20, 1), pods("shop", 20, 0))
end

local function unhealthy(complete)
  answer(pods("shop", 20, 6), pods("shop", 20, 1), complete)
end

describe("workspace/k8s_pod_restart", function()
  it("says nothing while all is well", function()
    t.clock(NOW)
    healthy()
    local r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("reports a namespace whose share of restarted pods rises", function()
    t.clock(NOW)
    unhealthy()
    local r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal(1, #r.events, r.error)
    local event = r.events[1]
    assert.are.equal("prod/shop: 30 % of the pods restarted", event.title)
    assert.are.same({ cluster_name_k8s = "prod", namespace = "shop" }, event.dimension_tags)
    assert.is_truthy(event.message:find("**6 of 20 pods** restarted in the last 30 minutes (30.0 %); in the 30 minutes before 5.0 %", 1, true), event.message)
    assert.is_truthy(event.message:find("- pod-6: 8\n- pod-5: 7", 1, true), event.message)
  end)

  it("says nothing while the share falls, or of few pods", function()
    t.clock(NOW)
    answer(pods("shop", 20, 6), pods("shop", 20, 9))
    assert.are.same({}, t.run("workspace/k8s_pod_restart.run").events)
    unhealthy()
    assert.are.same({}, t.run("workspace/k8s_pod_restart.run", { share = 40 }).events)
    assert.are.same({}, t.run("workspace/k8s_pod_restart.run", { pods = 7 }).events)
  end)

  it("judges a namespace that was not there before", function()
    t.clock(NOW)
    answer(pods("new", 3, 3), {})
    assert.are.equal("critical", t.run("workspace/k8s_pod_restart.run", { namespaces = "new" }).events[1].status)
    assert.is_truthy(t.queries()[1].q:find('{ `namespace` IN ["new"] }', 1, true))
  end)

  it("is quiet without data, and fails when there was some before or a name was given", function()
    t.clock(NOW)
    t.dql("*", {})
    local r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    r = t.run("workspace/k8s_pod_restart.run", { clusters = "nobody" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("of nobody", 1, true), r.error)
    healthy()
    assert.are.equal("ok", t.run("workspace/k8s_pod_restart.run").outcome)
    t.dql("*", {})
    r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("any more", 1, true), r.error)
  end)

  it("reports what it saw of a partial answer, and then fails, so that nothing recovers unseen", function()
    t.clock(NOW)
    unhealthy(false)
    local r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("only a part", 1, true), r.error)
    assert.is_true(#r.events > 0)
  end)

  it("fails when the workspace refuses, and is quiet where there is none", function()
    t.clock(NOW)
    t.dql("*", { error = "no such field", code = "refused" })
    local r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("no such field", 1, true), r.error)
    assert.are.same({}, r.events)
    t.dql("*", { error = "the account has no workspace", code = "unavailable" })
    r = t.run("workspace/k8s_pod_restart.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("no workspace", 1, true))
  end)
end)
