-- @TITLE@: asks the workspace for its data.
local dql = require "selfmon.dql"
local log = require "selfmon.log"

monitor<title = "@TITLE@",
  doc = [[
    Reports hosts whose CPU has been busy, as the workspace knows it.
  ]],
  schedule = "*/5 * * * *",
  timeout = "2m",
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    warning  = { type = "number", default = 85, min = 0, max = 100, order = 1, doc = "percent busy that is a warning" },
    critical = { type = "number", default = 95, min = 0, max = 100, order = 2, doc = "percent busy that is critical" },
  }>
function run(params)
  local res, err = dql.query("M::cpu:(avg(usage_total) AS used) BY host", { since = "15m", interval = "1m" })
  if not res then error("cannot ask the workspace: " .. err) end
  if #res.series == 0 then return log.info("the workspace has no data of the last 15 minutes") end

  local reporter = EventReporter()
  for _, series in ipairs(res.series) do
    local values, sum = series:points "used", 0
    for _, value in ipairs(values) do sum = sum + value end
    local host, mean = series.tags.host, #values > 0 and sum / #values or 0
    if mean >= math.min(params.warning, params.critical) then
      reporter:report{
        title = ("%s: CPU is %.0f %% busy"):format(host, mean),
        status = mean >= params.critical and "critical" or "warning",
        message = ("**%s** was **%.1f %%** busy over 15 minutes (%d points)."):format(host, mean, #values),
        dimension_tags = { host = host },
      }
    end
  end
end
