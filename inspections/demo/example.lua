-- The first inspection: it reports one event each time it runs. `monitor{ … }` means the same as
-- `monitor< … >` and can be read by any Lua tool.
local host = require "selfmon.host"
local http = require "selfmon.http"
local time = require "selfmon.time"

monitor<title = "Self-built inspection example",
  doc = [[
    Shows what an inspection is: it reports how this machine is doing and, when it has an address, whether
    that address answers.

    Parameters:
      url       {string}  address to fetch; empty: none
      max_ms    {number}  slower than this is a warning
  ]],
  schedule = "*/5 * * * *",
  tags     = { "demo" },
  params   = { url = "", max_ms = 800 }>
function run(params)
  local reporter = EventReporter()

  if params.url == "" then
    local memory, load = assert(host.memory()), assert(host.load())
    return reporter:report{
      title = "Self-built inspection example",
      status = "info",
      message = ([[
        **%s** is up for %s.

        - load **%.2f** on %d cores
        - memory **%.0f %%** of %.1f GiB used

        Set the parameter `url` and this inspection fetches it instead.
      ]]):format(host.name(), time.duration(host.uptime() // 60 * 60), load.one, load.cores,
        memory.percent, memory.total / 2^30),
      dimension_tags = { host = host.name() },
    }
  end

  local res, err = http.get(params.url, { timeout = 10 })
  if not res then
    return reporter:report{
      title = "Address is unreachable", status = "critical", message = err,
      dimension_tags = { url = params.url },
    }
  end
  local ms = res.timings.total * 1000
  reporter:report{
    title   = "Address answers",
    status  = ms > params.max_ms and "warning" or "ok",
    message = ("`%s` answered **%d** in %.0f ms"):format(params.url, res.status, ms),
    dimension_tags = { url = params.url },
  }
end
