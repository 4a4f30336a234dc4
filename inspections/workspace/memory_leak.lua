-- Hosts whose memory grows without end. After the platform's official "Memory leak" inspection: a rising trend of
-- the last 6 hours, with the processes that hold most. The queries are ours, by DataKit's documentation: query not
-- yet run against a live workspace.
local workspace = require "lib.workspace"
local leak = require "lib.leak"
local log = require "selfmon.log"

-- The processes with the most memory of a host, as lines of a message.
local function holders(host)
  local answers = workspace.ask({
    { query = "O::`host_processes`:(max(`mem_used_percent`) AS used)" .. workspace.where(workspace.among("host", { host }))
        .. " BY `process_name`", since = "15m", slimit = 500 },
  }, { true })
  local list = {}
  for _, series in ipairs(answers and answers[1] or {}) do
    local values = series:points "used"
    if #values > 0 then list[#list + 1] = { name = series.tags.process_name or "?", used = values[#values] } end
  end
  table.sort(list, function(a, b) return a.used > b.used end)
  local lines = {}
  for i = 1, math.min(10, #list) do lines[i] = ("- %s: %.1f %%"):format(workspace.text(list[i].name, 60), list[i].used) end
  return #lines > 0 and "\n\nThe processes that hold most:\n\n" .. table.concat(lines, "\n") or ""
end

monitor{
  title = "Memory leaks",
  doc = [[
    Looks at the memory used in the last hours (DataKit's measurement `mem`) and reports hosts where it grows hour
    by hour, by more than at the same time of the days before. Shows the processes that hold most.
  ]],
  schedule = "H * * * *",
  timeout = "5m",
  tags = { "workspace", "host" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    hosts  = { type = "list", items = "string", default = {}, order = 1, doc = "hosts, one per line; all when empty" },
    hours  = { type = "integer", default = 6, min = 4, max = 24, order = 2, doc = "hours in which it must grow" },
    growth = { type = "number", default = 5, min = 0.1, max = 100, order = 3, doc = "percent points it must grow by" },
  },
}
function run(params)
  local answers, partial = workspace.ask {
    { query = "M::`mem`:(avg(`used_percent`) AS used)" .. workspace.where(workspace.among("host", params.hosts)) .. " BY `host`",
      since = ("%dh"):format(params.hours + 49), interval = "5m", max_points = 1500, slimit = 1000 },
  }
  if not answers or not workspace.any(#answers[1], "memory usage", params.hosts) then return end

  local events, seen = {}, {}
  for _, series in ipairs(answers[1]) do
    local host = series.tags.host or "?"
    local values, times = series:points "used"
    local m, why = leak.judge(values, times, params)
    seen[host] = true
    if not m then
      log.info("too little history", { host = host, why = why })
    elseif m.leak then
      events[#events + 1] = {
        title = ("%s: memory grew by %.0f points in %d hours"):format(host, m.growth, params.hours),
        status = m.left and m.left < 6 * 3600 and "critical" or "warning",
        message = ("**%s** uses **%.1f %%** of its memory, **%.1f points more** than %d hours ago, and it grew hour by hour: "
          .. "%.1f points an hour. At this pace it reaches 95 %% in %.0f hours.%s%s"):format(host, m.now, m.growth, params.hours,
          m.per_hour, m.left / 3600, m.usual and ("\n\nIn the same hours of the days before: %+.1f points."):format(m.usual) or "",
          #events < 10 and holders(host) or ""),
        dimension_tags = { host = host },
      }
    end
  end
  workspace.report(events, partial, workspace.missing(params.hosts, seen))
end
