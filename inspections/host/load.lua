-- A machine with more work than cores for some minutes.
local host = require "selfmon.host"

monitor{
  title = "Load per core",
  doc = [[
    The load average is the number of tasks that run, want to run, or wait for a disk. Divided by the
    number of cores it can be compared between machines: above 1 there is more work than cores.
  ]],
  schedule = "* * * * *",
  tags = { "host" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    warning  = { type = "number", default = 2, min = 0, order = 1, doc = "load per core that is a warning" },
    critical = { type = "number", default = 4, min = 0, order = 2, doc = "load per core that is critical" },
    minutes  = { type = "integer", default = 5, enum = { 1, 5, 15 }, order = 3,
      doc = "which average: over 1, 5 or 15 minutes" },
  },
}
function run(params)
  local l, err = host.load()
  if not l then error("cannot read the load of this machine: " .. err) end
  local name = host.name()
  local load = ({ [1] = l.one, [5] = l.five, [15] = l.fifteen })[params.minutes]
  local per_core = load / l.cores
  if per_core < math.min(params.warning, params.critical) then return end

  EventReporter():report{
    title = ("%s: load %.1f per core"):format(name, per_core),
    status = per_core >= params.critical and "critical" or "warning",
    message = ([[
      **%s** had a load of **%.2f** on %d cores over %d minutes: **%.1f per core**.

      - last minute %.2f, 5 minutes %.2f, 15 minutes %.2f
      - %d of %d tasks were running; many waiting tasks and an idle CPU mean a slow disk
      - warning from %g per core, critical from %g
      - who works: `top`, who waits for a disk: `ps axo stat,pid,comm | grep ^D`
    ]]):format(name, load, l.cores, params.minutes, per_core, l.one, l.five, l.fifteen,
      l.running, l.threads, params.warning, params.critical),
    dimension_tags = { host = name },
  }
end
