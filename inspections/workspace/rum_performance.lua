-- Front-end applications whose pages are slow for their users. After the platform's official "RUM performance"
-- inspection: LCP > 2.5 s, FID > 100 ms, CLS > 0.1. The query is ours, by the platform's documentation of RUM, with
-- the 75th percentile that the Web Vitals ask for: query not yet run against a live workspace.
local workspace = require "lib.workspace"
local log = require "selfmon.log"

-- What a person calls it, and what turns the stored figure into the unit of the parameter (times are kept in ns).
local FIGURES = {
  { key = "lcp", name = "largest contentful paint", scale = 1e-9, format = "%.1f s" },
  { key = "fid", name = "first input delay", scale = 1e-6, format = "%.0f ms" },
  { key = "cls", name = "cumulative layout shift", scale = 1, format = "%.2f" },
}

local function last(series, column)
  local values = series:points(column)
  return values[#values]
end

monitor{
  title = "Performance of front ends",
  doc = [[
    Looks at the Web Vitals that browsers sent in the last hour: largest contentful paint, first input delay and
    cumulative layout shift; each by its 75th percentile.
  ]],
  schedule = "*/15 * * * *",
  timeout = "2m",
  tags = { "workspace", "rum" },
  events = { recover = true, on_change = true, confirm = { fail = 2, ok = 2 }, remind = "1d" },
  params = {
    apps  = { type = "list", items = "string", default = {}, order = 1, doc = "application ids (app_id), one per line; all when empty" },
    lcp   = { type = "number", default = 2.5, min = 0, order = 2, doc = "seconds of the largest contentful paint that are too long" },
    fid   = { type = "number", default = 100, min = 0, order = 3, doc = "milliseconds of the first input delay that are too long" },
    cls   = { type = "number", default = 0.1, min = 0, order = 4, doc = "cumulative layout shift that is too much" },
    views = { type = "integer", default = 20, min = 1, order = 5, doc = "applications with fewer page views in the hour are left out" },
  },
}
function run(params)
  local answers, partial = workspace.ask {
    { query = "R::`view`:(percentile(`largest_contentful_paint`, 75) AS lcp, percentile(`first_input_delay`, 75) AS fid, "
        .. "percentile(`cumulative_layout_shift`, 75) AS cls, count(`__docid`) AS views)"
        .. workspace.where(workspace.among("app_id", params.apps)) .. " BY `app_id`",
      since = "1h", slimit = 500 },
  }
  if not answers or not workspace.any(#answers[1], "page views", params.apps) then return end

  local events, seen = {}, {}
  for _, series in ipairs(answers[1]) do
    local app, views = series.tags.app_id or "?", last(series, "views") or 0
    seen[app] = true
    if views < params.views then log.info("too few page views", { app_id = app, views = views }) end
    for _, figure in ipairs(views >= params.views and FIGURES or {}) do
      local value, limit = last(series, figure.key), params[figure.key]
      value = value and value * figure.scale
      if value and value > limit then
        events[#events + 1] = {
          title = ("%s: %s %s"):format(app, figure.name, figure.format:format(value)),
          status = value > 2 * limit and "error" or "warning",
          message = ("The %s of **%s**: for one of four page views **%s** or more; up to %s is good.\n\n- %d page views in the last hour")
            :format(figure.name, app, figure.format:format(value), figure.format:format(limit), views),
          dimension_tags = { app_id = app, figure = figure.key },
        }
      end
    end
  end
  workspace.report(events, partial, workspace.missing(params.apps, seen))
end
