-- Monitoring plugins (Nagios, Icinga, Monitoring Plugins) as they are: their word becomes an event.
local exec = require "selfmon.exec"
local host = require "selfmon.host"
local log = require "selfmon.log"

-- The words of a command line; quotes and backslashes as a shell has them, and nothing else of it.
local function words_of(line)
  local words, word, quote, i = {}, nil, nil, 1
  while i <= #line do
    local c = line:sub(i, i)
    if c == "\\" and quote ~= "'" then
      i = i + 1
      word = (word or "") .. line:sub(i, i)
    elseif quote then
      if c == quote then quote = nil else word = word .. c end
    elseif c == "'" or c == '"' then
      quote, word = c, word or ""
    elseif c:find "%s" then
      words[#words + 1], word = word, nil
    else
      word = (word or "") .. c
    end
    i = i + 1
  end
  if quote then error("a quote is not closed in: " .. line) end
  words[#words + 1] = word
  return words
end

local function figures(r)
  local lines = {}
  for i, p in ipairs(r.perfdata) do
    if i > 20 then lines[#lines + 1] = ("- and %d more"):format(#r.perfdata - 20) break end
    local limits = (p.warn and ", warning " .. p.warn.text or "") .. (p.crit and ", critical " .. p.crit.text or "")
    lines[#lines + 1] = ("- %s **%s**%s"):format(p.label, p.value and ("%.14g %s"):format(p.value, p.unit) or "unknown", limits)
  end
  return table.concat(lines, "\n")
end

monitor{
  title = "Monitoring plugins",
  doc = [[
    Runs monitoring plugins and reports what they say: WARNING is a warning, CRITICAL critical; OK recovers.
    Performance data stands in the message.
  ]],
  schedule = "*/5 * * * *",
  timeout = "5m",
  tags = { "nagios" },
  permissions = { "exec:/usr/lib/nagios/plugins/*" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    plugins = { type = "list", items = "string", default = {}, order = 1,
      doc = "command lines such as /usr/lib/nagios/plugins/check_swap -w 20% -c 10%, with a name before them "
        .. "where it is of use: swap = /usr/lib/…; words may be quoted, there is no shell" },
    timeout = { type = "duration", default = "30s", order = 2, doc = "how long a plugin may take" },
    unknown = { type = "string", default = "fail", enum = { "fail", "warning", "error", "critical", "ignore" }, order = 3,
      doc = "what UNKNOWN is: a failure of this inspection, an event, or nothing" },
  },
}
function run(params)
  if #params.plugins == 0 then return log.info "nothing to look at: set the parameter plugins" end
  local machine, events, blind = host.name(), {}, {}
  for _, line in ipairs(params.plugins) do
    local name, rest = line:match "^%s*([^/=][^=]-)%s*=%s*(/.*)$"
    local command = rest or line
    local words = words_of(command)
    local cmd = table.remove(words, 1) or error("an empty command line in the parameter plugins")
    name = name or command
    local r, err, code = exec.nagios{ cmd = cmd, args = words, timeout = params.timeout }
    if not r and code ~= "timeout" then
      blind[#blind + 1] = name .. ": " .. err
    else
      r = r or { status = "unknown", text = err, long_text = "", perfdata = {} }
      local status = r.status
      if status == "unknown" then status = params.unknown end
      if status == "fail" then
        blind[#blind + 1] = name .. ": " .. r.text
      elseif status ~= "ok" and status ~= "ignore" then
        local parts = { ("**%s** on %s says %s:"):format(name, machine, r.status:upper()), r.text, r.long_text, figures(r) }
        for i = #parts, 1, -1 do if parts[i] == "" then table.remove(parts, i) end end
        events[#events + 1] = { title = (rest and name or cmd:match "[^/]*$") .. ": " .. r.text, status = status,
          message = table.concat(parts, "\n\n"), dimension_tags = { host = machine, check = name } }
      end
    end
  end
  EventReporter():report(events)
  if blind[1] then error("could not see: " .. table.concat(blind, "; ")) end
end
