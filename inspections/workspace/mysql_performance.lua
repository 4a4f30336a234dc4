-- MySQL servers under pressure. After the platform's official "MySQL performance" inspection: CPU > 95 % or memory
-- > 95 % for 10 minutes on their hosts; statements or slow queries five times as many as in the period before. The
-- queries are ours, by DataKit's documentation: query not yet run against a live workspace.
local workspace = require "lib.workspace"
local stats = require "selfmon.stats"

-- What a counter grew by between two times; a restart of the server sets it back to 0.
local function grown(values, times, from, to)
  local sum, n = 0, 0
  for i = 2, #values do
    if times[i] > from and times[i] <= to then
      local d = values[i] - values[i - 1]
      sum, n = sum + (d >= 0 and d or values[i]), n + 1
    end
  end
  return n >= 5 and sum or nil
end

-- The least of the last 10 minutes and all of them, when at least half is known.
local function throughout(series)
  local values = series:points "used"
  return #values >= 5 and stats.quantile(values, 0) or nil, values
end

monitor{
  title = "MySQL performance",
  doc = [[
    Looks at hosts that run MySQL (DataKit's measurement `mysql`): processor and memory of the last 10 minutes, and
    how many statements and slow queries there were in the last 30 minutes and in the 30 before.
  ]],
  schedule = "*/30 * * * *",
  timeout = "5m",
  tags = { "workspace", "mysql" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    hosts      = { type = "list", items = "string", default = {}, order = 1, doc = "hosts, one per line; all with MySQL when empty" },
    percent    = { type = "number", default = 95, min = 1, max = 100, order = 2, doc = "percent of processor or memory that is too much" },
    factor     = { type = "number", default = 5, min = 1.1, order = 3, doc = "how many times the period before is too much" },
    statements = { type = "integer", default = 1000, min = 1, order = 4, doc = "fewer statements in 30 minutes are never too many" },
    slow       = { type = "integer", default = 10, min = 1, order = 5, doc = "fewer slow queries in 30 minutes are never too many" },
  },
}
function run(params)
  local function ask(query, names, since)
    return { query = query .. workspace.where(workspace.among("host", names)) .. " BY `host`", since = since, interval = "1m", slimit = 500 }
  end
  local answers, partial = workspace.ask {
    ask("M::`mysql`:(max(`Queries`) AS n)", params.hosts, "62m"), ask("M::`mysql`:(max(`Slow_queries`) AS n)", params.hosts, "62m"),
  }
  if not answers or not workspace.any(#answers[1], "figures of MySQL", params.hosts) then return end
  local names, seen = {}, {}
  for _, series in ipairs(answers[1]) do
    local host = series.tags.host
    if host and not seen[host] then names[#names + 1], seen[host] = host, true end
  end
  local load, load_partial = workspace.ask {
    ask("M::`cpu`:(avg(`usage_total`) AS used)", names, "10m"), ask("M::`mem`:(avg(`used_percent`) AS used)", names, "10m"),
  }

  local events = {}
  local function add(host, figure, status, title, message)
    events[#events + 1] = { title = ("%s: %s"):format(host, title), status = status, message = message,
      dimension_tags = { host = host, figure = figure } }
  end
  for i, what in ipairs { "processor", "memory" } do
    for _, series in ipairs(load and load[i] or {}) do
      local host = series.tags.host or "?"
      local low, values = throughout(series)
      if low and low > params.percent then
        add(host, what, "critical", ("MySQL has no %s left"):format(what),
          ("The %s of **%s**, which runs MySQL, was used by more than %g %% for 10 minutes: **%.1f %%** on average.\n\n"
            .. "What runs: `SHOW FULL PROCESSLIST`"):format(what, host, params.percent, stats.mean(values)))
      end
    end
  end
  for i, what in ipairs { "statements", "slow queries" } do
    local least = i == 1 and params.statements or params.slow
    for _, series in ipairs(answers[i]) do
      local host = series.tags.host or "?"
      local values, times = series:points "n"
      local last = times[#times] or 0
      local now, before = grown(values, times, last - 1800, last), grown(values, times, last - 3600, last - 1800)
      if now and before and now >= least and now >= params.factor * math.max(before, 1) then
        add(host, (what:gsub(" ", "_")), "warning", ("%.0f %s in 30 minutes"):format(now, what),
          ("MySQL on **%s** had **%.0f %s** in the last 30 minutes, and %.0f in the 30 minutes before."):format(host, now, what, before))
      end
    end
  end
  workspace.report(events, partial or load_partial, workspace.missing(params.hosts, seen))
end
