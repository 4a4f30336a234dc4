-- A number of a JSON API against limits: a queue, a balance, an age, whatever a service says of itself.
local http = require "selfmon.http"
local json_path = require "lib.json_path"
local limits = require "lib.limits"
local log = require "selfmon.log"
local secret = require "selfmon.secret"

monitor{
  title = "JSON API value",
  doc = [[
    Fetches an address and compares the number at a path of its JSON answer with limits. The path is such as
    `data.items[0].size` or `jobs.#` (how many). An address that does not answer, or has no number there,
    makes the run fail: nothing was seen then. For several values use instances.
  ]],
  schedule = "*/5 * * * *",
  tags = { "http", "json" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "1m",
  permissions = { "secret:json_value" },
  params = {
    url      = { type = "string", default = "", order = 1, doc = "address of the JSON document" },
    path     = { type = "string", default = "", order = 2, doc = "path of the number" },
    name     = { type = "string", default = "", order = 3, doc = "what it is called in events; the path unless given" },
    unit     = { type = "string", default = "", order = 4, doc = "shown behind the number" },
    warning  = { type = "number", default = 0, order = 5, doc = "limit of a warning" },
    critical = { type = "number", default = 0, order = 6, doc = "limit of a critical state; the same as warning: only that" },
    below    = { type = "boolean", default = false, order = 7, doc = "a value below the limits is bad, not one above" },
    bearer   = { type = "boolean", default = false, order = 8, doc = "send the secret json_value as a bearer token" },
    timeout  = { type = "duration", default = "10s", order = 9, doc = "how long the address may take" },
  },
}
function run(params)
  local reporter = EventReporter()
  if params.url == "" or params.path == "" then
    return log.info("nothing to look at: set the parameters url and path")
  end
  local options = { timeout = params.timeout }
  if params.bearer then options.auth = { bearer = assert(secret "json_value") } end

  local res, err = http.get(params.url, options)
  if not res then error(("`%s` does not answer: %s"):format(params.url, err)) end
  if res.status ~= 200 then error(("`%s` answered %d"):format(params.url, res.status)) end
  local document, unreadable = res:json()
  if document == nil then error(unreadable) end
  local value, missing = json_path.find(document, params.path)
  if value == nil then error(("%s: %s"):format(params.url, missing)) end
  local number = tonumber(value)
  if not number then
    error(("%s: `%s` is no number but %s"):format(params.url, params.path, json_path.show(value)))
  end

  local name = params.name ~= "" and params.name or params.path
  local status, limit = limits.judge(number, params.warning, params.critical, params.below)
  local shown = limits.show(number, params.unit)
  log.info(("%s is %s"):format(name, shown))
  if status then
    local side = params.below and "below" or "above"
    reporter:report{
      title = ("%s is %s"):format(name, shown), status = status,
      message = ("**%s** is **%s**, %s %s.\n\nSeen at `%s`, path `%s`."):format(name, shown, side,
        limits.show(limit, params.unit), params.url, params.path),
      dimension_tags = { url = params.url, path = params.path },
    }
  end
end
