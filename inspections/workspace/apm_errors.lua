-- Kinds of errors of services that are new. After the platform's official "APM errors" inspection: new error types
-- in the last hour. The query is ours, by the platform's documentation of traces: query not yet run against a live
-- workspace.
local workspace = require "lib.workspace"
local newcomers = require "lib.newcomers"

monitor{
  title = "New errors of services",
  doc = [[
    Compares the errors in the traces of the last hour with those of the time before, and reports kinds that were
    not there. Errors that differ in numbers, ids and quoted names only are one kind.
  ]],
  schedule = "H * * * *",
  timeout = "5m",
  tags = { "workspace", "apm" },
  events = { recover = true },
  params = {
    services = { type = "list", items = "string", default = {}, order = 1, doc = "services, one per line; all when empty" },
    before   = { type = "duration", default = "12h", order = 2, doc = "an error is new that was not seen in this time before" },
    least    = { type = "integer", default = 1, min = 1, order = 3, doc = "kinds with fewer errors in the hour are left out" },
  },
}
function run(params)
  -- No error at all is the best answer: whether there are traces is not asked here.
  local events, partial = newcomers.events("T::RE(`.*`):(count(`__docid`) AS n)"
    .. workspace.where("`status` = 'error'", workspace.among("service", params.services))
    .. " BY `service`, `error_type`, `error_message`", "service", params.before, params.least)
  if events then workspace.report(events, partial) end
end
