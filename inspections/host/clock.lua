-- A clock that is off: certificates, tokens, logs and schedules are wrong then.
local host = require "selfmon.host"
local log = require "selfmon.log"
local net = require "selfmon.net"

monitor{
  title = "Clock offset",
  doc = [[
    Asks time servers how far this machine's clock is off, and takes the median of those that answer: one
    server that is wrong is outvoted by two that are right.
  ]],
  schedule = "H/10 * * * *",
  tags = { "host", "net" },
  events = { recover = true, on_change = true, remind = "1d", confirm = { fail = 2 } },
  params = {
    servers  = { type = "list", items = "string", default = {}, order = 1,
      doc = "time servers, such as pool.ntp.org; better three than one" },
    warning  = { type = "duration", default = "500ms", order = 2, doc = "offset that is a warning" },
    critical = { type = "duration", default = "5s", order = 3, doc = "offset that is critical" },
    timeout  = { type = "duration", default = "5s", order = 4, doc = "how long an answer may take" },
  },
}
function run(params)
  if #params.servers == 0 then return log.info "nothing to look at: set the parameter servers" end
  local calls, found, lines, failed = {}, {}, {}, {}
  for i, server in ipairs(params.servers) do
    local name, port = server:match "^([^:]+):(%d+)$"
    calls[i] = { "ntp", name or server, { timeout = params.timeout, port = port and math.tointeger(tonumber(port)) } }
  end
  for i, res in ipairs(net.all(calls)) do
    if res.error then
      failed[#failed + 1] = res.error
    else
      found[#found + 1] = res.offset
      lines[#lines + 1] = ("- %s: %+.3f s (stratum %d, answer in %.1f ms)"):format(params.servers[i], res.offset, res.stratum,
        res.delay * 1000)
    end
  end
  if #found == 0 then error("no time server answers: " .. table.concat(failed, "; "), 0) end
  for _, message in ipairs(failed) do log.warn(message) end

  table.sort(found)
  local middle = #found // 2
  local offset = #found % 2 == 1 and found[middle + 1] or (found[middle] + found[middle + 1]) / 2
  local off = math.abs(offset)
  if off < math.min(params.warning, params.critical) then return end
  local name = host.name()
  EventReporter():report{
    title = ("%s: the clock is %.2f s %s"):format(name, off, offset > 0 and "behind" or "ahead"),
    status = off >= params.critical and "critical" or "warning",
    message = ([[
      The clock of **%s** is **%.3f s %s**, by %d of %d time servers.

      %s
      - warning from %g s, critical from %g s
      - who keeps it: `timedatectl`, `chronyc tracking`
    ]]):format(name, off, offset > 0 and "behind" or "ahead", #found, #params.servers, table.concat(lines, "\n      "),
      params.warning, params.critical),
    dimension_tags = { host = name },
  }
end
