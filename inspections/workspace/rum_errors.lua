-- Kinds of errors of front-end applications that are new. After the platform's official "RUM errors" inspection:
-- clustered errors of the last hour that were not seen in the 12 hours before. The query is ours, by the platform's
-- documentation of RUM: query not yet run against a live workspace.
local workspace = require "lib.workspace"
local newcomers = require "lib.newcomers"

monitor{
  title = "New errors of front ends",
  doc = [[
    Compares the errors that browsers and apps sent in the last hour with those of the time before, and reports
    kinds that were not there. Errors that differ in numbers, ids and quoted names only are one kind.
  ]],
  schedule = "H * * * *",
  timeout = "5m",
  tags = { "workspace", "rum" },
  events = { recover = true },
  params = {
    apps   = { type = "list", items = "string", default = {}, order = 1, doc = "application ids (app_id), one per line; all when empty" },
    before = { type = "duration", default = "12h", order = 2, doc = "an error is new that was not seen in this time before" },
    least  = { type = "integer", default = 1, min = 1, order = 3, doc = "kinds with fewer errors in the hour are left out" },
  },
}
function run(params)
  -- No error at all is the best answer: whether there is RUM data is not asked here.
  local events, partial = newcomers.events("R::`error`:(count(`__docid`) AS n)"
    .. workspace.where(workspace.among("app_id", params.apps))
    .. " BY `app_id`, `error_type`, `error_message`", "app_id", params.before, params.least)
  if events then workspace.report(events, partial) end
end
