-- Local disks that will be full soon, by their own history.
local host = require "selfmon.host"
local store = require "selfmon.store"
local crypto = require "selfmon.crypto"
local time = require "selfmon.time"
local log = require "selfmon.log"
local filling = require "lib.filling"

local MOST, KEEP, LEAST = 400, 14 * 86400, 3 * 3600

-- The history of a disk with the new sample: { size=, t = { … }, p = { … } }. A disk whose size changed begins anew.
-- When it is long, every second sample of the older half goes: the newest are close together, the oldest wide apart.
local function remember(disk, now)
  local key = "disk:" .. (#disk.mount <= 200 and not disk.mount:find "%c" and disk.mount or crypto.sha256(disk.mount))
  local history, message, code = store.get(key)
  if history == nil and code then error("cannot read the history of " .. disk.mount .. ": " .. message) end
  if type(history) ~= "table" or history.size ~= disk.size then history = { size = disk.size, t = {}, p = {} } end
  local t, p = {}, {}
  local n = #history.t
  for i = 1, n do
    local at = history.t[i]
    local thin = n >= MOST and i < n // 2 and i % 2 == 0
    -- A clock that was set back: what seems to come later is dropped.
    if not thin and at > now - KEEP and at < now then t[#t + 1], p[#p + 1] = at, history.p[i] end
  end
  t[#t + 1], p[#p + 1] = now, math.floor(disk.percent * 1000 + 0.5) / 1000
  history.t, history.p = t, p
  local ok
  ok, message = store.set(key, history, { ttl = "15d" })
  if not ok then error("cannot keep the history of " .. disk.mount .. ": " .. message) end
  return history
end

monitor{
  title = "Disks that will be full soon",
  doc = [[
    Remembers how full each local file system was, for up to two weeks, and reports those that will reach the limit
    soon. A daily course, clean-ups and outliers are taken into account. It begins to judge after three hours.
  ]],
  schedule = "H/15 * * * *",
  tags = { "host" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    limit   = { type = "number", default = 90, min = 1, max = 100, order = 1, doc = "percent used that is too full" },
    within  = { type = "duration", default = "48h", order = 2, doc = "report what reaches the limit within this time" },
    exclude = { type = "list", items = "string", default = {}, order = 3, doc = "mount points to leave out, such as /mnt/backup" },
  },
}
function run(params)
  local disks, err = host.disks()
  if not disks then error("cannot read the disks of this machine: " .. err) end
  local name, now, excluded, events = host.name(), math.floor(time.now()), {}, {}
  for _, mount in ipairs(params.exclude) do excluded[mount] = true end

  for _, disk in ipairs(disks) do
    if not excluded[disk.mount] and not disk.read_only and disk.percent then
      local history = remember(disk, now)
      local line, why = filling.judge(history.p, history.t, params.limit)
      if not line or line.over < LEAST then
        log.info("too little history", { mount = disk.mount, why = why or "less than three hours" })
      elseif line.left and line.left <= params.within and disk.percent < params.limit then
        local hours = line.left / 3600
        events[#events + 1] = {
          title = ("%s: disk %s is full in %.0f hours"):format(name, disk.mount, hours),
          status = hours <= 12 and "critical" or "warning",
          message = ("`%s` on **%s** is at **%.1f %%** and grows by %.1f points a day: it reaches %g %% in **%.0f hours**.\n\n"
            .. "- judged by the last %.1f of %.1f hours\n- %.1f GiB left\n- what takes the room: `du -xhd1 %s | sort -h | tail`"):format(
            disk.mount, name, disk.percent, line.per_day, params.limit, hours, line.from / 3600, line.over / 3600,
            disk.available / 2^30, disk.mount),
          dimension_tags = { host = name, mount = disk.mount },
        }
      elseif disk.percent >= params.limit then
        events[#events + 1] = {
          title = ("%s: disk %s has reached %g %%"):format(name, disk.mount, params.limit), status = "critical",
          message = ("`%s` on **%s** is **%.1f %%** full, %.1f GiB are left.\n\nWhat takes the room: `du -xhd1 %s | sort -h | tail`")
            :format(disk.mount, name, disk.percent, disk.available / 2^30, disk.mount),
          dimension_tags = { host = name, mount = disk.mount },
        }
      end
    end
  end
  EventReporter():report(events)
end
