-- A PostgreSQL server, through psql: reachable, connections, long transactions, replication, deadlocks, wraparound.
local exec = require "selfmon.exec"
local findings = require "lib.findings"
local json = require "cjson"
local log = require "selfmon.log"
local secret = require "selfmon.secret"
local store = require "selfmon.store"

local SQL = [[
select json_build_object(
  'version', current_setting('server_version'), 'standby', pg_is_in_recovery(),
  'sees', pg_has_role(current_user, 'pg_read_all_stats', 'usage'),
  'max', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
  'used', (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()),
  'longest', (select json_build_object('pid', pid, 'user', usename, 'database', datname, 'state', state,
      'seconds', extract(epoch from clock_timestamp() - xact_start))
    from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start is not null
    order by xact_start limit 1),
  'waiting', (select count(*) from pg_stat_activity where wait_event_type = 'Lock'),
  'deadlocks', (select sum(deadlocks) from pg_stat_database),
  'oldest', (select json_build_object('database', datname, 'age', age(datfrozenxid)) from pg_database
    order by age(datfrozenxid) desc limit 1),
  'lag', case when pg_is_in_recovery() then case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
    else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end end,
  'replicas', (select json_agg(json_build_object('name', application_name, 'address', client_addr::text, 'state', state,
      'lag', extract(epoch from replay_lag))) from pg_stat_replication))
]]

-- What the client says when it is our configuration that is wrong, not the server.
local OURS = { "authentication failed", "no pg_hba.conf entry", "role \".-\" does not exist", "database \".-\" does not exist",
               "no password supplied", "could not translate host name" }

