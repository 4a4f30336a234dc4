-- filling: whether what fills up will be full soon, from its history: disks, here and in the workspace.
--
-- The history is brought into even steps, a daily course is taken off, and a line is laid through the longest
-- recent stretch whose end it still meets; of a clean-up or a jump only what came later counts. What is asked
-- is when the daily peaks, not the mean, reach the limit.
local stats = require "selfmon.stats"

local M = {}

local STEPS = 336 -- two weeks by the hour

-- Medians of even steps, NaN where a step has no sample; answers also the step and the time of the last.
local function even(values, times)
  local first, last = times[1], times[#times]
  local gaps = {}
  for i = 2, #times do gaps[i - 1] = times[i] - times[i - 1] end
  local step = math.max(stats.median(gaps), (last - first) / STEPS)
  if step <= 0 then return end
  -- A day in whole steps.
  step = 86400 / math.max(1, math.floor(86400 / step + 0.001))
  local n, buckets = math.floor((last - first) / step) + 1, {}
  for i = 1, #values do
    local k = n - math.floor((last - times[i]) / step)
    buckets[k] = buckets[k] or {}
    table.insert(buckets[k], values[i])
  end
  local out = {}
  for k = 1, n do out[k] = buckets[k] and stats.median(buckets[k]) or 0 / 0 end
  return out, step
end

-- The daily course and the list without it; none when less than three days are known or it explains little.
local function without_days(list, step)
  local period = math.floor(86400 / step + 0.5)
  if period < 4 or #list < 3 * period then return list, 0 end
  local s = stats.seasonal(list, { period = period })
  if not s or s.strength < 0.5 then return list, 0 end
  local out, peak = {}, 0
  for i = 1, #list do out[i] = list[i] - s.season[i] end
  for i = 1, period do peak = math.max(peak, s.pattern[i]) end
  return out, peak
end

local function tail(list, n)
  return table.move(list, #list - n + 1, #list, 1, {})
end

-- What comes after the last jump that lasts: a clean-up, or a big file.
local function since_jump(list)
  local n, steps = #list, {}
  for i = 2, n do
    local d = math.abs(list[i] - list[i - 1])
    if d == d then steps[#steps + 1] = d end
  end
  local usual = math.max(0.02, (stats.median(steps) or 0) * 1.4826)
  for i = n - 5, 7, -1 do
    local d = math.abs(list[i] - list[i - 1])
    if d > math.max(1, 8 * usual) then
      local before, after = stats.median(table.move(list, i - 6, i - 1, 1, {})), stats.median(table.move(list, i, i + 5, 1, {}))
      if before and after and math.abs(after - before) > d / 2 then return tail(list, n - i + 1), usual end
    end
  end
  return list, usual
end

-- Line through the last n points, and by how many errors its end misses the points there.
local function line_of(list, n, usual)
  local part = tail(list, n)
  local line = stats.forecast(part)
  if not line or line.n < 8 or line.n < n / 3 then return end
  local rest = {}
  for i = 1, n do
    local d = part[i] - (line.intercept + line.slope * i)
    if d == d then rest[#rest + 1] = d end
  end
  local recent = tail(rest, math.max(4, #rest // 6))
  local early = table.move(rest, 1, #rest - #recent, 1, {})
  line.miss = math.abs(stats.median(recent) - stats.median(early)) / (usual * (1 / math.sqrt(#recent) + 1 / math.sqrt(#early)))
  -- Neighbours are alike: fewer points than there seem to be.
  local same, all = 0, 0
  for i = 2, #rest do
    same, all = same + rest[i] * rest[i - 1], all + rest[i] * rest[i]
  end
  local alike = all > 0 and math.min(0.95, math.max(0, same / all)) or 0
  local noise = math.max(line.stdev, usual / 2)
  line.slope_error = noise / (n * math.sqrt(#rest / 12 * (1 - alike) / (1 + alike)))
  return line
end

--- Looks at a history (percent used, with the times in seconds, oldest first). Answers
--- { now=, per_day=, left= (seconds until `limit`, nil when it does not lead there), over= (seconds of history),
--- from= (seconds of history that the line rests on) }, or nil and a sentence when it is too short.
function M.judge(values, times, limit)
  if #values < 12 then return nil, ("only %d samples"):format(#values) end
  local list, step = even(values, times)
  if not list then return nil, "all samples are of one moment" end
  local flat, peak = without_days(list, step)
  local usual
  flat, usual = since_jump(flat)
  local n, line, taken = #flat, nil, nil
  while n >= 8 do
    local found = line_of(flat, n, usual)
    if found then
      line, taken = found, n
      if found.miss < 3 then break end
    end
    n = n * 3 // 4
  end
  if not line then return nil, "too many samples are missing" end
  local out = { now = line.now + peak, per_day = line.slope * 86400 / step, over = times[#times] - times[1],
                from = (taken - 1) * step }
  local room = limit - out.now
  if room <= 0 then
    out.left = 0
  elseif line.slope > 2.5 * line.slope_error then
    out.left = room / line.slope * step
  end
  return out
end

return M
