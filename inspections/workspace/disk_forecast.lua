-- Disks of the workspace's hosts that will be full soon. After the platform's official "Disk usage" inspection:
-- 14 days of history, an event when the limit will be reached within 48 hours. The query is ours, by DataKit's
-- documentation: query not yet run against a live workspace.
local workspace = require "lib.workspace"
local filling = require "lib.filling"
local log = require "selfmon.log"

monitor{
  title = "Disks of hosts that will be full soon",
  doc = [[
    Looks at two weeks of disk usage (DataKit's measurement `disk`) and reports disks whose usage will reach the
    limit soon. A daily course, clean-ups and outliers are taken into account.
  ]],
  schedule = "H */6 * * *",
  timeout = "15m",
  tags = { "workspace", "host" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    hosts   = { type = "list", items = "string", default = {}, order = 1, doc = "hosts, one per line; all when empty" },
    limit   = { type = "number", default = 90, min = 1, max = 100, order = 2, doc = "percent used that is too full" },
    within  = { type = "duration", default = "48h", order = 3, doc = "report what reaches the limit within this time" },
    history = { type = "duration", default = "14d", order = 4, doc = "how far back to look" },
  },
}
function run(params)
  local answers, partial = workspace.ask {
    { query = "M::`disk`:(max(`used_percent`) AS used)" .. workspace.where(workspace.among("host", params.hosts))
        .. " BY `host`, `device`",
      since = params.history, interval = "1h", slimit = 1000 },
  }
  if not answers or not workspace.any(#answers[1], "disk usage", params.hosts) then return end

  local events, seen = {}, {}
  for _, series in ipairs(answers[1]) do
    local host, device = series.tags.host or "?", series.tags.device or "?"
    local values, times = series:points "used"
    local line, why = filling.judge(values, times, params.limit)
    seen[host] = true
    if not line then
      log.info("too little history", { host = host, device = device, why = why })
    elseif line.left and line.left <= params.within then
      local hours = line.left / 3600
      events[#events + 1] = {
        title = hours == 0 and ("%s: disk %s has reached %g %%"):format(host, device, params.limit)
          or ("%s: disk %s is full in %.0f hours"):format(host, device, hours),
        status = hours <= 12 and "critical" or "warning",
        message = ("`%s` on **%s** is at **%.1f %%** and grows by %.1f points a day: it reaches %g %% in **%.0f hours**.\n\n"
          .. "- judged by the last %.1f of %.1f days\n- what takes the room: `du -xhd1 / | sort -h | tail`"):format(
          device, host, line.now, line.per_day, params.limit, hours, line.from / 86400, line.over / 86400),
        dimension_tags = { host = host, device = device },
      }
    end
  end
  workspace.report(events, partial, workspace.missing(params.hosts, seen))
end
