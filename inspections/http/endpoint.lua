-- Addresses that do not answer, answer wrongly, or answer late.
local cjson = require "cjson"
local http = require "selfmon.http"
local json_path = require "lib.json_path"
local log = require "selfmon.log"

-- What is wrong with the body of an answer: a title and a sentence, or nothing.
local function fault(body, res, params)
  if not body:find(params.text, 1, true) then
    return "answers without the expected text", ("its %d bytes do not contain `%s`"):format(#body, params.text)
  elseif params.not_text ~= "" and body:find(params.not_text, 1, true) then
    return "answers with a text that must not be there", ("it contains `%s`"):format(params.not_text)
  elseif params.pattern ~= "" and not body:find(params.pattern) then
    return "answers without the expected text", ("its %d bytes do not fit the pattern `%s`"):format(#body, params.pattern)
  elseif params.json_path == "" then
    return
  end
  local document, unreadable = res:json()
  if document == nil then return "answers no JSON", unreadable end
  local value, missing = json_path.find(document, params.json_path)
  if value == nil or value == cjson.null and params.json_value == "" then
    return "misses a JSON value", missing or ("`%s` is null"):format(params.json_path)
  elseif params.json_value ~= "" and json_path.show(value) ~= params.json_value then
    return "has another JSON value",
      ("`%s` is **%s** instead of %s"):format(params.json_path, json_path.show(value), params.json_value)
  end
end

monitor{
  title = "HTTP endpoints",
  doc = [[
    Fetches each address and reports those that cannot be reached, answer with another status than expected,
    miss a text (or have one that must not be there), have another value at a JSON path, or take too long. All
    are fetched at the same time.
  ]],
  schedule = "* * * * *",
  tags = { "http" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "1m",
  params = {
    urls       = { type = "list", items = "string", default = {}, order = 1,
      doc = "addresses, such as https://example.com/health" },
    status     = { type = "integer", default = 200, min = 100, max = 599, order = 2, doc = "expected status" },
    text       = { type = "string", default = "", order = 3, doc = "text that the answer must contain; empty: any" },
    slow       = { type = "duration", default = "2s", order = 4, doc = "an answer that takes longer is a warning" },
    timeout    = { type = "duration", default = "10s", order = 5, doc = "no answer after this is critical" },
    pattern    = { type = "string", default = "", order = 6, doc = "Lua pattern that the answer must fit" },
    not_text   = { type = "string", default = "", order = 7, doc = "text that the answer must not contain" },
    json_path  = { type = "string", default = "", order = 8, doc = "path of a value in a JSON answer, such as data.items[0].state" },
    json_value = { type = "string", default = "", order = 9, doc = "what is expected there, as text; empty: anything but null" },
    follow     = { type = "boolean", default = true, order = 10, doc = "follow redirects" },
  },
}
function run(params)
  local reporter = EventReporter()
  if #params.urls == 0 then
    return log.info("no addresses to fetch: set the parameter urls")
  end
  local readable, wrong = pcall(string.find, "", params.pattern)
  if not readable then error(("the pattern `%s` cannot be read: %s"):format(params.pattern, wrong)) end

  local requests = {}
  for i, url in ipairs(params.urls) do
    requests[i] = { url = url, timeout = params.timeout, follow = params.follow }
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
    else
      local title, sentence = fault(res.body, res, params)
      if title then
        report("critical", url .. " " .. title, ("`%s` answered %d, but %s."):format(url, res.status, sentence))
      elseif seconds > params.slow then
        local t = res.timings
        report("warning", ("%s is slow: %.1f s"):format(url, seconds),
          ("`%s` took **%.2f s**; up to %g s are fine.\n\n- name %.2f s, connection %.2f s, TLS %.2f s\n"
            .. "- first byte after %.2f s"):format(url, seconds, params.slow, t.dns, t.connect, t.tls, t.ttfb))
      end
    end
  end
end
