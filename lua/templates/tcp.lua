-- @TITLE@: opens ports and reports those that do not answer.
local net = require "selfmon.net"

monitor<title = "@TITLE@",
  doc = [[
    Connects to each target and reports those that do not answer, or answer slowly.
  ]],
  schedule = "* * * * *",
  timeout = "30s",
  events = { recover = true, on_change = true, confirm = { fail = 2 }, remind = "1d" },
  params = {
    targets = { type = "list", items = "string", default = { "localhost:22" }, order = 1, doc = "HOST:PORT, one a line" },
    max_ms  = { type = "number", default = 500, min = 1, order = 2, doc = "slower than this is a warning" },
  }>
function run(params)
  local reporter = EventReporter()
  for _, target in ipairs(params.targets) do
    local host, port = target:match "^(.+):(%d+)$"
    if not host then error(("parameter targets: expected HOST:PORT, got %q"):format(target)) end
    local status, message
    local answer, err = net.tcp(host, tonumber(port), { timeout = 5 })
    if not answer then
      status, message = "critical", ("`%s` does not answer: %s"):format(target, err)
    elseif answer.timings.total * 1000 > params.max_ms then
      status, message = "warning", ("`%s` took **%.0f ms** to connect; more than %g ms is slow."):format(target,
        answer.timings.total * 1000, params.max_ms)
    end
    if status then
      reporter:report{
        title = ("%s: %s"):format(target, status == "critical" and "no answer" or "slow"),
        status = status, message = message, dimension_tags = { target = target },
      }
    end
  end
end
