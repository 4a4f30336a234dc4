-- change: whether a figure went up suddenly, and stays there: response times, error rates, counts.
--
-- The newest level of the series, found as a change point, is compared with the level before. It counts when it
-- is clearly higher, in proportion and by itself, and was not as high at the same time of the day before.
local stats = require "selfmon.stats"

local M = {}

local function level_around(values, times, from, to)
  local part = {}
  for i = 1, #values do
    if times[i] >= from and times[i] <= to then part[#part + 1] = values[i] end
  end
  return #part >= 3 and stats.median(part) or nil
end

--- Looks at values with their times in seconds, oldest first. opts: ratio (how many times the level before; 1.5),
--- least (how much higher it must be at least; 0). Answers nil when nothing changed, else { since= (time),
--- before=, now=, ratio=, p= }; nil and a sentence when there is too little.
function M.judge(values, times, opts)
  local n = #values
  if n < 16 then return nil, ("only %d points"):format(n) end
  -- A short excursion and the way back are two changes: what is over is none.
  local found = stats.changepoint(values, { min = 4, p = 0.005 })
  local newest = found[#found]
  if not newest then return nil end
  local first = newest.index
  local now = stats.median(table.move(values, first, n, 1, {}))
  -- The level of most of the time before, so that a rise in two steps is one rise.
  local before = stats.median(table.move(values, 1, first - 1, 1, {}))
  local ratio = before > 0 and now / before or math.huge
  if now - before < (opts.least or 0) or ratio < (opts.ratio or 1.5) then return nil end
  local since, last = times[first], times[n]
  local yesterday = level_around(values, times, since - 86400, last - 86400)
  if yesterday and now < yesterday * 1.25 then return nil end
  return { since = since, before = before, now = now, ratio = ratio, p = newest.p }
end

return M
