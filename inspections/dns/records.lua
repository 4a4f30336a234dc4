-- DNS records that should be there, and be what they were.
local log = require "selfmon.log"
local net = require "selfmon.net"
local store = require "selfmon.store"

local TYPES = { A = true, AAAA = true, CNAME = true, MX = true, NS = true, TXT = true, SOA = true, SRV = true, CAA = true,
  PTR = true }

-- a.example TXT "x y" z  ->  a.example, TXT, { "x y", "z" }
local function parse(text)
  local words, at = {}, 1
  while true do
    local _, last, word = text:find('^%s*"([^"]*)"', at)
    if not last then _, last, word = text:find("^%s*(%S+)", at) end
    if not last then break end
    words[#words + 1], at = word, last + 1
  end
  local name, kind = table.remove(words, 1), words[1] and words[1]:upper()
  if not name then error(("%q is no record: write NAME [TYPE] [VALUE …]"):format(text), 0) end
  if TYPES[kind] then table.remove(words, 1) else kind = "A" end
  table.sort(words)
  return name, kind, words
end

local function shown(values)
  return #values > 0 and "`" .. table.concat(values, "`, `") .. "`" or "nothing"
end

monitor{
  title = "DNS records",
  doc = [[
    Asks for each record and compares the answer with the one expected. A record without an expected
    answer must exist, and is compared with the answer of the run before: a change is reported as info, once.

    Records are written `NAME [TYPE] [VALUE …]`: `shop.example`, `shop.example MX`,
    `shop.example A 192.0.2.7 192.0.2.8`. A value with blanks, such as of TXT, stands in quotes; of
    MX write `"10 mail.example"`.
  ]],
  schedule = "*/5 * * * *",
  tags = { "dns" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "2m",
  params = {
    records = { type = "list", items = "string", default = {}, order = 1, doc = "NAME [TYPE] [VALUE …]" },
    server  = { type = "string", default = "", order = 2, doc = "address of the name server, with :port; empty: the system's" },
    timeout = { type = "duration", default = "5s", order = 3, doc = "how long an answer may take" },
    changes = { type = "boolean", default = true, order = 4, doc = "report that an answer changed" },
  },
}
function run(params)
  if #params.records == 0 then return log.info "nothing to look at: set the parameter records" end
  local reporter, calls, wanted = EventReporter(), {}, {}
  for i, text in ipairs(params.records) do
    local name, kind, values = parse(text)
    wanted[i] = values
    calls[i] = { "dns", name, kind, { server = params.server ~= "" and params.server or nil, timeout = params.timeout } }
  end
  for i, res in ipairs(net.all(calls)) do
    local name, kind, want = calls[i][2], calls[i][3], wanted[i]
    local key = name .. " " .. kind
    local function report(status, title, text)
      reporter:report{ title = ("%s: %s"):format(key, title), status = status, message = text,
        dimension_tags = { name = name, type = kind } }
    end
    local values = res.values or {}
    table.sort(values)
    if res.error then
      report("critical", "no answer", ("The %s record of `%s` cannot be looked up:\n\n- %s"):format(kind, name, res.error))
    elseif res.rcode ~= "NOERROR" then
      report("critical", res.rcode == "NXDOMAIN" and "the name does not exist" or res.rcode,
        ("The name server %s answers **%s** for `%s`."):format(res.server, res.rcode, name))
    elseif #values == 0 then
      report("critical", "no such record", ("`%s` exists, but has no %s record, says %s."):format(name, kind, res.server))
    elseif #want > 0 then
      if table.concat(want, "\n") ~= table.concat(values, "\n") then
        report("error", "not as expected", ([[
          The %s record of `%s` is not what it should be.

          - expected: %s
          - answered: %s
          - by %s, for %d more seconds
        ]]):format(kind, name, shown(want), shown(values), res.server, res.ttl or 0))
      end
    elseif params.changes then
      local before = store.get(key)
      if before and table.concat(before, "\n") ~= table.concat(values, "\n") then
        report("info", "changed", ("The %s record of `%s` changed.\n\n- before: %s\n- now: %s"):format(kind, name,
          shown(before), shown(values)))
      end
      if not before or table.concat(before, "\n") ~= table.concat(values, "\n") then assert(store.set(key, values)) end
    end
  end
end
