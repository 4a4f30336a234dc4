local t = require "selfmon.testing"

local MYSQL = "/usr/bin/mysql"
local OPTS = { grants = { "exec:" .. MYSQL, "secret:mysql" }, secrets = { mysql = "wordpass" } }

local figures, replica

-- Answers as the client does, by the query it is given.
local function serve(fields, state)
  figures = { Threads_connected = 11, Threads_running = 2, Slow_queries = 0, Aborted_connects = 0, Uptime = 1000,
              max_connections = 151, version = "10.11.6-MariaDB", long_query_time = 10.0 }
  for k, v in pairs(fields or {}) do figures[k] = v end
  replica = state or ""
  t.exec(MYSQL, function(args)
    local sql = args[#args]
    if sql:find "replica status" then
      return type(replica) == "table" and replica or { stdout = replica }
    elseif sql:find "slave status" then
      return { stdout = "*** 1. row ***\n  Master_Host: db1\n  Slave_IO_Running: Yes\n  Slave_SQL_Running: Yes\n  Seconds_Behind_Master: 70\n" }
    end
    local lines = {}
    for name, value in pairs(figures) do lines[#lines + 1] = name .. "\t" .. value end
    return { stdout = table.concat(lines, "\n") .. "\n" }
  end)
end

local function fails(message, code)
  t.exec(MYSQL, { code = code or 1, stderr = message .. "\n" })
end

local function run(params)
  local all = { host = "db1" }
  for k, v in pairs(params or {}) do all[k] = v end
  local r = t.run("db/mysql.run", all, OPTS)
  local by = {}
  for _, e in ipairs(r.events) do by[e.dimension_tags.check] = e end
  return r, by
end

describe("db/mysql", function()
  it("has nothing to do without a host", function()
    local r = t.run("db/mysql.run", {}, OPTS)
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("says nothing of a healthy server, and keeps the password out of the arguments", function()
    serve()
    local r = run { secret = "mysql" }
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.are.equal("wordpass", t.execs()[1].env.MYSQL_PWD)
    assert.is_nil(table.concat(t.execs()[1].args, " "):find("wordpass", 1, true))
    serve()
    run { host = "/run/mysqld/mysqld.sock" }
    assert.is_truthy(table.concat(t.execs()[3].args, " "):find("--socket=/run/mysqld/mysqld.sock", 1, true))
  end)

  it("reports connections", function()
    serve { Threads_connected = 146 }
    local r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("critical", by.connections.status)
    assert.is_truthy(by.connections.message:find("**145 of 151**", 1, true))
  end)

  it("reports slow queries and failed logins by their rate, not after a restart", function()
    t.store { counters = { at = 0, uptime = 10, slow_queries = 5, aborted_connects = 5 } }
    serve { Slow_queries = 1e12 // 1, Aborted_connects = 1e12 // 1 }
    local r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("warning", by.slow.status)
    assert.are.equal("warning", by.aborted.status)
    serve { Uptime = 3, Slow_queries = 2e12 // 1 }
    assert.are.same({}, run().events)
  end)

  it("reports replication that does not run, or is behind, in either dialect", function()
    serve({}, "*** 1. row ***\n  Source_Host: db0\n  Replica_IO_Running: Yes\n  Replica_SQL_Running: No\n"
      .. "  Last_SQL_Error: Duplicate entry '1'\n  Seconds_Behind_Source: NULL\n")
    local _, by = run()
    assert.are.equal("critical", by.replication.status)
    assert.is_truthy(by.replication.message:find("Duplicate entry", 1, true))
    assert.is_truthy(by.replication.message:find("**db0**", 1, true))
    serve({}, { code = 1, stderr = "ERROR 1064 (42000) at line 1: You have an error in your SQL syntax\n" })
    _, by = run()
    assert.are.equal("warning", by.replication.status)
    assert.is_truthy(by.replication.title:find("70 s behind", 1, true))
  end)

  it("goes on without the right to see replication", function()
    serve({ Threads_connected = 150 }, { code = 1, stderr = "ERROR 1227 (42000) at line 1: Access denied; you need REPLICA MONITOR\n" })
    local r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(by.connections)
    assert.is_truthy(r.log:find("replication cannot be seen", 1, true))
  end)

  it("reports a server that does not let clients in, and what cannot be seen then", function()
    serve { Threads_connected = 151 }
    run()
    fails "ERROR 2002 (HY000): Can't connect to server on 'db1' (111)"
    local r, by = run()
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("critical", by.reachable.status)
    assert.is_truthy(by.connections)
    fails "ERROR 1040 (HY000): Too many connections"
    _, by = run()
    assert.is_truthy(by.reachable.message:find("Too many connections", 1, true))
    serve()
    assert.are.same({}, run().events)
  end)

  it("fails, and blames no server, when it cannot see", function()
    for _, message in ipairs { "ERROR 1045 (28000): Access denied for user 'x'@'h' (using password: YES)",
                               "ERROR 2005 (HY000): Unknown server host 'db1' (-2)", "mysql: unknown option '--batch'" } do
      fails(message)
      local r = run()
      assert.are.equal("failed", r.outcome, message)
      assert.are.same({}, r.events)
      assert.is_truthy(r.error:find(message, 1, true), r.error)
    end
    t.exec(MYSQL, "Uptime\t5\n")
    assert.is_truthy(run().error:find("the server does not say threads_connected", 1, true))
  end)
end)
