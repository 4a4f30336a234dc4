-- Files that must be fresh: backups, exports, heartbeat files. Too old, too small, missing, from the future.
local host = require "selfmon.host"
local log = require "selfmon.log"
local time = require "selfmon.time"

local function size_of(bytes)
  for _, unit in ipairs { "bytes", "KiB", "MiB", "GiB" } do
    if bytes < 1024 then return (unit == "bytes" and "%d %s" or "%.1f %s"):format(bytes, unit) end
    bytes = bytes / 1024
  end
  return ("%.1f TiB"):format(bytes)
end

-- The file, or the newest and the one before; nil when there is none; nil, message when it cannot be seen.
local function look(path)
  local dir, pattern = path:match "^(.*)/([^/]*[*?][^/]*)$"
  if not dir then
    local s, err, code = host.file.stat(path)
    if not s and code ~= "not_found" then return nil, err end
    if s then s.path = path end
    return s
  end
  local list, err, code = host.file.list(dir == "" and "/" or dir, { pattern = pattern })
  if not list then return nil, code ~= "not_found" and err or nil end
  local files = {}
  for _, f in ipairs(list) do
    if f.type == "file" then files[#files + 1] = f end
  end
  table.sort(files, function(a, b)
    if a.mtime ~= b.mtime then return a.mtime > b.mtime end
    return a.name > b.name
  end)
  return files[1], nil, files[2]
end

monitor{
  title = "File age and size",
  doc = [[
    Looks at files, or at the newest of the files in a directory, and reports what is too old, too small, missing, or
    dated in the future. `/backup/db-*.tar.gz` stands for the newest file of that name; `*` is any text and `?` one
    character, in the last part of a path.

    Needs the permission to look at them: `file:/backup/**`.
  ]],
  schedule = "*/10 * * * *",
  tags = { "file", "backup" },
  permissions = { "file:/backup/**" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    files    = { type = "list", items = "string", default = {}, order = 1, doc = "such as /backup/db-*.tar.gz" },
    warning  = { type = "duration", default = "26h", order = 2, doc = "older than this is a warning" },
    critical = { type = "duration", default = "50h", order = 3, doc = "older than this is critical" },
    min_size = { type = "integer", default = 1, min = 0, order = 4, doc = "fewer bytes are critical" },
    shrunk   = { type = "number", default = 0, min = 0, max = 100, order = 5,
      doc = "of a pattern: a warning when the newest is that many percent smaller than the one before; 0: never" },
    future   = { type = "duration", default = "5m", order = 6, doc = "dated so far in the future is a warning" },
  },
}
function run(params)
  if #params.files == 0 then return log.info("nothing to look at: set the parameter files") end
  local machine, now, events, failed = host.name() or "this machine", time.now(), {}, {}

  local function report(path, problem, status, title, message)
    events[#events + 1] = {
      title = ("%s: %s"):format(machine, title), status = status, message = message,
      dimension_tags = { host = machine, file = path, problem = problem },
    }
  end

  for _, path in ipairs(params.files) do
    local f, err, before = look(path)
    if err then
      failed[#failed + 1] = err
    elseif not f then
      report(path, "missing", "critical", path .. " is missing",
        ("There is no file `%s` on **%s**."):format(path, machine))
    else
      local age = now - f.mtime
      local facts = ("\n\n- file `%s`\n- **%s**, last changed **%s**"):format(f.path, size_of(f.size),
        time.format(math.floor(f.mtime)))
      if age > math.min(params.warning, params.critical) then
        report(path, "age", age > params.critical and "critical" or "warning",
          ("%s is %s old"):format(path, time.duration(math.floor(age))),
          ("`%s` on **%s** has not changed for **%s**; a warning after %s, critical after %s.%s"):format(path, machine,
            time.duration(math.floor(age)), time.duration(params.warning), time.duration(params.critical), facts))
      elseif age < -params.future then
        report(path, "future", "warning", path .. " is dated in the future",
          ("`%s` on **%s** is dated **%s** ahead of the clock. Is the clock right, here and where it was written?%s")
            :format(path, machine, time.duration(math.floor(-age)), facts))
      end
      if f.size < params.min_size then
        report(path, "size", "critical", ("%s has only %s"):format(path, size_of(f.size)),
          ("`%s` on **%s** should have at least **%s**.%s"):format(path, machine, size_of(params.min_size), facts))
      elseif params.shrunk > 0 and before and f.size < before.size * (1 - params.shrunk / 100) then
        report(path, "size", "warning", ("%s has shrunk to %s"):format(path, size_of(f.size)),
          ("The newest `%s` on **%s** is much smaller than the one before.%s\n- before: `%s`, %s"):format(path, machine,
            facts, before.name, size_of(before.size)))
      end
    end
  end
  EventReporter():report(events)
  if failed[1] then error(table.concat(failed, "; ")) end
end
