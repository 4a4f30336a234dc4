-- Hosts that were restarted. After the platform's official "Host restart" inspection: restarts in the last 15
-- minutes. The query is ours, by DataKit's documentation: query not yet run against a live workspace.
local workspace = require "lib.workspace"
local time = require "selfmon.time"

monitor{
  title = "Hosts that were restarted",
  doc = [[
    Looks at the uptime of the hosts (DataKit's measurement `system`) and reports those that were started anew since
    the last look.
  ]],
  schedule = "*/15 * * * *",
  timeout = "2m",
  tags = { "workspace", "host" },
  events = { recover = true, on_change = true },
  params = {
    hosts  = { type = "list", items = "string", default = {}, order = 1, doc = "hosts, one per line; all when empty" },
    within = { type = "duration", default = "15m", order = 2, doc = "report restarts of this time" },
  },
}
function run(params)
  local answers, partial = workspace.ask {
    { query = "M::`system`:(last(`uptime`) AS uptime)" .. workspace.where(workspace.among("host", params.hosts)) .. " BY `host`",
      since = params.within, interval = "1m", slimit = 1000 },
  }
  if not answers or not workspace.any(#answers[1], "uptime", params.hosts) then return end

  local events, seen = {}, {}
  for _, series in ipairs(answers[1]) do
    local host = series.tags.host or "?"
    local values, times = series:points "uptime"
    seen[host] = #values > 0 or nil
    local started
    for i = 1, #values do
      -- The newest start; a minute is left for what DataKit takes to collect.
      if values[i] >= 0 and values[i] < params.within + 60 then started = times[i] - values[i] end
    end
    if started then
      events[#events + 1] = {
        title = host .. " was restarted",
        status = "warning",
        message = ("**%s** was started at **%s** (UTC), %.0f minutes ago.\n\nWho did it, and why: `last -x | head`, `journalctl -b -1 -e`")
          :format(host, time.format(started, "%F %T"), (time.now() - started) / 60),
        dimension_tags = { host = host },
      }
    end
  end
  workspace.report(events, partial, workspace.missing(params.hosts, seen))
end
