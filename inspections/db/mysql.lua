-- A MySQL or MariaDB server, through its client: reachable, connections, slow queries, aborted logins, replication.
local exec = require "selfmon.exec"
local findings = require "lib.findings"
local log = require "selfmon.log"
local secret = require "selfmon.secret"
local store = require "selfmon.store"
local time = require "selfmon.time"

local STATUS = "show global status where Variable_name in ('Threads_connected', 'Threads_running', 'Slow_queries', "
  .. "'Aborted_connects', 'Uptime'); show global variables where Variable_name in ('max_connections', 'version', 'long_query_time')"

-- Errors of the client that are the server's: not there, gone, full, blocked, not answering.
local SERVERS = { [1040] = true, [1129] = true, [1203] = true, [2002] = true, [2003] = true, [2006] = true, [2013] = true,
                  [2026] = true }

-- What the client says; nil, sentence, number of the error.
local function ask(params, sql)
  local args = { "--batch", "--skip-column-names", "--connect-timeout=" .. math.max(2, params.timeout // 2), "--user=" .. params.user }
  if params.host:sub(1, 1) == "/" then
    args[#args + 1] = "--socket=" .. params.host
  else
    args[#args + 1] = "--host=" .. params.host
    args[#args + 1] = "--port=" .. params.port
    args[#args + 1] = "--protocol=TCP"
  end
  args[#args + 1] = "--execute=" .. sql
  local r, err, code = exec.run{ cmd = params.client, args = args, timeout = params.timeout,
    env = { MYSQL_PWD = params.secret ~= "" and assert(secret(params.secret)) or nil } }
  if not r and code == "timeout" then return nil, "it does not answer within " .. findings.span(params.timeout), 2013 end
  if not r then error("cannot run the client: " .. err) end
  if r.code == 0 then return r.stdout end
  local why = r.stderr:match "[^\n]*ERROR %d+[^\n]*" or findings.first_line(r.stderr)
  return nil, why, tonumber(why:match "ERROR (%d+)") or 0
end

-- Rows of `name<TAB>value`.
local function pairs_of(text)
  local t = {}
  for name, value in text:gmatch "([%w_]+)\t([^\n]*)" do t[name:lower()] = tonumber(value) or value end
  return t
end

local function look_at_replication(params, add)
  local text, why, number = ask(params, "show replica status\\G")
  if number == 1064 then text, why, number = ask(params, "show slave status\\G") end -- before MySQL 8.0.22, MariaDB 10.5
  if not text then
    if number == 1227 or number == 1045 then return log.info("replication cannot be seen by this user: " .. why) end
    error("cannot read the state of replication: " .. why)
  end
  local s = {}
  for name, value in text:gmatch "%s*([%w_]+): ([^\n]*)" do s[name:lower():gsub("master", "source"):gsub("slave", "replica")] = value end
  if not next(s) then return end
  local io, sql = s.replica_io_running or "?", s.replica_sql_running or "?"
  local lag = tonumber(s.seconds_behind_source)
  if io ~= "Yes" or sql ~= "Yes" then
    local last = s.last_sql_error ~= "" and s.last_sql_error or s.last_io_error or ""
    add("replication", "critical", "replication does not run",
      ("This replica of **%s** does not follow: receiving **%s**, applying **%s**.\n\n%s"):format(s.source_host or "?", io, sql, last))
  else
    local status = findings.level(lag, params.lag_warning, params.lag_critical)
    if status then
      add("replication", status, ("the replica is %s behind"):format(findings.span(lag)),
        ("This replica of **%s** shows data that is **%s** old."):format(s.source_host or "?", findings.span(lag)))
    end
  end
end

-- What a counter grew by a minute since the last look; nil in the first, or after a restart.
local function a_minute(before, now, name)
  local s = before and now.at - before.at
  if not s or s <= 0 or now.uptime < before.uptime or now[name] < before[name] then return nil end
  return (now[name] - before[name]) / s * 60
end

monitor{
  title = "MySQL and MariaDB",
  doc = [[
    Asks a MySQL or MariaDB server by its client: whether it answers, how many connections are used, how many queries
    are slow and logins fail a minute since the last look, and whether replication runs. The user needs no rights but
    to log in; to see replication, REPLICATION CLIENT (MariaDB: REPLICA MONITOR). The password is a secret of the configuration.
  ]],
  schedule = "* * * * *",
  timeout = "1m",
  tags = { "db", "mysql" },
  permissions = { "exec:/usr/bin/mysql", "secret:mysql" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    host    = { type = "string", default = "", order = 1, doc = "name, address, or path of the socket" },
    port    = { type = "integer", default = 3306, min = 1, max = 65535, order = 2, doc = "port" },
    user    = { type = "string", default = "root", order = 3, doc = "user" },
    secret  = { type = "string", default = "", order = 4, doc = "name of the secret with the password; none when empty" },
    timeout = { type = "duration", default = "15s", order = 5, doc = "how long an answer may take" },
    client  = { type = "string", default = "/usr/bin/mysql", order = 6, doc = "path of the client (mysql, mariadb); needs its own grant" },
    connections_warning  = { type = "number", default = 80, min = 0, order = 7, doc = "percent of connections; 0 is off" },
    connections_critical = { type = "number", default = 95, min = 0, order = 8, doc = "percent of connections; 0 is off" },
    slow_warning    = { type = "number", default = 10, min = 0, order = 9, doc = "slow queries a minute; 0 is off" },
    aborted_warning = { type = "number", default = 10, min = 0, order = 10, doc = "failed logins a minute; 0 is off" },
    lag_warning  = { type = "duration", default = "1m", order = 11, doc = "replication behind" },
    lag_critical = { type = "duration", default = "15m", order = 12, doc = "replication behind" },
  },
}
function run(params)
  if params.host == "" then return log.info "nothing to look at: set the parameter host" end
  local server = params.host:sub(1, 1) == "/" and params.host or params.host .. ":" .. params.port
  local events = {}
  local function add(check, status, title, message)
    events[#events + 1] = { title = ("MySQL %s: %s"):format(server, title), status = status, message = message,
      dimension_tags = { server = server, check = check } }
  end

  local text, why, number = ask(params, STATUS)
  if not text then
    if not SERVERS[number] then error("cannot log in or ask: " .. why) end
    add("reachable", "critical", "not reachable", ("`%s` does not let clients in: **%s**"):format(server, why))
    return findings.hidden(events[1])
  end
  local s = pairs_of(text)
  for _, name in ipairs { "threads_connected", "max_connections", "uptime", "slow_queries", "aborted_connects" } do
    if not s[name] then error("the server does not say " .. name) end
  end
  s.at = time.now()

  local used = s.threads_connected - 1 -- without this look
  local status = findings.level(used / s.max_connections * 100, params.connections_warning, params.connections_critical)
  if status then
    add("connections", status, ("%.0f %% of the connections are used"):format(used / s.max_connections * 100),
      ("**%d of %d** connections are used, %d at work; when none is left, clients are refused.")
        :format(used, s.max_connections, s.threads_running))
  end
  local before = store.get "counters"
  local slow, aborted = a_minute(before, s, "slow_queries"), a_minute(before, s, "aborted_connects")
  if findings.level(slow, params.slow_warning, 0) then
    add("slow", "warning", ("%.0f slow queries a minute"):format(slow),
      ("**%.1f** queries a minute took longer than **%g s**; the slow query log names them."):format(slow, s.long_query_time))
  end
  if findings.level(aborted, params.aborted_warning, 0) then
    add("aborted", "warning", ("%.0f failed logins a minute"):format(aborted),
      ("**%.1f** logins a minute fail: a wrong password, somebody who guesses, or a port scan."):format(aborted))
  end
  assert(store.set("counters", { at = s.at, uptime = s.uptime, slow_queries = s.slow_queries, aborted_connects = s.aborted_connects }))
  look_at_replication(params, add)
  log.info("asked", { version = s.version, connections = used, of = s.max_connections })
  findings.report(events)
end
