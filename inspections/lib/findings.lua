-- What an inspection with several findings about one thing found: reported, and remembered, so that a run which
-- sees nothing (the server is down) does not pass for a recovery of what it could not see.
local log = require "selfmon.log"
local store = require "selfmon.store"

local M = {}

local KEPT, MESSAGE_MAX = 50, 500

local function same(a, b)
  for k, v in pairs(a) do if b[k] ~= v then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

--- Reports all that is wrong now.
function M.report(events)
  EventReporter():report(events)
  local open = {}
  for i = 1, math.min(#events, KEPT) do
    local e = events[i]
    open[i] = { title = e.title, status = e.status, dimension_tags = e.dimension_tags,
                message = #e.message > MESSAGE_MAX and e.message:sub(1, MESSAGE_MAX) .. " …" or e.message }
  end
  local ok, err = store.set("open", open)
  if not ok then log.warn("the findings cannot be remembered: " .. err) end
end

--- Reports the one thing that hides everything else, and again what was wrong before and cannot be seen now.
function M.hidden(event)
  local events = { event }
  for _, e in ipairs(store.get("open") or {}) do
    if not same(e.dimension_tags, event.dimension_tags) then events[#events + 1] = e end
  end
  M.report(events)
end

--- "warning", "critical" or nil for a value and its two limits; a limit of 0 is off.
function M.level(value, warning, critical)
  if not value then return nil end
  if critical > 0 and value >= critical then return "critical" end
  if warning > 0 and value >= warning then return "warning" end
end

--- "3 h 12 min" of seconds.
function M.span(s)
  if s < 120 then return ("%.0f s"):format(s) end
  if s < 7200 then return ("%.0f min"):format(s / 60) end
  if s < 172800 then return ("%d h %02d min"):format(s // 3600, s % 3600 // 60) end
  return ("%.0f days"):format(s / 86400)
end

--- The first line that says something.
function M.first_line(text)
  return text:match "[^\r\n]*%S[^\r\n]*" or "it said nothing"
end

return M
