-- @TITLE@: asks a web address and reports when it is slow, wrong or away.
local http = require "selfmon.http"

monitor<title = "@TITLE@",
  doc = [[
    Fetches an address and reports when it does not answer, answers with an error, or is slow.
  ]],
  schedule = "*/5 * * * *",
  timeout = "30s",
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    url    = { type = "string", default = "https://example.com/", order = 1, doc = "address to fetch" },
    max_ms = { type = "number", default = 800, min = 1, order = 2, doc = "slower than this is a warning" },
  }>
function run(params)
  local reporter = EventReporter()
  local function report(status, title, message)
    reporter:report{ status = status, title = title, message = message, dimension_tags = { url = params.url } }
  end

  local res, err = http.get(params.url, { timeout = 10 })
  if not res then
    return report("critical", "@TITLE@: no answer", ("`%s` does not answer: %s"):format(params.url, err))
  end
  local ms = res.timings.total * 1000
  if res.status >= 400 then
    report("error", "@TITLE@: answers with an error", ("`%s` answered **%d**."):format(params.url, res.status))
  elseif ms > params.max_ms then
    report("warning", "@TITLE@: slow",
      ("`%s` took **%.0f ms**; more than %g ms is slow."):format(params.url, ms, params.max_ms))
  end
end
