-- Redis servers: alive, with memory and connections left, replicating and saving.
local log = require "selfmon.log"
local net = require "selfmon.net"
local secret = require "selfmon.secret"
local target = require "lib.target"

-- Sends a command in Redis's protocol; a secret's length is written for us.
local function command(conn, ...)
  local parts = { ("*%d\r\n"):format(select("#", ...)) }
  for _, word in ipairs { ... } do
    for _, part in ipairs { "$", { length = word }, "\r\n", word, "\r\n" } do parts[#parts + 1] = part end
  end
  local ok, message, code = conn:send(table.unpack(parts))
  if not ok then return nil, message, code end
  local line
  line, message, code = conn:receive "line"
  if not line then return nil, message, code end
  local kind, rest = line:sub(1, 1), line:sub(2)
  if kind == "+" then return rest end
  if kind == "-" then return nil, rest, "redis" end
  local n = kind == "$" and math.tointeger(tonumber(rest))
  if not n or n < 0 or n > 1 << 20 then return nil, "it does not speak the protocol of Redis", "protocol" end
  local text
  text, message, code = conn:receive(n + 2)
  if not text then return nil, message, code end
  return text:sub(1, n)
end

-- "key:value" lines of INFO.
local function read_info(text)
  local info = {}
  for key, value in text:gmatch "([%w_]+):([^\r\n]*)" do info[key] = tonumber(value) or value end
  return info
end

local function mib(bytes)
  return ("%.1f MiB"):format(bytes / (1 << 20))
end

monitor{
  title = "Redis",
  doc = [[
    Asks each Redis server for PING and INFO. Reports one that does not answer, is short of memory (against
    its maxmemory) or of connections, is cut off from its master, or cannot save its data.

    A server with a password: the secret named in `password` (with `user` for ACLs); grant `secret:redis`.
  ]],
  schedule = "* * * * *",
  tags = { "db", "redis" },
  permissions = { "secret:redis" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "50s",
  params = {
    servers  = { type = "list", items = "string", default = {}, order = 1, doc = "host or host:port (6379)" },
    password = { type = "string", default = "", order = 2, doc = "name of the secret, such as redis; empty: none" },
    user     = { type = "string", default = "", order = 3, doc = "user of the ACL; empty: the default one" },
    tls      = { type = "boolean", default = false, order = 4, doc = "speak TLS" },
    memory   = { type = "number", default = 90, min = 0, max = 100, order = 5, doc = "percent of maxmemory that are a warning" },
    clients  = { type = "number", default = 80, min = 0, max = 100, order = 6, doc = "percent of maxclients that are a warning" },
    timeout  = { type = "duration", default = "5s", order = 7, doc = "how long each step may take" },
  },
}
function run(params)
  if #params.servers == 0 then return log.info "nothing to look at: set the parameter servers" end
  local key = params.password ~= "" and assert(secret(params.password)) or nil
  local reporter, unseen = EventReporter(), {}

  -- INFO of a server as a table, or nil, message, code.
  local function ask(host, port)
    local conn <close>, message, code = net.open(host, port, { timeout = params.timeout, tls = params.tls })
    if not conn then return nil, message, code end
    if key then
      local words = params.user ~= "" and { "AUTH", params.user, key } or { "AUTH", key }
      local ok
      ok, message, code = command(conn, table.unpack(words))
      if not ok then return nil, message, code end
    end
    local text
    text, message, code = command(conn, "PING")
    if text then text, message, code = command(conn, "INFO") end
    if not text then return nil, message, code end
    return read_info(text)
  end

  for _, server in ipairs(params.servers) do
    local function report(check, status, title, text)
      reporter:report{ title = server .. ": " .. title, status = status, message = text,
        dimension_tags = { server = server, check = check } }
    end
    local info, message, code = ask(target.split(server, 6379))
    if not info and code == "redis" and message:find "^LOADING" then
      report("alive", "warning", "is loading its data", ("`%s` reads its data from disk and answers nobody: %s"):format(server, message))
    elseif not info and code == "redis" then
      unseen[#unseen + 1] = server .. ": " .. message -- such as a wrong password: says nothing about its health
    elseif not info then
      report("alive", "critical", "does not answer", ("`%s` does not answer:\n\n- %s"):format(server, message))
    else
      local facts = ("\n\n- Redis %s, %s, up for %.1f days\n- memory %s of %s\n- %d clients, %d refused so far"):format(
        info.redis_version or "?", info.role or "?", (info.uptime_in_seconds or 0) / 86400, mib(info.used_memory or 0),
        (info.maxmemory or 0) > 0 and mib(info.maxmemory) or "no limit", info.connected_clients or 0,
        info.rejected_connections or 0)
      local used = (info.maxmemory or 0) > 0 and 100 * info.used_memory / info.maxmemory or 0
      if used > 0 and used >= params.memory then
        report("memory", used >= 98 and "critical" or "warning", ("%.0f %% of its memory is used"):format(used),
          ("`%s` uses **%.0f %%** of its maxmemory; %d keys were evicted so far (policy %s)."):format(server, used,
            info.evicted_keys or 0, info.maxmemory_policy or "?") .. facts)
      end
      local most = info.maxclients or 0
      if most > 0 and 100 * (info.connected_clients or 0) / most >= params.clients then
        report("clients", "warning", ("%d of %d connections"):format(info.connected_clients, most),
          ("`%s` has **%d of %d** connections; further ones are refused."):format(server, info.connected_clients, most) .. facts)
      end
      if info.role == "slave" and info.master_link_status ~= "up" then
        report("replication", "critical", "is cut off from its master",
          ("`%s` has had no link to its master `%s:%s` for **%s s**: its data grows old."):format(server,
            info.master_host or "?", info.master_port or "?", info.master_link_down_since_seconds or "?") .. facts)
      end
      if info.rdb_last_bgsave_status == "err" or info.aof_last_write_status == "err" or info.aof_last_bgrewrite_status == "err" then
        report("saving", "critical", "cannot save its data", ("`%s` **cannot save** its data: snapshot %s, log write %s, log rewrite %s. "
          .. "A full disk or missing rights are the usual reasons; %d changes are in memory only."):format(server,
            info.rdb_last_bgsave_status or "?", info.aof_last_write_status or "-", info.aof_last_bgrewrite_status or "-",
            info.rdb_changes_since_last_save or 0) .. facts)
      end
    end
  end
  if #unseen > 0 then error("cannot see: " .. table.concat(unseen, "; "), 0) end
end
