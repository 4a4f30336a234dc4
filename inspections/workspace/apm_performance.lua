-- Services whose error rate or response time went up suddenly. After the platform's official "APM performance"
-- inspection: a sudden change of error rate or P99. The queries are ours, by the platform's documentation of traces:
-- query not yet run against a live workspace.
local workspace = require "lib.workspace"
local change = require "lib.change"
local time = require "selfmon.time"
local log = require "selfmon.log"

local function of_service(list)
  local out = {}
  for _, series in ipairs(list) do out[series.tags.service or "?"] = series end
  return out
end

-- Failed requests in percent, at each time of the counts; how many requests there were.
local function error_rates(counts, times, failed)
  local errors, rates, total = {}, {}, 0
  if failed then
    local values, at = failed:points "n"
    for i = 1, #values do errors[at[i]] = values[i] end
  end
  for i = 1, #counts do
    rates[i] = counts[i] > 0 and 100 * (errors[times[i]] or 0) / counts[i] or 0
    total = total + counts[i]
  end
  return rates, total
end

monitor{
  title = "Performance of services",
  doc = [[
    Looks at the traces of a day and reports services whose error rate or 99th percentile of response time went up
    suddenly and stayed there.
  ]],
  schedule = "H * * * *",
  timeout = "5m",
  tags = { "workspace", "apm" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    services   = { type = "list", items = "string", default = {}, order = 1, doc = "services, one per line; all when empty" },
    ratio      = { type = "number", default = 1.5, min = 1.1, order = 2, doc = "how many times the level before is a sudden change" },
    error_rate = { type = "number", default = 5, min = 0, max = 100, order = 3,
      doc = "percent of failed requests below which a change is nothing to report" },
    p99_ms     = { type = "number", default = 200, min = 0, order = 4,
      doc = "milliseconds below which a change of the response time is nothing to report" },
    requests   = { type = "integer", default = 100, min = 1, order = 5, doc = "services with fewer requests a day are left out" },
  },
}
function run(params)
  local function query(what, condition)
    return { query = ("T::RE(`.*`):(%s)%s BY `service`"):format(what,
        workspace.where(workspace.among("service", params.services), condition)),
      since = "25h", interval = "5m", max_points = 1500, slimit = 500 }
  end
  local answers, partial = workspace.ask {
    query "count(`__docid`) AS n", query("count(`__docid`) AS n", "`status` = 'error'"),
    query "percentile(`duration`, 99) AS p99",
  }
  if not answers or not workspace.any(#answers[1], "traces", params.services) then return end

  local failed, slow, events, seen = of_service(answers[2]), of_service(answers[3]), {}, {}
  for _, series in ipairs(answers[1]) do
    local service = series.tags.service or "?"
    local counts, times = series:points "n"
    local rates, total = error_rates(counts, times, failed[service])
    seen[service] = true
    local function report(figure, title, c, unit)
      events[#events + 1] = {
        title = ("%s: %s"):format(service, title), status = c.ratio >= 3 and "error" or "warning",
        message = ("The %s of **%s** went from %.1f to **%.1f %s** at **%s** (UTC), and has stayed there.\n\n- %.0f requests in 25 hours\n"
          .. "- look at: deployments, dependencies and load at that time"):format(figure, service, c.before, c.now, unit,
          time.format(c.since, "%F %H:%M"), total),
        dimension_tags = { service = service, figure = figure },
      }
    end
    if total < params.requests then
      log.info("too few requests", { service = service, requests = total })
    else
      local c = change.judge(rates, times, { ratio = params.ratio, least = 1 })
      if c and c.now >= params.error_rate then report("error rate", ("%.0f %% of the requests fail"):format(c.now), c, "%") end
      local p99, p99_times = {}, {}
      if slow[service] then p99, p99_times = slow[service]:points "p99" end
      for i = 1, #p99 do p99[i] = p99[i] / 1000 end -- kept in µs
      c = change.judge(p99, p99_times, { ratio = params.ratio, least = params.p99_ms / 4 })
      if c and c.now >= params.p99_ms then report("P99", ("one of a hundred requests takes %.0f ms"):format(c.now), c, "ms") end
    end
  end
  workspace.report(events, partial, workspace.missing(params.services, seen))
end
