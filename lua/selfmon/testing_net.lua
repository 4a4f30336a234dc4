-- selfmon.testing_net: the network of a spec, for selfmon.net: t.net("tcp db.example:5432", answer).
--
-- A route is a word (tcp tls open dns ping ntp), a blank and what is asked for: HOST:PORT, for dns NAME TYPE,
-- for ping HOST; `*` stands for any text. The newest route counts. What has no route fails run and spec.
local clock = require "selfmon.testing_clock"

local M = { api = {} }

local routes, requests, conns

function M.reset()
  routes, requests, conns = {}, {}, {}
end
M.reset()

local WORDS = { tcp = "tcp db.example:5432", tls = "tls shop.example:443", open = "open redis.example:6379",
                dns = "dns shop.example MX", ping = "ping gw.example", ntp = "ntp time.example:123" }

local function pattern_of(text)
  return "^" .. text:lower():gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

--- Answers selfmon.net from now on, in this test. `answer` is true (all is well), a table of what should
--- differ, {error=, code=}, for tls also {verified=false, error=, problems=}, for dns also a list of values, or a function(request) that returns one of them.
--- For open: {greeting=, talk=}, where talk is function(sent) -> reply, {[sent] = reply}, or a list of
--- {sent, reply} in this order; a reply of false closes the connection.
function M.api.net(route, answer)
  local what, target = tostring(route):match "^(%l+)%s+(%S.*)$"
  if not WORDS[what] then
    error(('t.net: expected a route such as "tcp db.example:5432" (tcp, tls, open, dns, ping, ntp), got %s'):format(
      type(route) == "string" and ("%q"):format(route) or type(route)), 2)
  end
  if what == "dns" and not target:find "%s" and target ~= "*" then target = target .. " A" end
  if what == "tls" and not target:find ":%d+$" and not target:find "%*$" then target = target .. ":443" end
  if what == "ntp" and not target:find ":%d+$" and not target:find "%*$" then target = target .. ":123" end
  if answer ~= true and type(answer) ~= "table" and type(answer) ~= "function" then
    error(("t.net: expected true, a table or a function as the answer to %s, got %s"):format(route, type(answer)), 2)
  end
  table.insert(routes, 1, { what = what, pattern = pattern_of(target), answer = answer })
end

--- What the runs of this test asked of selfmon.net, in order: {what=, host=, port=, …, sent=}.
function M.api.net_requests()
  return requests
end

