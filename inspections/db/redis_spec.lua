local t = require "selfmon.testing"

local BASE = { redis_version = "7.0.15", role = "master", uptime_in_seconds = 86400, used_memory = 50 << 20, maxmemory = 100 << 20,
               maxmemory_policy = "noeviction", connected_clients = 5, maxclients = 100, rejected_connections = 0,
               rdb_last_bgsave_status = "ok", aof_last_write_status = "ok", aof_last_bgrewrite_status = "ok" }

local function command(...)
  local text = ("*%d\r\n"):format(select("#", ...))
  for _, word in ipairs { ... } do text = text .. ("$%d\r\n%s\r\n"):format(#word, word) end
  return text
end

-- A server with these lines of INFO; `password` is asked for when given.
local function server(fields, password)
  local lines = { "# Server" }
  for k, v in pairs(BASE) do lines[#lines + 1] = ("%s:%s"):format(k, fields and fields[k] ~= nil and fields[k] or v) end
  for k, v in pairs(fields or {}) do
    if BASE[k] == nil then lines[#lines + 1] = ("%s:%s"):format(k, v) end
  end
  local text, known = table.concat(lines, "\r\n") .. "\r\n", password == nil
  t.net("open r.example:6379", { talk = function(sent)
    if password and sent == command("AUTH", password) then
      known = true
      return "+OK\r\n"
    end
    if sent:find "AUTH" then return "-WRONGPASS invalid username-password pair\r\n" end
    if not known then return "-NOAUTH Authentication required.\r\n" end
    if sent == command "PING" then return "+PONG\r\n" end
    return ("$%d\r\n%s\r\n"):format(#text, text)
  end })
end

local function run(params, opts)
  params = params or {}
  params.servers = params.servers or "r.example"
  return t.run("db/redis.run", params, opts)
end

local function one(fields, params)
  server(fields)
  local r = run(params)
  assert.are.equal("ok", r.outcome, r.error)
  assert.is_true(#r.events <= 1)
  return r.events[1]
end

describe("db/redis", function()
  it("without servers says so in the log and stays quiet", function()
    local r = t.run("db/redis.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter servers", 1, true))
  end)

  it("says nothing of a healthy one", function()
    assert.is_nil(one())
    assert.is_nil(one { maxmemory = 0 })
  end)

  it("reports what is wrong, each thing by itself", function()
    local rows = {
      { { used_memory = 92 << 20 }, "memory", "warning", "92 % of its memory is used" },
      { { used_memory = 99 << 20 }, "memory", "critical", "99 %" },
      { { connected_clients = 81 }, "clients", "warning", "81 of 100 connections" },
      { { role = "slave", master_link_status = "down", master_link_down_since_seconds = 77 }, "replication", "critical", "cut off" },
      { { rdb_last_bgsave_status = "err" }, "saving", "critical", "cannot save" },
      { { aof_last_write_status = "err" }, "saving", "critical", "cannot save" },
    }
    for _, row in ipairs(rows) do
      local e = one(row[1])
      assert.are.same({ server = "r.example", check = row[2] }, e.dimension_tags)
      assert.are.equal(row[3], e.status)
      assert.is_truthy(e.title:find(row[4], 1, true), e.title)
      assert.is_truthy(e.message:find("Redis 7.0.15", 1, true))
    end
    assert.is_nil(one({ used_memory = 92 << 20 }, { memory = 95 }))
    assert.is_nil(one { role = "slave", master_link_status = "up" })
  end)

  it("reports one that does not answer, or is not ready", function()
    t.net("open r.example:6379", { error = "r.example:6379: no connection to 192.0.2.1: Connection refused", code = "connect" })
    assert.are.equal("r.example: does not answer", run().events[1].title)
    t.net("open r.example:6379", { talk = function() return false end })
    assert.are.equal("critical", run().events[1].status)
    t.net("open r.example:6379", { talk = function() return "-LOADING Redis is loading the dataset in memory\r\n" end })
    assert.are.equal("warning", run().events[1].status)
    t.net("open r.example:6379", { talk = function() return "220 mail\r\n" end })
    assert.is_truthy(run().events[1].message:find("does not speak the protocol of Redis", 1, true))
  end)

  it("logs in with a secret", function()
    local opts = { grants = { "secret:redis" }, secrets = { redis = "pa ss\"\\\r\n" } }
    server(nil, "pa ss\"\\\r\n")
    local r = run({ password = "redis" }, opts)
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("fails where it may not look, and reports nothing", function()
    server(nil, "right")
    for _, params in ipairs { {}, { password = "redis" } } do
      local r = run(params, { grants = { "secret:redis" }, secrets = { redis = "wrong" } })
      assert.are.equal("failed", r.outcome)
      assert.are.same({}, r.events)
      assert.is_truthy(r.error:find("cannot see: r.example: ", 1, true), r.error)
    end
  end)
end)
