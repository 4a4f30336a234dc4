-- stats_series: what changes and what repeats in a series: changepoint and seasonal of selfmon.stats.
local base = require "selfmon.stats_base"

local M = {}

-- Ranks 1..n, the mean rank for equal values.
local function ranks(xs, first, last)
  local order, out = {}, {}
  for i = first, last do order[#order + 1] = i end
  table.sort(order, function(a, b)
    if xs[a] ~= xs[b] then return xs[a] < xs[b] end
    return a < b
  end)
  local i, n = 1, #order
  while i <= n do
    local k = i
    while k < n and xs[order[k + 1]] == xs[order[i]] do k = k + 1 end
    for m = i, k do out[order[m] - first + 1] = (i + k) / 2 end
    i = k + 1
  end
  return out
end

-- Correlation of neighbours, after each half's own mean is taken away; not below 0.
local function memory(r, k, m1, m2)
  local n, products, squares, last = #r, 0.0, 0.0, nil
  for i = 1, n do
    local d = r[i] - (i <= k and m1 or m2)
    squares = squares + d * d
    if last then products = products + d * last end
    last = d
  end
  return squares > 0 and math.max(0.0, products / squares) or 0.0
end

-- The best place to cut first..last in two: where the t of the ranks is greatest; its p counts all places
-- tried (Bonferroni) and that neighbours are alike (fewer values than there seem to be).
local function best_cut(xs, first, last, min)
  local n = last - first + 1
  if n < 2 * min then return end
  local r = ranks(xs, first, last)
  local total, squares = 0.0, 0.0
  for i = 1, n do
    total = total + r[i]
    squares = squares + r[i] * r[i]
  end
  local s, best, at, q = 0.0, 0.0, nil, 0.0
  for k = 1, n - min do
    s, q = s + r[k], q + r[k] * r[k]
    if k >= min then
      local m1, m2 = s / k, (total - s) / (n - k)
      local within = math.max(0.0, squares - k * m1 * m1 - (n - k) * m2 * m2)
      local d = math.abs(m1 - m2)
      -- A clean cut of ranks has no spread left only when both sides are constant.
      local t = d == 0 and 0 or d / math.sqrt(math.max(within, 1e-9) / (n - 2) * (1 / k + 1 / (n - k)))
      if t > best then best, at = t, k end
    end
  end
  if not at then return end
  local m1, sum1 = 0.0, 0.0
  for i = 1, at do sum1 = sum1 + r[i] end
  m1 = sum1 / at
  local rho = memory(r, at, m1, (total - sum1) / (n - at))
  local t = best * math.sqrt((1 - rho) / (1 + rho))
  return first + at, math.min(1.0, base.t_p(t, n - 2) * (n - 2 * min + 1))
end

local function median_between(xs, first, last)
  return base.median(table.move(xs, first, last, 1, {}))
end

-- The place near which the series cuts, given the levels on both sides: where the distances to the one
-- level before and to the other after are least. A wild value counts no more than the step is high.
local function refine(xs, first, last, at, min)
  local before, after = median_between(xs, first, at - 1), median_between(xs, at, last)
  local sum, best, place = 0.0, nil, at
  for i = first, last - min do
    sum = sum + math.abs(xs[i] - after) - math.abs(xs[i] - before)
    if i - first + 1 >= min and (not best or sum > best) then best, place = sum, i + 1 end
  end
  return place
end

-- Cuts first..last as long as a cut is significant; `found` holds first places of new segments.
local function cut(xs, first, last, o, found)
  if #found >= o.max then return end
  local at, p = best_cut(xs, first, last, o.min)
  if not at or p > o.p then return end
  at = refine(xs, first, last, at, o.min)
  found[#found + 1] = { at = at, p = p }
  cut(xs, first, at - 1, o, found)
  cut(xs, at, last, o, found)
end

--- Places where the level of a series changes: a list of { index=, before=, after=, shift=, p= }.
function M.changepoint(xs, opts)
  local what = "stats.changepoint"
  local v, at = base.values(xs, what)
  local o = base.options(opts, what, { min = "number", p = "number", max = "number", shift = "number" })
  local min, p, max = o.min or 5, o.p or 0.01, o.max or 10
  base.within(math.type(min) == "integer" and min >= 2, what, "min: expected a whole number of points from 2, got %s",
    base.show(min))
  base.within(p > 0 and p < 1, what, "p: expected a probability between 0 and 1, got %s", base.show(p))
  base.within(math.type(max) == "integer" and max >= 1 and max <= 100, what,
    "max: expected a whole number from 1 to 100, got %s", base.show(max))
  base.within(not o.shift or o.shift >= 0, what, "shift: expected a number from 0, got %s", base.show(o.shift))
  if #v < 2 * min then return base.too_few(what, #v, 2 * min) end
  local found = {}
  cut(v, 1, #v, { min = min, p = p, max = max }, found)
  table.sort(found, function(a, b) return a.at < b.at end)
  local out = {}
  for i, c in ipairs(found) do
    local before = median_between(v, i > 1 and found[i - 1].at or 1, c.at - 1)
    local after = median_between(v, c.at, found[i + 1] and found[i + 1].at - 1 or #v)
    if math.abs(after - before) >= (o.shift or 0) then
      out[#out + 1] = { index = at[c.at], before = before, after = after, shift = after - before, p = c.p }
    end
  end
  return out
end

-- Seasons ------------------------------------------------------------------------------------------------

-- Fast Fourier transform in place; the length is a power of two.
local function fft(re, im)
  local n, k = #re, 1
  for i = 1, n - 1 do
    if i < k then re[i], re[k], im[i], im[k] = re[k], re[i], im[k], im[i] end
    local m = n // 2
    while m >= 1 and k > m do
      k = k - m
      m = m // 2
    end
    k = k + m
  end
  local size = 2
  while size <= n do
    local half, turn = size // 2, -2 * math.pi / size
    for j = 0, half - 1 do
      local wr, wi = math.cos(turn * j), math.sin(turn * j)
      for a = j + 1, n, size do
        local b = a + half
        local tr, ti = re[b] * wr - im[b] * wi, re[b] * wi + im[b] * wr
        re[b], im[b] = re[a] - tr, im[a] - ti
        re[a], im[a] = re[a] + tr, im[a] + ti
      end
    end
    size = size * 2
  end
end

-- Correlation of a series with itself moved by 0..n-1 places.
local function autocorrelation(v)
  local n, size = #v, 1
  while size < 2 * n do size = size * 2 end
  local re, im = {}, {}
  for i = 1, size do re[i], im[i] = v[i] or 0.0, 0.0 end
  fft(re, im)
  for i = 1, size do re[i], im[i] = re[i] * re[i] + im[i] * im[i], 0.0 end
  fft(re, im)
  local out = {}
  for i = 1, n do out[i] = re[i] / re[1] end
  return out
end

-- Fills missing points on the line between their neighbours; at the ends with the nearest.
local function filled(v, at, n)
  local out, k = {}, 1
  for i = 1, n do
    while at[k + 1] and at[k + 1] <= i do k = k + 1 end
    local a, b = at[k], at[k + 1]
    if i <= a or not b then out[i] = v[k] else out[i] = v[k] + (v[k + 1] - v[k]) * (i - a) / (b - a) end
  end
  return out
end

local function without_line(v)
  local n, xs, products, squares = #v, (#v + 1) / 2, {}, {}
  local m = base.mean(v)
  for i = 1, n do products[i], squares[i] = (i - xs) * (v[i] - m), (i - xs) ^ 2 end
  local slope, out = base.sum(products, n) / base.sum(squares, n), {}
  for i = 1, n do out[i] = v[i] - m - slope * (i - xs) end
  return out
end

-- The shift with the highest peak of the correlation, each corrected for how little it overlaps.
local function find_period(v, min, max, least)
  local flat = without_line(v)
  local energy = base.squares(flat, base.mean(flat))
  if energy <= 1e-24 * base.squares(v, 0.0) then return end
  local c, n, best, period = autocorrelation(flat), #v, 0.0, nil
  local function height(lag) return c[lag + 1] * n / (n - lag) end
  for lag = math.max(min, 2), math.min(max, n - 2) do
    local h = height(lag)
    -- A multiple of the period is as high as the period itself: it must be clearly higher.
    -- By chance a shift correlates with 1 / sqrt(overlap); of the many tried, one with nearly four times that.
    if h >= math.max(least, math.min(0.9, 4 / math.sqrt(n - lag))) and h > height(lag - 1) and h >= height(lag + 1)
      and h > best * 1.1 + 0.02 then
      best, period = h, lag
    end
  end
  return period
end

-- Mean over one whole period around each point; the ends, which have none, take the nearest. By sums up to each
-- point of what lies off the middle, with what additions lose: a long list costs neither time nor digits.
local function trend_of(v, period)
  local n, half, out = #v, period // 2, {}
  local middle, upto, s, lost = base.median(v), { [0] = 0.0 }, 0.0, 0.0
  for i = 1, n do
    local x = v[i] - middle
    local t = s + x
    if math.abs(s) >= math.abs(x) then lost = lost + ((s - t) + x) else lost = lost + ((x - t) + s) end
    s = t
    upto[i] = s + lost
  end
  for i = half + 1, n - half do
    local sum = upto[i + half] - upto[i - half - 1]
    -- Of an even period the two ends count half.
    if period % 2 == 0 then sum = sum - (v[i - half] - middle) / 2 - (v[i + half] - middle) / 2 end
    out[i] = middle + sum / period
  end
  for i = half, 1, -1 do out[i] = out[half + 1] end
  for i = n - half + 1, n do out[i] = out[n - half] end
  return out
end

local function variance(v, first, last)
  local part = table.move(v, first, last, 1, {})
  return base.squares(part, base.mean(part))
end

--- Splits a series into trend, season and rest: { period=, strength=, trend=, season=, rest= }.
function M.seasonal(xs, opts)
  local what = "stats.seasonal"
  local values, at, n = base.values(xs, what)
  local o = base.options(opts, what, { period = "number", min = "number", max = "number", strength = "number" })
  for _, key in ipairs { "period", "min", "max" } do
    base.within(o[key] == nil or math.type(o[key]) == "integer" and o[key] >= 2, what,
      "%s: expected a whole number of points from 2, got %s", key, base.show(o[key]))
  end
  local need = 2 * (o.period or o.min or 2)
  if #values < math.max(need, 6) or n < need then return base.too_few(what, #values, math.max(need, 6)) end
  local v = filled(values, at, n)
  local period = o.period or find_period(v, o.min or 2, math.min(o.max or n // 2, n // 2), o.strength or 0.3)
  if not period then return nil, what .. ": nothing in the list repeats", "none" end

  local trend, sums, counts = trend_of(v, period), {}, {}
  local half = period // 2
  for i = half + 1, n - half do
    local k = (i - 1) % period + 1
    sums[k], counts[k] = (sums[k] or 0.0) + v[i] - trend[i], (counts[k] or 0) + 1
  end
  local pattern = {}
  for k = 1, period do pattern[k] = counts[k] and sums[k] / counts[k] or 0.0 end
  local centre = base.mean(pattern)
  for k = 1, period do pattern[k] = pattern[k] - centre end
  local season, rest, moved = {}, {}, {}
  for i = 1, n do
    season[i] = pattern[(i - 1) % period + 1]
    rest[i] = v[i] - trend[i] - season[i]
    moved[i] = v[i] - trend[i]
  end
  local all = variance(moved, half + 1, n - half)
  local strength = all > 0 and math.max(0.0, 1 - variance(rest, half + 1, n - half) / all) or 0.0
  return { period = period, strength = strength, pattern = pattern, trend = trend, season = season, rest = rest }
end

return M
