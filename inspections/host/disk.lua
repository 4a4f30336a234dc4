-- Local disks that run out of space or of inodes, or that became read-only.
local host = require "selfmon.host"
local store = require "selfmon.store"

monitor{
  title = "Disk space, inodes and read-only disks",
  doc = [[
    Looks at every local file system once (bind mounts, network and pseudo file systems are left out) and
    reports those that are nearly full. A file system that is mounted read-only fills no more; it is reported when
    an earlier run saw it writable (the kernel does that after errors of the disk), or when it is listed to be.
  ]],
  schedule = "*/5 * * * *",
  tags = { "host" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    warning  = { type = "number", default = 85, min = 0, max = 100, order = 1,
      doc = "percent of space used that is a warning" },
    critical = { type = "number", default = 95, min = 0, max = 100, order = 2,
      doc = "percent of space used that is critical" },
    inodes_warning  = { type = "number", default = 85, min = 0, max = 100, order = 3,
      doc = "percent of inodes used that is a warning" },
    inodes_critical = { type = "number", default = 95, min = 0, max = 100, order = 4,
      doc = "percent of inodes used that is critical" },
    exclude  = { type = "list", items = "string", default = {}, order = 5,
      doc = "mount points to leave out, such as /mnt/backup" },
    writable = { type = "list", items = "string", default = {}, order = 6,
      doc = "mount points that must be writable, whether they once were or not" },
  },
}
function run(params)
  local disks, err = host.disks()
  if not disks then error("cannot read the disks of this machine: " .. err) end
  local name, excluded = host.name(), {}
  for _, mount in ipairs(params.exclude) do excluded[mount] = true end
  local once = store.get "writable" or {} -- mount points that were writable when they were last seen so
  local must, changed = {}, false
  for _, mount in ipairs(params.writable) do must[mount] = true end

  local events = {}
  local function check(disk, what, title, percent, warning, critical, message)
    if not percent or percent < math.min(warning, critical) then return end
    events[#events + 1] = {
      title = title:format(name, disk.mount, percent),
      status = percent >= critical and "critical" or "warning",
      message = message .. ("\n\n- warning from %g %%, critical from %g %%\n- device `%s`, %s")
        :format(warning, critical, disk.device, disk.fstype),
      dimension_tags = { host = name, mount = disk.mount, resource = what },
    }
  end

  for _, disk in ipairs(disks) do
    if excluded[disk.mount] then
      -- left out
    elseif disk.read_only then
      if once[disk.mount] or must[disk.mount] then
        events[#events + 1] = {
          title = ("%s: disk %s is read-only"):format(name, disk.mount), status = "critical",
          message = ("`%s` on **%s** is mounted **read-only**%s. Linux does that when the disk or its file system has "
            .. "errors.\n\n- device `%s`, %s\n- why: `dmesg | grep -i -e 'remount' -e 'I/O error'`")
            :format(disk.mount, name, once[disk.mount] and "; it was writable before" or "", disk.device, disk.fstype),
          dimension_tags = { host = name, mount = disk.mount, resource = "read-only" },
        }
      end
    else
      if not once[disk.mount] then once[disk.mount], changed = true, true end
      check(disk, "space", "%s: disk %s is %.0f %% full", disk.percent, params.warning, params.critical,
        ("`%s` on **%s** is **%.1f %%** full: %.1f GiB used, %.1f GiB left.\n\n"
          .. "What takes it: `du -xhd1 %s | sort -h | tail`"):format(disk.mount, name,
          disk.percent, disk.used / 2^30, disk.available / 2^30, disk.mount))
      check(disk, "inodes", "%s: inodes of %s are %.0f %% used", disk.inodes_percent,
        params.inodes_warning, params.inodes_critical,
        disk.inodes and ("`%s` on **%s** has used **%.1f %%** of its inodes: %d of %d are left.\n\n"
          .. "When none is left no file can be created, whatever space there is."):format(disk.mount, name,
          disk.inodes_percent, disk.inodes - disk.inodes_used, disk.inodes))
    end
  end
  EventReporter():report(events)
  if changed then store.set("writable", once) end
end
