-- A machine that runs out of memory or of swap.
local host = require "selfmon.host"

local function gib(bytes)
  return ("%.1f GiB"):format(bytes / 2^30)
end

monitor{
  title = "Memory and swap",
  doc = [[
    Counts memory as used when the kernel could not give it to a program at once; caches count as free.
    Swap is looked at only where there is some.
  ]],
  schedule = "* * * * *",
  tags = { "host" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    warning  = { type = "number", default = 90, min = 0, max = 100, order = 1,
      doc = "percent of memory used that is a warning" },
    critical = { type = "number", default = 95, min = 0, max = 100, order = 2,
      doc = "percent of memory used that is critical" },
    swap_warning  = { type = "number", default = 60, min = 0, max = 100, order = 3,
      doc = "percent of swap used that is a warning" },
    swap_critical = { type = "number", default = 90, min = 0, max = 100, order = 4,
      doc = "percent of swap used that is critical" },
  },
}
function run(params)
  local m, err = host.memory()
  if not m then error("cannot read the memory of this machine: " .. err) end
  local name, events = host.name(), {}

  local function check(what, percent, warning, critical, sentence)
    if percent < math.min(warning, critical) then return end
    events[#events + 1] = {
      title = ("%s: %.0f %% of %s used"):format(name, percent, what),
      status = percent >= critical and "critical" or "warning",
      message = sentence .. ("\n\n- warning from %g %%, critical from %g %%\n- who takes it: `ps aux --sort=-rss | head`")
        :format(warning, critical),
      dimension_tags = { host = name, resource = what },
    }
  end

  check("memory", m.percent, params.warning, params.critical,
    ("**%s** has used **%.1f %%** of its memory: %s of %s are left. When it ends the kernel kills programs.")
      :format(name, m.percent, gib(m.available), gib(m.total)))
  if m.swap_total > 0 then
    check("swap", m.swap_percent, params.swap_warning, params.swap_critical,
      ("**%s** has used **%.1f %%** of its swap: %s of %s. A machine that swaps is slow.")
        :format(name, m.swap_percent, gib(m.swap_used), gib(m.swap_total)))
  end
  EventReporter():report(events)
end
