-- The first inspection: how much of this machine's memory is in use. Change something, save: the next run uses it.
local host = require "selfmon.host"

monitor<title = "Memory of this machine",
  doc = [[
    Reports how much memory is in use, and warns when it is too much.
  ]],
  schedule = "@every 5s",         -- often, to try things; "*/5 * * * *" is every five minutes
  timeout = "3s",
  events = { on_change = true },  -- the same status is sent once, not at each run
  params = {
    warning = { type = "number", default = 90, min = 0, max = 100, doc = "percent in use that is a warning" },
  }>
function run(params)
  local memory = assert(host.memory())
  local name = host.name()
  EventReporter():report{
    title = ("%s: %.0f %% of memory in use"):format(name, memory.percent),
    status = memory.percent >= params.warning and "warning" or "info",
    message = ("**%s** uses **%.1f GiB** of %.1f GiB; a warning from %g %% on."):format(name, memory.used / 2^30,
      memory.total / 2^30, params.warning),
    dimension_tags = { host = name },
  }
end
