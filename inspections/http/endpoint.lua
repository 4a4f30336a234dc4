-- Addresses that do not answer, answer wrongly, or answer late.
local http = require "selfmon.http"
local log = require "selfmon.log"

monitor{
  title = "HTTP endpoints",
  doc = [[
    Fetches each address and reports those that cannot be reached, answer with another status than expected,
    miss a text, or take too long. All are fetched at the same time.
  ]],
  schedule = "* * * * *",
  tags = { "http" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "1m",
  params = {
    urls    = { type = "list", items = "string", default = {}, order = 1,
      doc = "addresses, such as https://example.com/health" },
    status  = { type = "integer", default = 200, min = 100, max = 599, order = 2, doc = "expected status" },
    text    = { type = "string", default = "", order = 3, doc = "text that the answer must contain; empty: any" },
    slow    = { type = "duration", default = "2s", order = 4, doc = "an answer that takes longer is a warning" },
    timeout = { type = "duration", default = "10s", order = 5, doc = "no answer after this is critical" },
  },
}
function run(params)
  local reporter = EventReporter()
  if #params.urls == 0 then
    return log.info("no addresses to fetch: set the parameter urls")
  end

  local requests = {}
  for i, url in ipairs(params.urls) do
    requests[i] = { url = url, timeout = params.timeout }
  end
  for i, res in ipairs(http.all(requests)) do
    local url = params.urls[i]
    local function report(status, title, message)
      reporter:report{ title = title, status = status, message = message, dimension_tags = { url = url } }
    end
    local seconds = res.timings and res.timings.total
    if res.error then
      report("critical", "No answer from " .. url, ("`%s` does not answer: %s"):format(url, res.error))
    elseif res.status ~= params.status then
      report("critical", ("%s answers %d"):format(url, res.status),
        ("`%s` answered **%d** instead of %d, after %.2f s from %s.")
          :format(url, res.status, params.status, seconds, res.remote_ip or "?"))
    elseif not res.body:find(params.text, 1, true) then
      report("critical", url .. " answers without the expected text",
        ("`%s` answered %d, but its %d bytes do not contain `%s`.")
          :format(url, res.status, #res.body, params.text))
    elseif seconds > params.slow then
      local t = res.timings
      report("warning", ("%s is slow: %.1f s"):format(url, seconds),
        ("`%s` took **%.2f s**; up to %g s are fine.\n\n- name %.2f s, connection %.2f s, TLS %.2f s\n"
          .. "- first byte after %.2f s"):format(url, seconds, params.slow, t.dns, t.connect, t.tls, t.ttfb))
    end
  end
end
