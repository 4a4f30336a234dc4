local json = require "cjson"
local t = require "selfmon.testing"

local PSQL = "/usr/bin/psql"
local OPTS = { grants = { "exec:" .. PSQL, "secret:postgresql" }, secrets = { postgresql = "wordpass" } }

local function server(fields)
  local s = { version = "15.4", standby = false, sees = true, max = 97, used = 10, longest = json.null, waiting = 0, deadlocks = 0,
              oldest = { database = "shop", age = 1000000 }, lag = json.null, replicas = json.null }
  for k, v in pairs(fields or {}) do s[k] = v end
  return { stdout = json.encode(s) .. "\n" }
end

local function run(params)
  local all = { host = "db1" }
  for k, v in pairs(params or {}) do all[k] = v end
  local r = t.run("db/postgresql.run", all, OPTS)
  local by = {}
  for _, e in ipairs(r.events) do by[e.dimension_tags.check] = e end
  return r, by
end

describe("db/postgresql", function()
  it("has nothing to do without a host", function()
    local r = t.run("db/postgresql.run", {}, OPTS)
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("says nothing of a healthy server, and keeps the password out of the arguments", function()
    t.exec(PSQL, server())
    local r = run { secret = "postgresql", port = 5433, user = "mon" }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    local call = t.execs()[1]
    assert.are.equal("wordpass", call.env.PGPASSWORD)
    assert.are.equal("5433", call.env.PGPORT)
    assert.are.equal("mon", call.env.PGUSER)
    assert.is_nil(table.concat(call.args, " "):find("wordpass", 1, true))
    t.exec(PSQL, server())
    run()
    assert.is_nil(t.execs()[2].env.PGPASSWORD)
  end)

  it("reports connections, transactions, age and replication", function()
    t.exec(PSQL, server { used = 93, waiting = 4, oldest = { database = "shop", age = 600000000 },
      longest = { pid = 77, user = "app", database = "shop", state = "idle in transaction", seconds = 8000.5 },
      replicas = { { name = "b1", address = "10.0.0.2", state = "streaming", lag = 90 },
                   { name = "", address = "10.0.0.3", state = "catchup", lag = json.null },
                   { name = "b3", address = json.null, state = "streaming", lag = json.null } } })
    local r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(5, #r.events)
    assert.are.equal("critical", by.connections.status)
    assert.is_truthy(by.connections.message:find("**93 of 97**", 1, true))
    assert.are.equal("critical", by.transaction.status)
    assert.is_truthy(by.transaction.title:find("a transaction is open for 2 h 13 min", 1, true), by.transaction.title)
    assert.is_truthy(by.transaction.message:find("pg_terminate_backend(77)", 1, true))
    assert.are.equal("warning", by.wraparound.status)
    assert.are.equal("warning", by["replica b1"].status)
    assert.is_truthy(by["replica 10.0.0.3"].title:find("is catchup", 1, true))
  end)

  it("reports a standby that is behind", function()
    t.exec(PSQL, server { standby = true, lag = 1000 })
    local _, by = run()
    assert.are.equal("critical", by.replication.status)
  end)

  it("counts deadlocks from look to look, also over a reset", function()
    for _, case in ipairs { { 100, nil }, { 103, nil }, { 120, 17 }, { 4, nil }, { 9, 5 } } do
      t.exec(PSQL, server { deadlocks = case[1] })
      local _, by = run()
      assert.are.equal(case[2] and case[2] .. " new deadlocks" or nil, by.deadlocks and by.deadlocks.title:match "%d+ new deadlocks")
    end
  end)

  it("reports a server that does not let clients in, and what cannot be seen then", function()
    t.exec(PSQL, server { used = 97 })
    run()
    t.exec(PSQL, { code = 2, stderr = 'psql: error: connection to server at "db1", port 5432 failed: Connection refused\n'
      .. "\tIs the server running on that host?\n" })
    local r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(2, #r.events)
    assert.are.equal("critical", by.reachable.status)
    assert.is_truthy(by.reachable.message:find("Connection refused", 1, true))
    assert.is_truthy(by.connections)
    t.exec(PSQL, { error = "/usr/bin/psql did not end within 15 s and was ended", error_code = "timeout" })
    r, by = run()
    assert.are.equal(2, #r.events)
    assert.is_truthy(by.reachable.message:find("does not answer within 15 s", 1, true))
    t.exec(PSQL, server())
    assert.are.same({}, run().events)
  end)

  it("says what a user without pg_monitor cannot see", function()
    t.exec(PSQL, server { sees = false })
    local r = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("no member of pg_monitor", 1, true))
  end)

  it("fails, and blames no server, when it cannot see", function()
    for said, code in pairs { ['psql: error: FATAL:  password authentication failed for user "x"'] = 2,
                              ['psql: error: FATAL:  role "x" does not exist'] = 2,
                              ['ERROR:  function pg_x() does not exist'] = 1 } do
      t.exec(PSQL, { code = code, stderr = said .. "\n" })
      local r = run()
      assert.are.equal("failed", r.outcome, said)
      assert.are.same({}, r.events)
      assert.is_truthy(r.error:find(said, 1, true), r.error)
    end
    t.exec(PSQL, { error = "/usr/bin/psql: No such file or directory", error_code = "not_found" })
    assert.is_truthy(run().error:find("cannot run psql", 1, true))
    t.exec(PSQL, "no json")
    assert.are.equal("failed", run().outcome)
  end)
end)
