-- leak: whether memory grows without end, from the percentages of the last hours and of the days before.
--
-- The floor counts, not the peaks: the lower quartile of each hour, so that caches and garbage collection, which
-- give back what they take, are no leak. It must rise hour by hour (a jump is a program that was started), and
-- by more than at the same hours of the days before (what is busier in the morning).
local stats = require "selfmon.stats"

local M = {}

-- Lower quartiles of each of the `hours` up to `last`, false where an hour has too few samples.
local function floors(values, times, last, hours)
  local buckets, out, known = {}, {}, 0
  for i = 1, #values do
    local k = hours - math.floor((last - times[i]) / 3600)
    if k >= 1 and k <= hours and times[i] <= last then
      buckets[k] = buckets[k] or {}
      table.insert(buckets[k], values[i])
    end
  end
  for k = 1, hours do
    out[k] = buckets[k] and #buckets[k] >= 3 and stats.quantile(buckets[k], 0.25) or false
    if out[k] then known = known + 1 end
  end
  return out, known
end

-- First and last floor that are known, and the greatest rise between two that follow each other.
local function course(list)
  local first, before, steepest, falls = nil, nil, 0, 0
  for k = 1, #list do
    local x = list[k]
    if x then
      if before then
        steepest = math.max(steepest, x - before)
        if x < before then falls = falls + (before - x) end
      end
      first, before = first or x, x
    end
  end
  return first, before, steepest, falls
end

--- Looks at percentages with their times in seconds, oldest first. Answers { leak= (boolean), growth= (points in
--- the window), per_hour=, now=, usual= (growth at the same hours of the days before, nil when not known),
--- left= (seconds until 95 %, nil when it does not grow) }, or nil and a sentence.
function M.judge(values, times, opts)
  local hours, least = opts.hours or 6, opts.growth or 5
  if #values == 0 then return nil, "no samples" end
  local last = times[#times]
  local list, known = floors(values, times, last, hours)
  if known < math.max(4, hours - 2) then return nil, ("samples for only %d of %d hours"):format(known, hours) end
  local first, now, steepest, falls = course(list)
  local growth, usual = now - first, nil
  local days = {}
  for day = 1, 3 do
    local earlier, there = floors(values, times, last - day * 86400, hours)
    if there >= hours - 1 then
      local a, b = course(earlier)
      days[#days + 1] = b - a
    end
  end
  if days[1] then usual = stats.median(days) end
  local own = growth - math.max(0, usual or 0)
  local out = { growth = growth, per_hour = growth / (hours - 1), now = now, usual = usual }
  out.leak = own >= least and steepest <= 0.5 * growth and falls <= 0.15 * growth
  if growth > 0 then out.left = math.max(0, 95 - now) / out.per_hour * 3600 end
  return out
end

return M