local function target_of(args)
  if args.what == "dns" then return args.name .. " " .. args.type:lower() end
  if args.what == "ping" then return args.host end
  return (args.host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(args.host, args.port or 123)
end

local function merge(base, more)
  for k, v in pairs(more) do base[k] = v end
  return base
end

local CERT = { "subject", "issuer", "not_before", "not_after", "san", "serial", "sha256", "key", "signature" }

local function tls_answer(args, a)
  local leaf = { subject = "CN=" .. args.host, issuer = "CN=Some CA", san = { args.host }, not_before = 1700000000,
                 not_after = 1900000000, days_left = a.days_left or 60, serial = "01", sha256 = ("0"):rep(64),
                 key = "RSA 2048", signature = "RSA-SHA256" }
  for _, k in ipairs(CERT) do leaf[k], a[k] = a[k] or leaf[k], nil end
  local full = { protocol = "TLSv1.3", cipher = "TLS_AES_256_GCM_SHA384", ip = "192.0.2.1", port = args.port,
                 chain = { leaf }, days_left = leaf.days_left, problems = {}, verified = true,
                 timings = { dns = 0.001, connect = 0.002, tls = 0.003, total = 0.006 } }
  return merge(full, a)
end

local function full_answer(args, a)
  if args.what == "tls" then return tls_answer(args, a) end
  if args.what == "dns" then
    local values = a.values
    if a[1] ~= nil then
      values = table.move(a, 1, #a, 1, {})
      for i = #a, 1, -1 do a[i] = nil end
    end
    values = values or {}
    local records = {}
    for i, v in ipairs(values) do records[i] = { name = args.name, type = args.type, ttl = 300, value = v } end
    return merge({ rcode = "NOERROR", authoritative = false, truncated = false, records = records, values = values,
                   ttl = values[1] and 300, server = (args.server or "192.0.2.53") .. ":53", protocol = "udp",
                   timings = { total = 0.002 } }, a)
  end
  if args.what == "ping" then
    local sent = a.sent or args.count or 3
    local received = a.received or sent
    local got = received > 0 and (a.avg or 0.01) or nil
    return merge({ sent = sent, received = received, loss = (sent - received) / sent, ip = "192.0.2.1", min = got,
                   avg = got, max = got, stdev = got and 0 }, a)
  end
  if args.what == "ntp" then
    return merge({ offset = 0, delay = 0.01, stratum = 2, leap = 0, time = clock.now(), root_delay = 0,
                   root_dispersion = 0, ip = "192.0.2.1" }, a)
  end
  return merge({ ip = "192.0.2.1", port = args.port, timings = { dns = 0.001, connect = 0.002, total = 0.003 } }, a)
end

-- Conversations -------------------------------------------------------------------------------------

local function reply_to(conn, sent)
  local talk = conn.talk
  if type(talk) == "function" then return talk(sent) end
  if type(talk) ~= "table" then return nil end
  if talk[1] == nil then
    local reply = talk[sent]
    if reply == nil then reply = talk["*"] end
    if reply == nil then error(("the conversation with %s has no answer to %q"):format(conn.name, sent), 0) end
    return reply
  end
  conn.pending = (conn.pending or "") .. sent
  local step = talk[conn.step]
  if not step then error(("%s: the conversation is over, but the script says %q"):format(conn.name, sent), 0) end
  if #conn.pending < #step[1] and step[1]:sub(1, #conn.pending) == conn.pending then return nil end
  if conn.pending ~= step[1] then
    error(("%s: the conversation expects %q, but the script says %q"):format(conn.name, step[1], conn.pending), 0)
  end
  conn.pending, conn.step = nil, conn.step + 1
  return step[2]
end

local function on_conn(args, body)
  local conn = conns[args.conn]
  if args.what == "send" then
    local reply = reply_to(conn, body)
    if reply == false then conn.closed = true end
    if type(reply) == "string" then conn.inbox = conn.inbox .. reply end
    return true
  end
  if args.what ~= "receive" then return true end
  local take, text
  if args.how == "line" then
    take = conn.inbox:find("\n", 1, true)
    text = take and conn.inbox:sub(1, take):gsub("\r?\n$", "")
  elseif args.how == "available" then
    take = #conn.inbox > 0 and #conn.inbox or nil
  elseif #conn.inbox >= args.bytes then
    take = args.bytes
  end
  if take then
    text = text or conn.inbox:sub(1, take)
    conn.inbox = conn.inbox:sub(take + 1)
    return true, text
  end
  if conn.closed then return nil, conn.name .. ": closed the connection", "closed" end
  clock.pass(args.timeout or 10)
  return nil, conn.name .. ": did not answer in time", "timeout"
end

--- Called by selfmon.testing for each step of a run in the network.
function M.ask(args, body, where)
  if args.conn then return on_conn(args, body) end
  local target = target_of(args)
  requests[#requests + 1] = merge({ sent = body }, args)
  for _, r in ipairs(routes) do
    if r.what == args.what and target:find(r.pattern) then
      local a = r.answer
      if type(a) == "function" then a = a(requests[#requests]) end
      if a == true then a = {} end
      if type(a) ~= "table" then
        error(("the fake route %s %s must give true or a table, got %s"):format(r.what, target, type(a)), 0)
      end
      local took = type(a.timings) == "table" and a.timings.total
      clock.pass(took or a.code == "timeout" and (args.timeout or 10))
      local seen = a.verified == false or a.problems -- a certificate that is no good is an answer
      if a.error and not seen then return nil, a.error, a.code or "connect" end
      a = merge({}, a)
      if args.what == "open" then
        local conn = { name = target, inbox = a.greeting or "", talk = a.talk, step = 1 }
        conns[#conns + 1] = conn
        return { conn = #conns, ip = "192.0.2.1", port = args.port, protocol = args.tls and "TLSv1.3",
                 timings = { dns = 0.001, connect = 0.002, total = 0.003 } }
      end
      return full_answer(args, a)
    end
  end
  local shown = args.what == "dns" and ("%s %s"):format(args.name, args.type) or target
  return nil, ('unfaked net.%s %s%s; add t.net("%s %s", {…})'):format(args.what, shown,
    where and where ~= "" and " (" .. where .. ")" or "", args.what, shown), "unfaked"
end

return M
