-- Hosts that should answer pings, without loss and quickly.
local log = require "selfmon.log"
local net = require "selfmon.net"
local target = require "lib.target"

monitor{
  title = "Ping",
  doc = [[
    Pings each host some times. Reports one that does not answer, answers too little, or answers late.
    The kernel must allow this to the daemon's group: sysctl net.ipv4.ping_group_range.
  ]],
  schedule = "* * * * *",
  tags = { "net" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "50s",
  params = {
    hosts   = { type = "list", items = "string", default = {}, order = 1, doc = "names or addresses" },
    count   = { type = "integer", default = 5, min = 1, max = 100, order = 2, doc = "how many pings" },
    loss    = { type = "number", default = 20, min = 0, max = 100, order = 3, doc = "percent lost that are a warning" },
    slow    = { type = "duration", default = "200ms", order = 4, doc = "an average that is a warning" },
    timeout = { type = "duration", default = "1s", order = 5, doc = "how long an answer may take" },
  },
}
function run(params)
  if #params.hosts == 0 then return log.info "nothing to look at: set the parameter hosts" end
  local reporter, calls = EventReporter(), {}
  for i, host in ipairs(params.hosts) do
    calls[i] = { "ping", host, { count = params.count, timeout = math.min(params.timeout, 60) } }
  end
  for i, res in ipairs(net.all(calls)) do
    local host = params.hosts[i]
    local function report(status, title, text)
      reporter:report{ title = host .. ": " .. title, status = status, message = text, dimension_tags = { target = host } }
    end
    if res.code == "denied" then
      error(res.error, 0) -- says nothing about the host
    elseif res.error then
      report("critical", "cannot be pinged", ("`%s` cannot be pinged: %s"):format(host, res.error))
    elseif res.received == 0 then
      report("critical", "does not answer pings", ("`%s` (%s) answered **none of %d** pings within %s each.%s"):format(host,
        res.ip, res.sent, target.seconds(params.timeout), res.reason and "\n\n- the network says: " .. res.reason or ""))
    elseif (res.loss > 0 and res.loss * 100 >= params.loss) or res.avg > params.slow then
      report("warning", res.loss * 100 >= params.loss and res.loss > 0 and ("%.0f %% of pings are lost"):format(res.loss * 100)
        or ("slow: %s"):format(target.seconds(res.avg)), ([[
        `%s` (%s) answered **%d of %d** pings, on average in **%s**.

        - fastest %s, slowest %s, deviation %s
        - warning from %g %% lost, or more than %s on average
      ]]):format(host, res.ip, res.received, res.sent, target.seconds(res.avg), target.seconds(res.min), target.seconds(res.max),
        target.seconds(res.stdev), params.loss, target.seconds(params.slow)))
    end
  end
end
