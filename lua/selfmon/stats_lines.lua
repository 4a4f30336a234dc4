-- stats_lines: the straight line through a list, and where it leads: slope and forecast of selfmon.stats.
--
-- Theil and Sen's line (the median of the slopes between pairs) does not mind outliers and steps back;
-- ordinary least squares does, and is exact about its own error. Over 400 points the pairs are a fixed
-- pseudo-random sample of 80,000, so that the same list always answers the same.
local base = require "selfmon.stats_base"

local M = {}

local PAIRS = 80000

-- Slope and intercept about the centre, so that large x cost no digits.
local function least_squares(xs, ys)
  local mx, my = base.mean(xs), base.mean(ys)
  local products, squares = {}, {}
  for i = 1, #xs do
    local d = xs[i] - mx
    products[i], squares[i] = d * (ys[i] - my), d * d
  end
  local slope = base.sum(products, #xs) / base.sum(squares, #xs)
  return slope, my - slope * mx
end

local function theil_sen(xs, ys)
  local n, slopes = #xs, {}
  if n * (n - 1) // 2 <= PAIRS then
    for i = 1, n - 1 do
      for k = i + 1, n do
        if xs[k] ~= xs[i] then slopes[#slopes + 1] = (ys[k] - ys[i]) / (xs[k] - xs[i]) end
      end
    end
  else
    local seed = 88172645463325252
    local function below()
      seed = seed ~ seed << 13
      seed = seed ~ seed >> 7
      seed = seed ~ seed << 17
      return (seed >> 11) % n + 1
    end
    for _ = 1, PAIRS do
      local i, k = below(), below()
      if xs[k] ~= xs[i] then slopes[#slopes + 1] = (ys[k] - ys[i]) / (xs[k] - xs[i]) end
    end
  end
  if #slopes == 0 then return least_squares(xs, ys) end
  table.sort(slopes)
  local slope = base.median_of(slopes)
  return slope, base.median(ys) - slope * base.median(xs)
end

-- Both lists where both have a value. Raises for lengths that differ.
local function pair(ys, times, what)
  local v, at, n = base.values(ys, what, nil, 4)
  if times == nil then
    local xs = {}
    for i = 1, #v do xs[i] = at[i] + 0.0 end
    return xs, v
  end
  local t, t_at, t_n = base.values(times, what, "times", 4)
  if t_n ~= n then
    error(("%s: times has %d entries, and the list of values %d"):format(what, t_n, n), 3)
  end
  local xs, out, k = {}, {}, 1
  for i = 1, #v do
    while t_at[k] and t_at[k] < at[i] do k = k + 1 end
    if t_at[k] == at[i] then
      out[#out + 1], xs[#xs + 1] = v[i], t[k]
    end
  end
  return xs, out
end

local function spread(xs)
  local low, high = xs[1], xs[1]
  for i = 2, #xs do
    if xs[i] < low then low = xs[i] end
    if xs[i] > high then high = xs[i] end
  end
  return low, high
end

local function fit(method, xs, ys)
  if method == "ols" then return least_squares(xs, ys) end
  return theil_sen(xs, ys)
end

local METHODS = { ols = true, ["theil-sen"] = true }
local EXPECTED = "method: expected ols or theil-sen, got %s"

-- Share of the variance that the line explains.
local function explained(xs, ys, slope, intercept)
  local rest = {}
  for i = 1, #xs do
    local d = ys[i] - (intercept + slope * xs[i])
    rest[i] = d * d
  end
  local total = base.squares(ys, base.mean(ys))
  local left = base.sum(rest, #rest)
  if total == 0 then return 1.0, left end
  return math.max(0.0, 1 - left / total), left
end

--- Slope of the straight line through the list, its height at time 0, and the share it explains.
function M.slope(ys, opts)
  local o = base.options(opts, "stats.slope", { times = "table", method = "string" })
  local method = o.method or "ols"
  base.within(METHODS[method], "stats.slope", EXPECTED, base.show(method))
  local xs, v = pair(ys, o.times, "stats.slope")
  if #v < 2 then return base.too_few("stats.slope", #v, 2) end
  local first, last = spread(xs)
  if first == last then return nil, "stats.slope: all times are equal", "no_data" end
  local slope, intercept = fit(method, xs, v)
  return slope, intercept, (explained(xs, v, slope, intercept))
end

-- The time in [from, to] at which f turns true; f is false at `from` and true at `to`.
local function turn(f, from, to)
  for _ = 1, 200 do
    local middle = from + (to - from) / 2
    if middle <= from or middle >= to then break end
    if f(middle) then to = middle else from = middle end
  end
  return to
end

-- When `height` first passes the threshold after `from`: a time, or nil when it does not within `span`.
local function crossing(passes, from, span)
  if passes(from) then return from end
  local step = span / 64
  local before = from
  while step <= span * 1e6 do
    local at = from + step
    if passes(at) then return turn(passes, before, at) end
    before, step = at, step * 2
  end
end

local KNOWN = { times = "table", at = "number", ahead = "number", threshold = "number", direction = "string",
                confidence = "number", method = "string" }

--- The line's value at a later time, with the range in which it will probably lie, and the time left
--- until a threshold.
function M.forecast(ys, opts)
  local what = "stats.forecast"
  local o = base.options(opts, what, KNOWN)
  local method = o.method or "theil-sen"
  base.within(METHODS[method], what, EXPECTED, base.show(method))
  local confidence, direction = o.confidence or 0.95, o.direction or "up"
  base.within(confidence > 0 and confidence < 1, what, "confidence: expected a share between 0 and 1, got %s",
    base.show(confidence))
  base.within(direction == "up" or direction == "down", what, "direction: expected up or down, got %s",
    base.show(direction))
  base.within(not (o.at and o.ahead), what, "expected at or ahead, got both")
  local xs, v = pair(ys, o.times, what)
  local n = #v
  if n < 3 then return base.too_few(what, n, 3) end
  local first, last = spread(xs)
  if first == last then return nil, what .. ": all times are equal", "no_data" end

  local slope, intercept = fit(method, xs, v)
  local r2, left = explained(xs, v, slope, intercept)
  local sigma = math.sqrt(left / (n - 2))
  if method == "theil-sen" then
    local rest = {}
    for i = 1, n do rest[i] = v[i] - (intercept + slope * xs[i]) end
    sigma = base.deviation(rest, base.median(rest)) * 1.482602218505602
  end
  local centre = base.mean(xs)
  local squares, t = base.squares(xs, centre), base.t_quantile(confidence, n - 2)

  local function line(x) return intercept + slope * x end
  local function margin(x) return t * sigma * math.sqrt(1 + 1 / n + (x - centre) ^ 2 / squares) end

  local at = o.at or last + (o.ahead or (last - first) / (n - 1))
  local out = { n = n, slope = slope, intercept = intercept, r2 = r2, stdev = sigma, now = line(last), at = at,
                value = line(at), low = line(at) - margin(at), high = line(at) + margin(at) }
  if o.threshold then
    local limit, sign = o.threshold, direction == "up" and 1 or -1
    local function when(offset)
      local x = crossing(function(x) return (line(x) + offset * sign * margin(x) - limit) * sign >= 0 end,
        last, last - first)
      return x and x - last
    end
    if (out.now - limit) * sign >= 0 then
      out.left = 0.0
    elseif slope * sign > 0 then
      out.left = (limit - out.now) / slope
    end
    -- The soonest also counts for a line that does not lead there: only its margin grows.
    if slope * sign > 0 or out.left then
      out.soonest, out.latest = when(1), when(-1)
    end
  end
  return out
end

return M
