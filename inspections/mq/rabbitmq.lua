-- RabbitMQ by its management API: alarms of memory and disk, unhealthy nodes, queues that grow or nobody reads.
local http = require "selfmon.http"
local log = require "selfmon.log"
local secret = require "selfmon.secret"

local CHECKS = {
  { "alarms", "RabbitMQ has an alarm", "critical" },
  { "virtual-hosts", "RabbitMQ has virtual hosts that are down", "critical" },
  { "node-is-quorum-critical", "RabbitMQ would lose a quorum with this node", "warning" },
}

-- What a failed health check says: its reason, and the alarms with their nodes.
local function reason_of(answer)
  local parts = { tostring(answer.reason or "no reason is given") }
  for _, alarm in ipairs(answer.alarms or {}) do
    parts[#parts + 1] = ("- **%s** of %s"):format(alarm.resource or "?", alarm.node or "?")
  end
  for _, host in ipairs(answer["virtual-hosts"] or {}) do parts[#parts + 1] = ("- **%s**"):format(host) end
  return table.concat(parts, "\n")
end

monitor{
  title = "RabbitMQ",
  doc = [[
    Asks the management API of a node: its health checks (alarms of memory and disk, virtual hosts, quorum) and
    every queue: how many messages wait, and whether anybody reads them. The user needs the tag `monitoring`; its
    password is the secret `rabbitmq`.
  ]],
  schedule = "* * * * *",
  tags = { "rabbitmq" },
  events = { recover = true, on_change = true, remind = "1d", max_dimensions = 50 },
  timeout = "1m",
  permissions = { "secret:rabbitmq" },
  params = {
    url      = { type = "string", default = "", order = 1, doc = "address of the management API, such as http://127.0.0.1:15672" },
    user     = { type = "string", default = "monitoring", order = 2, doc = "user, whose password is the secret rabbitmq" },
    warning  = { type = "integer", default = 10000, min = 1, order = 3, doc = "more messages in a queue are a warning" },
    critical = { type = "integer", default = 100000, min = 1, order = 4, doc = "more messages are critical" },
    unread   = { type = "integer", default = 100, min = 0, order = 5, doc = "more messages in a queue without consumers are a warning" },
    ignore   = { type = "list", items = "string", default = {}, order = 6, doc = "names of queues that may be of any length" },
    timeout  = { type = "duration", default = "10s", order = 7, doc = "no answer after this is critical" },
  },
}
function run(params)
  local reporter = EventReporter()
  if params.url == "" then return log.info("nothing to look at: set the parameter url") end
  local base = params.url:gsub("/+$", "")
  local auth, ignored = { params.user, assert(secret "rabbitmq") }, {}
  for _, name in ipairs(params.ignore) do ignored[name] = true end
  local function report(status, title, message, tags)
    tags.server = base
    reporter:report{ title = title, status = status, message = message, dimension_tags = tags }
  end

  local requests = {
    { url = base .. "/api/queues", query = { columns = "name,vhost,messages,consumers" }, auth = auth, timeout = params.timeout },
  }
  for i, check in ipairs(CHECKS) do
    requests[i + 1] = { url = ("%s/api/health/checks/%s"):format(base, check[1]), auth = auth, timeout = params.timeout }
  end
  local answers = http.all(requests)

  if answers[1].error then
    return report("critical", "RabbitMQ does not answer", ("`%s` does not answer: %s"):format(base, answers[1].error),
      { check = "answer" })
  end
  for i, check in ipairs(CHECKS) do
    local res = answers[i + 1]
    local answer = not res.error and (res.status == 200 or res.status == 503) and res:json()
    if not answer then error(("%s: %s"):format(requests[i + 1].url, res.error or ("it answered %d"):format(res.status))) end
    if answer.status ~= "ok" then
      report(check[3], check[2], ("%s, says `%s`:\n\n%s"):format(check[2], base, reason_of(answer)), { check = check[1] })
    end
  end

  local queues = answers[1].status == 200 and answers[1]:json()
  if not queues then error(("%s answered %d"):format(requests[1].url, answers[1].status)) end
  log.info(("%d queues"):format(#queues))
  table.sort(queues, function(a, b) return (a.messages or 0) > (b.messages or 0) end)
  for _, queue in ipairs(queues) do
    local messages, consumers = queue.messages or 0, queue.consumers or 0
    local tags = { check = "queue", vhost = queue.vhost, queue = queue.name }
    local facts = ("**%s** of the virtual host %s holds **%d messages**, with %d consumers."):format(queue.name, queue.vhost,
      messages, consumers)
    if ignored[queue.name] then
      log.debug(queue.name .. " is ignored")
    elseif messages > params.warning or messages > params.critical then
      report(messages > params.critical and "critical" or "warning",
        ("Queue %s holds %d messages"):format(queue.name, messages), facts, tags)
    elseif consumers == 0 and messages > params.unread then
      report("warning", ("Nobody reads queue %s"):format(queue.name), facts, tags)
    end
  end
end
