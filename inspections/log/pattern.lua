-- Lines of log files that match patterns: each new line is looked at once, however the log is rotated.
local host = require "selfmon.host"
local log = require "selfmon.log"
local store = require "selfmon.store"

local STEP, MOST = 1 << 20, 256 -- bytes read at a time, and how many times in one run

local function check(patterns, plain)
  for _, p in ipairs(patterns) do
    local ok, err = pcall(string.find, "", p, 1, plain)
    if not ok then error(("the pattern %q is wrong: %s"):format(p, err:gsub("^.-:%d+: ", ""))) end
  end
end

local function code(line)
  line = line:gsub("[%c]", " "):gsub("`", "'")
  if #line > 300 then line = line:sub(1, utf8.offset(line, 0, 300) - 1) .. "…" end
  return "`" .. line .. "`"
end

-- Looks at the lines of one log that are new; calls seen(line) for each. Answers how many there were, or nil and
-- why; the cursor is kept by the caller once the events are stored.
local function read_new(path, seen)
  local key = "cursor " .. path
  local cursor, why = store.get(key)
  if why then error("cannot read where " .. path .. " was read to: " .. why) end
  local lines = 0
  for _ = 1, MOST do
    local t, err, reason = host.file.tail(path, { cursor = cursor or nil, start = cursor == false, lines = 0, bytes = STEP })
    if not t then
      if reason == "not_found" and cursor == nil then store.set(key, false) end -- it is new when it comes
      return nil, err, reason
    end
    if t.skipped then log.warn(t.skipped) end
    for _, line in ipairs(t.lines) do seen(line) end
    lines, cursor = lines + #t.lines, t.cursor
    if not t.truncated then break end
  end
  return lines, key, cursor
end

monitor{
  title = "Log file patterns",
  doc = [[
    Reads what was added to log files since the last run and reports lines that match. The first run begins at the
    end of the file; a log that comes later is read from its start. Rotations are followed, by rename and by copy and truncate, as long as the rotated file is
    beside the log, not compressed, and granted as well.

    Needs the permission to read the logs, with what rotation makes of their names: `file:/var/log/app.log*`.
  ]],
  schedule = "* * * * *",
  timeout = "50s",
  tags = { "log" },
  permissions = { "file:/var/log/**" },
  events = { recover = true, on_change = true, remind = "1h" },
  params = {
    paths    = { type = "list", items = "string", default = {}, order = 1, doc = "log files, such as /var/log/app.log" },
    critical = { type = "list", items = "string", default = {}, order = 2, doc = "patterns that are critical" },
    warning  = { type = "list", items = "string", default = {}, order = 3, doc = "patterns that are a warning" },
    ignore   = { type = "list", items = "string", default = {}, order = 4, doc = "lines that match these do not count" },
    plain    = { type = "boolean", default = false, order = 5,
      doc = "patterns are plain text; else Lua patterns, where % quotes what is no letter" },
    at_least = { type = "integer", default = 1, min = 1, order = 6, doc = "so many lines in one run are worth an event" },
    samples  = { type = "integer", default = 3, min = 0, max = 20, order = 7, doc = "lines to show" },
    missing  = { type = "string", default = "warning", enum = { "ignore", "warning", "critical" }, order = 8,
      doc = "what a log that is not there is" },
  },
}
function run(params)
  if #params.paths == 0 or #params.critical + #params.warning == 0 then
    return log.info("nothing to look at: set the parameters paths, and critical or warning")
  end
  for _, name in ipairs { "critical", "warning", "ignore" } do check(params[name], params.plain) end
  local machine, events, cursors, failed = host.name() or "this machine", {}, {}, {}

  local function matches(patterns, line)
    for _, p in ipairs(patterns) do
      if line:find(p, 1, params.plain) then return p end
    end
  end

  for _, path in ipairs(params.paths) do
    local found = {} -- by pattern
    local lines, key, cursor = read_new(path, function(line)
      local status = "critical"
      local p = matches(params.critical, line)
      if not p then p, status = matches(params.warning, line), "warning" end
      if not p or matches(params.ignore, line) then return end
      local hit = found[p] or { n = 0, status = status, samples = {} }
      found[p], hit.n = hit, hit.n + 1
      if #hit.samples < params.samples then hit.samples[#hit.samples + 1] = "- " .. code(line) end
    end)
    if lines then
      cursors[key] = cursor
    elseif cursor ~= "not_found" then
      failed[#failed + 1] = key
    elseif params.missing ~= "ignore" then
      events[#events + 1] = {
        title = ("%s: log %s is missing"):format(machine, path), status = params.missing,
        message = ("There is no file `%s` on **%s**. Is the program running, and does it log there?"):format(path, machine),
        dimension_tags = { host = machine, path = path, pattern = "(missing)" },
      }
    end
    for p, hit in pairs(found) do
      if hit.n >= params.at_least then
        local one = hit.n == 1
        events[#events + 1] = {
          title = ("%s: %d line%s in %s match%s %s"):format(machine, hit.n, one and "" or "s", path, one and "es" or "", p),
          status = hit.status,
          message = ("**%d** of %d new lines of `%s` on **%s** match %s.\n\n%s\n\nMore: %s"):format(hit.n, lines, path,
            machine, code(p), table.concat(hit.samples, "\n"), code("tail -n 100 " .. path)),
          dimension_tags = { host = machine, path = path, pattern = p },
        }
      end
    end
  end
  EventReporter():report(events)
  for key, cursor in pairs(cursors) do -- after the events are stored: a line may count twice, but is never lost
    local ok, err = store.set(key, cursor)
    if not ok then error("cannot keep where the log was read to: " .. err) end
  end
  if failed[1] then error(table.concat(failed, "; ")) end
end
