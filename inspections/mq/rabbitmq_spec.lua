local t = require "selfmon.testing"

local URL = "http://rabbit.example:15672"
local OK = { json = { status = "ok" } }

local function array(list)
  return setmetatable(list, require "cjson".array_mt)
end

-- answers: queues, and those of the checks that are not well.
local function run(answers, params)
  answers = answers or {}
  for _, check in ipairs { "alarms", "virtual-hosts", "node-is-quorum-critical" } do
    t.http(("GET %s/api/health/checks/%s"):format(URL, check), answers[check] or OK)
  end
  t.http(("GET %s/api/queues*"):format(URL), answers.queues or { json = array {} })
  local given = { url = URL .. "/" }
  for k, v in pairs(params or {}) do given[k] = v end
  return t.run("mq/rabbitmq.run", given, { grants = { "secret:rabbitmq" }, secrets = { rabbitmq = "rabbit-password" } })
end

local function events(...)
  local r = run(...)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events
end

local function queue(name, messages, consumers)
  return { name = name, vhost = "/", messages = messages, consumers = consumers or 1 }
end

describe("mq/rabbitmq", function()
  it("without an address says so in the log and stays quiet", function()
    local r = t.run("mq/rabbitmq.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("set the parameter url", 1, true))
  end)

  it("says nothing when all is well, and shows its password to the server only", function()
    local r = run { queues = { json = array { queue("orders", 10000), queue("idle", 100, 0) } } }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.are.equal("rabbit-password", t.requests()[1].password)
    assert.is_nil(r.log:find("rabbit-password", 1, true))
  end)

  it("reports alarms with their nodes", function()
    local e = events { alarms = { status = 503, json = { status = "failed", reason = "There are alarms in effect in the cluster",
      alarms = { { node = "rabbit@a", resource = "memory" }, { node = "rabbit@b", resource = "disk" } } } } }
    assert.are.equal(1, #e)
    assert.are.equal("critical", e[1].status)
    assert.is_truthy(e[1].message:find("**memory** of rabbit@a", 1, true), e[1].message)
    assert.is_truthy(e[1].message:find("**disk** of rabbit@b", 1, true))
    assert.are.same({ server = URL, check = "alarms" }, e[1].dimension_tags)
  end)

  it("reports the other checks", function()
    local e = events { ["node-is-quorum-critical"] = { status = 503, json = { status = "failed", reason = "one replica left" } } }
    assert.are.equal("warning", e[1].status)
    assert.is_truthy(e[1].message:find("one replica left", 1, true))
  end)

  it("reports queues, the longest first", function()
    local e = events({ queues = { json = array { queue("unread", 101, 0), queue("long", 10001), queue("endless", 100001), queue("dead", 1e6) } } },
      { ignore = { "dead" } })
    assert.are.equal(3, #e)
    assert.are.equal("Queue endless holds 100001 messages", e[1].title)
    assert.are.equal("critical", e[1].status)
    assert.are.equal("warning", e[2].status)
    assert.are.equal("Nobody reads queue unread", e[3].title)
    assert.are.same({ server = URL, check = "queue", vhost = "/", queue = "unread" }, e[3].dimension_tags)
  end)

  it("reports a server that does not answer", function()
    local e = events { queues = { error = "connection refused", code = "connect" } }
    assert.are.equal("RabbitMQ does not answer", e[1].title)
    assert.are.equal("critical", e[1].status)
  end)

  it("fails when it may not look, or reads no answer", function()
    for _, answers in ipairs { { alarms = { status = 401, json = { error = "not_authorised" } } }, { alarms = { body = "<html>" } },
                               { queues = { status = 500 } }, { queues = { body = "oops" } } } do
      local r = run(answers)
      assert.are.equal("failed", r.outcome)
      assert.is_truthy(r.error:find("answered", 1, true), r.error)
      assert.are.same({}, r.events)
    end
  end)

  it("takes partial data as it is", function()
    assert.are.same({}, events { queues = { json = array { { name = "new", vhost = "/" } } } })
  end)
end)
