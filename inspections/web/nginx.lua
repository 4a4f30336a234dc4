-- nginx by its stub_status page: down, connections that it dropped, too many at once.
local crypto = require "selfmon.crypto"
local http = require "selfmon.http"
local log = require "selfmon.log"
local store = require "selfmon.store"
local time = require "selfmon.time"

-- The figures of a status page, or nil when it is none.
local function figures(body)
  local active = body:match "Active connections:%s*(%d+)"
  local accepts, handled, requests = body:match "server accepts handled requests%s+(%d+)%s+(%d+)%s+(%d+)"
  local reading, writing, waiting = body:match "Reading:%s*(%d+)%s+Writing:%s*(%d+)%s+Waiting:%s*(%d+)"
  if not (active and accepts and reading) then return end
  local now = { active = active, accepts = accepts, handled = handled, requests = requests, reading = reading,
                writing = writing, waiting = waiting }
  for name, text in pairs(now) do now[name] = math.tointeger(tonumber(text)) end
  return now
end

monitor{
  title = "nginx",
  doc = [[
    Reads the `stub_status` page of each nginx. Connections that it accepted and could not handle since the
    last run (`worker_connections` or open files are used up) are a problem; so is a server that does not
    answer, and, when wanted, too many connections at once.
  ]],
  schedule = "* * * * *",
  tags = { "nginx", "http" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "1m",
  params = {
    urls    = { type = "list", items = "string", default = {}, order = 1,
      doc = "addresses of status pages, such as http://127.0.0.1/nginx_status" },
    active  = { type = "integer", default = 0, min = 0, order = 2, doc = "more connections at once are a warning; 0: any number is fine" },
    dropped = { type = "integer", default = 0, min = 0, order = 3, doc = "so many dropped connections between two runs are fine" },
    timeout = { type = "duration", default = "5s", order = 4, doc = "no answer after this is critical" },
  },
}
function run(params)
  local reporter, unknown = EventReporter(), {}
  if #params.urls == 0 then return log.info("no servers to look at: set the parameter urls") end

  local requests = {}
  for i, url in ipairs(params.urls) do requests[i] = { url = url, timeout = params.timeout } end
  for i, res in ipairs(http.all(requests)) do
    local url = params.urls[i]
    local function report(status, title, message)
      reporter:report{ title = title, status = status, message = message, dimension_tags = { url = url } }
    end
    local now = not res.error and res.status == 200 and figures(res.body)
    if res.error then
      report("critical", "nginx does not answer", ("`%s` does not answer: %s"):format(url, res.error))
    elseif not now then
      unknown[#unknown + 1] = ("`%s` answered %d, and is no stub_status page"):format(url, res.status)
    else
      local key = "counters/" .. crypto.sha256(url):sub(1, 32)
      local before = store.get(key)
      now.at = time.now()
      store.set(key, now)
      -- Counters that are smaller than before: it was started anew, and they began at 0.
      if before and before.accepts > now.accepts then before = { accepts = 0, handled = 0, requests = 0, at = before.at } end
      local dropped = before and (now.accepts - now.handled) - (before.accepts - before.handled) or 0
      local rate = before and now.at > before.at and (now.requests - before.requests) / (now.at - before.at) or 0
      local facts = ("\n\n- %d connections: %d reading, %d writing, %d waiting\n- %.1f requests a second"):format(now.active,
        now.reading, now.writing, now.waiting, rate)
      log.info(("%s: %d active, %d dropped, %.1f requests/s"):format(url, now.active, dropped, rate))
      if dropped > params.dropped then
        report("error", ("nginx dropped %d connections"):format(dropped),
          ("`%s` accepted **%d connections** since %s that it could not handle: `worker_connections` or open files are used up.%s")
            :format(url, dropped, time.format(before.at), facts))
      elseif params.active > 0 and now.active > params.active then
        report("warning", ("nginx has %d connections"):format(now.active),
          ("`%s` has **%d connections** at once; up to %d are fine.%s"):format(url, now.active, params.active, facts))
      end
    end
  end
  if unknown[1] then error(table.concat(unknown, "; ")) end
end
