-- A PromQL query of a Prometheus server (or what speaks its API) against limits.
local http = require "selfmon.http"
local limits = require "lib.limits"
local log = require "selfmon.log"

local WORDS = { NaN = 0 / 0, ["+Inf"] = math.huge, ["-Inf"] = -math.huge }

-- The samples of an answer: a list of { labels, number }.
local function samples_of(res, server)
  local answer, unreadable = res:json()
  if type(answer) ~= "table" or not answer.status then
    error(("%s answered %d, and no Prometheus answer: %s"):format(server, res.status, unreadable or "another JSON"))
  elseif answer.status ~= "success" then
    error(("%s refuses the query: %s"):format(server, answer.error or answer.errorType or "?"))
  end
  local kind, result = answer.data.resultType, answer.data.result
  if kind == "scalar" then return { { {}, WORDS[result[2]] or tonumber(result[2]) } } end
  if kind ~= "vector" then error(("the query answers a %s, not numbers of now"):format(kind)) end
  local samples = {}
  for i, one in ipairs(result) do samples[i] = { one.metric, WORDS[one.value[2]] or tonumber(one.value[2]) } end
  return samples
end

local function text_of(labels)
  local parts = {}
  for name, value in pairs(labels) do parts[#parts + 1] = ("%s=%s"):format(name, value) end
  table.sort(parts)
  return table.concat(parts, ", ")
end

monitor{
  title = "Prometheus query",
  doc = [[
    Asks a Prometheus server an instant query and compares each value of the answer with limits, one problem
    for each set of labels. A server that does not answer, or refuses the query, makes the run fail. For
    several queries use instances.
  ]],
  schedule = "* * * * *",
  tags = { "prometheus" },
  events = { recover = true, on_change = true, remind = "1d", max_dimensions = 100 },
  timeout = "1m",
  params = {
    server   = { type = "string", default = "", order = 1, doc = "address, such as http://prometheus.example:9090" },
    query    = { type = "string", default = "", order = 2, doc = "PromQL; its answer is a scalar or an instant vector" },
    name     = { type = "string", default = "", order = 3, doc = "what it is called in events; the query unless given" },
    unit     = { type = "string", default = "", order = 4, doc = "shown behind the number" },
    warning  = { type = "number", default = 0, order = 5, doc = "limit of a warning" },
    critical = { type = "number", default = 0, order = 6, doc = "limit of a critical state" },
    below    = { type = "boolean", default = false, order = 7, doc = "a value below the limits is bad, not one above" },
    empty    = { type = "string", default = "fail", enum = { "fail", "ok", "warning", "critical" }, order = 8,
      doc = "what an empty answer means: fail: the run fails, as nothing was seen" },
    timeout  = { type = "duration", default = "10s", order = 9, doc = "how long the server may take" },
  },
}
function run(params)
  local reporter = EventReporter()
  if params.server == "" or params.query == "" then
    return log.info("nothing to look at: set the parameters server and query")
  end
  local server = params.server:gsub("/+$", "")
  local res, err = http.post(server .. "/api/v1/query", { form = { query = params.query }, timeout = params.timeout })
  if not res then error(("%s does not answer: %s"):format(server, err)) end

  local samples, name = samples_of(res, server), params.name ~= "" and params.name or params.query
  log.info(("%d values"):format(#samples))
  if #samples == 0 and params.empty == "fail" then
    error(("the query `%s` has no result on %s"):format(params.query, server))
  elseif #samples == 0 and params.empty ~= "ok" then
    reporter:report{ title = name .. " has no value", status = params.empty, dimension_tags = { query = name },
      message = ("The query has no result on %s.\n\n`%s`"):format(server, params.query) }
  end
  for _, sample in ipairs(samples) do
    local labels, value = sample[1], sample[2]
    local status, limit = limits.judge(value, params.warning, params.critical, params.below)
    if status then
      local tags, where = { query = name }, text_of(labels)
      for label, text in pairs(labels) do
        if label:sub(1, 3) ~= "df_" and label ~= "query" then tags[label] = text end
      end
      reporter:report{
        title = ("%s is %s"):format(name, limits.show(value, params.unit)), status = status, dimension_tags = tags,
        message = ("**%s** is **%s**, %s %s.%s\n\n`%s` on %s"):format(name, limits.show(value, params.unit),
          params.below and "below" or "above", limits.show(limit, params.unit),
          where ~= "" and "\n\n" .. where or "", params.query, server),
      }
    end
  end
end