local function ask(params)
  local r, err, code = exec.run{ cmd = params.client, timeout = params.timeout,
    args = { "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password", "--set=ON_ERROR_STOP=1", "--command", SQL },
    env = { PGHOST = params.host, PGPORT = params.port, PGUSER = params.user, PGDATABASE = params.database,
      PGSSLMODE = params.sslmode, PGCONNECT_TIMEOUT = math.max(2, params.timeout // 2), PGAPPNAME = "selfmon-lua",
      PGOPTIONS = ("-c statement_timeout=%d"):format(params.timeout * 1000),
      PGPASSWORD = params.secret ~= "" and assert(secret(params.secret)) or nil } }
  if not r and code == "timeout" then return nil, "it does not answer within " .. findings.span(params.timeout) end
  if not r then error("cannot run psql: " .. err) end
  if r.code == 0 then return json.decode(r.stdout) end
  local why = findings.first_line(r.stderr)
  for _, pattern in ipairs(OURS) do
    if r.stderr:find(pattern) then error("cannot log in: " .. why) end
  end
  if r.code == 2 then return nil, why end
  error("cannot read the server's figures: " .. why)
end

local function look(params, s, add)
  local level, span = findings.level, findings.span
  local used = s.max > 0 and s.used / s.max * 100 or 0
  local status = level(used, params.connections_warning, params.connections_critical)
  if status then
    add("connections", status, ("%.0f %% of the connections are used"):format(used),
      ("**%d of %d** connections are used; when none is left, clients are refused."):format(s.used, s.max))
  end
  local long = s.longest
  status = long and level(long.seconds, params.transaction_warning, params.transaction_critical)
  if status then
    add("transaction", status, ("a transaction is open for %s"):format(span(long.seconds)),
      ("A transaction of **%s** on **%s** is open for **%s** (%s). It holds back vacuum; %d sessions wait for locks.\n\n"
        .. "End it: `select pg_terminate_backend(%d)`"):format(long.user, long.database, span(long.seconds),
        long.state or "unknown", s.waiting, long.pid))
  end
  status = level(s.lag, params.lag_warning, params.lag_critical)
  if status then
    add("replication", status, ("the standby is %s behind"):format(span(s.lag)),
      ("This standby shows data that is **%s** old."):format(span(s.lag)))
  end
  for _, replica in ipairs(s.replicas or {}) do
    local name = replica.name ~= "" and replica.name or replica.address or "local"
    status = level(replica.lag, params.lag_warning, params.lag_critical) or (replica.state ~= "streaming" and "warning")
    if status then
      add("replica " .. name, status, ("the standby %s is %s"):format(name,
          replica.lag and span(replica.lag) .. " behind" or replica.state),
        ("The standby **%s** is in state **%s**, **%s** behind."):format(name, replica.state,
          replica.lag and span(replica.lag) or "unknown"))
    end
  end
  local old, before = s.oldest.age / 1e6, store.get "deadlocks"
  status = level(old, params.age_warning, params.age_critical)
  if status then
    add("wraparound", status, ("%s has transactions %.0f million old"):format(s.oldest.database, old),
      ("The oldest transaction of **%s** is **%.0f million** transactions ago; at about 2,100 million the server stops "
        .. "taking writes.\n\nRun `vacuum freeze` there, and look for what holds it back."):format(s.oldest.database, old))
  end
  local fresh = before and s.deadlocks >= before and s.deadlocks - before or 0
  if params.deadlocks > 0 and fresh >= params.deadlocks then
    add("deadlocks", "warning", ("%d new deadlocks"):format(fresh),
      ("**%d** deadlocks since the last look: transactions were cancelled."):format(fresh))
  end
  assert(store.set("deadlocks", s.deadlocks))
end

monitor{
  title = "PostgreSQL",
  doc = [[
    Asks a PostgreSQL server by psql: whether it answers, how many connections are used, how long the oldest
    transaction is open, how far replication is behind, new deadlocks, and the distance to transaction wraparound.
    The user should be a member of pg_monitor. The password is a secret of the configuration.
  ]],
  schedule = "* * * * *",
  timeout = "1m",
  tags = { "db", "postgresql" },
  permissions = { "exec:/usr/bin/psql", "secret:postgresql" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    host     = { type = "string", default = "", order = 1, doc = "name, address or folder of the socket" },
    port     = { type = "integer", default = 5432, min = 1, max = 65535, order = 2, doc = "port" },
    user     = { type = "string", default = "postgres", order = 3, doc = "user, best a member of pg_monitor" },
    database = { type = "string", default = "postgres", order = 4, doc = "database to log in to" },
    secret   = { type = "string", default = "", order = 5, doc = "name of the secret with the password; none when empty" },
    sslmode  = { type = "string", default = "prefer", order = 6, enum = { "disable", "allow", "prefer", "require", "verify-ca",
      "verify-full" }, doc = "as libpq has it" },
    timeout  = { type = "duration", default = "15s", order = 7, doc = "how long all of it may take" },
    client   = { type = "string", default = "/usr/bin/psql", order = 8, doc = "path of psql; needs its own grant" },
    connections_warning  = { type = "number", default = 80, min = 0, order = 9, doc = "percent of connections; 0 is off" },
    connections_critical = { type = "number", default = 95, min = 0, order = 10, doc = "percent of connections; 0 is off" },
    transaction_warning  = { type = "duration", default = "15m", order = 11, doc = "age of the oldest transaction" },
    transaction_critical = { type = "duration", default = "2h", order = 12, doc = "age of the oldest transaction" },
    lag_warning  = { type = "duration", default = "1m", order = 13, doc = "replication behind" },
    lag_critical = { type = "duration", default = "15m", order = 14, doc = "replication behind" },
    age_warning  = { type = "number", default = 500, min = 0, order = 15, doc = "age of a database, million transactions" },
    age_critical = { type = "number", default = 1500, min = 0, order = 16, doc = "age of a database, million transactions" },
    deadlocks    = { type = "integer", default = 5, min = 0, order = 17, doc = "new deadlocks between two looks; 0 is off" },
  },
}
function run(params)
  if params.host == "" then return log.info "nothing to look at: set the parameter host" end
  local server = params.host .. ":" .. params.port
  local events = {}
  local function add(check, status, title, message)
    events[#events + 1] = { title = ("PostgreSQL %s: %s"):format(server, title), status = status, message = message,
      dimension_tags = { server = server, check = check } }
  end

  local s, why = ask(params)
  if not s then
    add("reachable", "critical", "not reachable", ("`%s` does not let clients in: **%s**"):format(server, why))
    return findings.hidden(events[1])
  end
  for key, value in pairs(s) do if value == json.null then s[key] = nil end end
  if s.longest then for key, value in pairs(s.longest) do if value == json.null then s.longest[key] = nil end end end
  for _, replica in ipairs(s.replicas or {}) do
    for key, value in pairs(replica) do if value == json.null then replica[key] = nil end end
  end
  if not s.sees then log.warn "this user is no member of pg_monitor: it sees neither transactions of others nor replication" end
  look(params, s, add)
  log.info("asked", { version = s.version, connections = s.used, of = s.max, waiting = s.waiting, age = s.oldest.age })
  findings.report(events)
end
