-- A CPU that is busy, waits for disks, or is taken by other virtual machines.
local host = require "selfmon.host"

monitor{
  title = "CPU usage, steal and waiting for disks",
  doc = [[
    Measures the CPU over some seconds of each run and reports what is high in three runs in a row. All cores
    together are 100 percent. Steal is time that the hypervisor gave to other machines; iowait is time in which
    there was nothing to do but wait for a disk.
  ]],
  schedule = "* * * * *",
  timeout = "55s",
  tags = { "host" },
  events = { recover = true, on_change = true, remind = "1d", confirm = { fail = 3, ok = 2 } },
  params = {
    seconds  = { type = "number", default = 5, min = 0.1, max = 45, order = 1, doc = "how long to measure" },
    warning  = { type = "number", default = 90, min = 0, max = 100, order = 2, doc = "percent busy that is a warning" },
    critical = { type = "number", default = 98, min = 0, max = 100, order = 3, doc = "percent busy that is critical" },
    steal    = { type = "number", default = 10, min = 0, max = 100, order = 4, doc = "percent stolen that is a warning" },
    iowait   = { type = "number", default = 40, min = 0, max = 100, order = 5,
      doc = "percent waiting for disks that is a warning" },
  },
}
function run(params)
  local c, err = host.cpu{ interval = params.seconds }
  if not c then error("cannot read the CPU of this machine: " .. err) end
  local name, events = host.name(), {}
  local figures = ("\n\n- user **%.0f %%**, system %.0f %%, iowait %.0f %%, steal %.0f %%, idle %.0f %%, %d cores")
    :format(c.user, c.system, c.iowait, c.steal, c.idle, c.cores)

  local function check(what, percent, warning, critical, title, sentence)
    if percent < math.min(warning, critical) then return end
    events[#events + 1] = {
      title = ("%s: %.0f %% of the CPU %s"):format(name, percent, title),
      status = percent >= critical and "critical" or "warning",
      message = sentence:format(name, percent, params.seconds) .. figures,
      dimension_tags = { host = name, resource = what },
    }
  end

  local never = math.huge
  check("cpu", c.percent, params.warning, params.critical, "in use",
    "The CPU of **%s** was busy for **%.1f %%** of %g s. Who works: `top`.")
  check("steal", c.steal, params.steal, never, "stolen",
    "The hypervisor kept **%s** waiting for **%.1f %%** of %g s: its other machines had the CPU.")
  check("iowait", c.iowait, params.iowait, never, "waiting for disks",
    "The CPU of **%s** waited for disks in **%.1f %%** of %g s. Who waits: `ps axo stat,pid,comm | grep ^D`.")
  EventReporter():report(events)
end
