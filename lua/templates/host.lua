-- @TITLE@: reads figures of this machine.
local host = require "selfmon.host"

monitor<title = "@TITLE@",
  doc = [[
    Reports a load that is high for the number of cores.
  ]],
  schedule = "*/5 * * * *",
  timeout = "10s",
  events = { recover = true, on_change = true, confirm = { fail = 2 } },
  params = {
    warning  = { type = "number", default = 2, min = 0, order = 1, doc = "load per core that is a warning" },
    critical = { type = "number", default = 5, min = 0, order = 2, doc = "load per core that is critical" },
  }>
function run(params)
  local load, err = host.load()
  if not load then error("cannot read the load of this machine: " .. err) end
  local per_core = load.five / load.cores
  if per_core < math.min(params.warning, params.critical) then return end
  local name = host.name()
  EventReporter():report{
    title = ("%s: load is %.1f per core"):format(name, per_core),
    status = per_core >= params.critical and "critical" or "warning",
    message = ("**%s** has had a load of **%.2f** on %d cores for five minutes.\n\nWhat runs: `top -o %%CPU`")
      :format(name, load.five, load.cores),
    dimension_tags = { host = name },
  }
end
