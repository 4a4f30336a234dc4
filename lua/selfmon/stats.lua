-- selfmon.stats: figures of plain lists of numbers (docs/modules/stats.md).
--
-- null and NaN in a list are missing points; another value that is no finite number raises at the
-- script's line. Too few values answer nil, a sentence and "no_data". Nothing of the argument is changed.
local base = require "selfmon.stats_base"
local lines = require "selfmon.stats_lines"
local series = require "selfmon.stats_series"

local M = {
  slope = lines.slope,
  forecast = lines.forecast,
  changepoint = series.changepoint,
  seasonal = series.seasonal,
}

local values, options, within = base.values, base.options, base.within

--- Arithmetic mean.
function M.mean(xs)
  local v = values(xs, "stats.mean")
  if #v == 0 then return base.too_few("stats.mean", 0, 1) end
  return base.mean(v)
end

--- Middle value; of an even number the mean of the two in the middle.
function M.median(xs)
  local v = values(xs, "stats.median")
  if #v == 0 then return base.too_few("stats.median", 0, 1) end
  table.sort(v)
  return base.median_of(v)
end

--- Value below which the share q lies, interpolated; with a list of shares a list.
function M.quantile(xs, q)
  local v = values(xs, "stats.quantile")
  local many = type(q) == "table"
  local shares = many and values(q, "stats.quantile", "q") or { q }
  for i = 1, #shares do
    local share = shares[i]
    within(math.type(share) and share >= 0 and share <= 1, "stats.quantile",
      "q: expected a share from 0 to 1 such as 0.95, got %s", base.show(share))
  end
  within(q ~= nil, "stats.quantile", "q: expected a share from 0 to 1 such as 0.95, got nil")
  if #v == 0 then return base.too_few("stats.quantile", 0, 1) end
  table.sort(v)
  local out = {}
  for i = 1, #shares do out[i] = base.quantile_of(v, shares[i]) end
  if many then return out end
  return out[1]
end

local function deviation(v, population)
  local n = #v
  return math.sqrt(base.squares(v, base.mean(v)) / (population and n or n - 1))
end

--- Standard deviation of a sample, or of a whole population.
function M.stdev(xs, population)
  local v = values(xs, "stats.stdev")
  within(population == nil or type(population) == "boolean", "stats.stdev",
    "population: expected a boolean, got %s", base.show(population))
  local need = population and 1 or 2
  if #v < need then return base.too_few("stats.stdev", #v, need) end
  return deviation(v, population)
end

--- Median of the distances from the median, times `scale` (1.4826 makes it comparable with stdev).
function M.mad(xs, scale)
  local v = values(xs, "stats.mad")
  within(scale == nil or math.type(scale) and scale > 0 and scale < math.huge, "stats.mad",
    "scale: expected a number over 0, got %s", base.show(scale))
  if #v == 0 then return base.too_few("stats.mad", 0, 1) end
  return base.deviation(v, base.median(v)) * (scale or 1)
end

-- How many scales `x` lies from the centre; of a scale of 0 there are none, or infinitely many.
local function distance(x, centre, scale)
  if x == centre then return 0.0 end
  return (x - centre) / scale
end

--- How many standard deviations x lies from the mean of the list; without x, of each value, in a list.
function M.zscore(xs, x, opts)
  local v, at, n = values(xs, "stats.zscore")
  if type(x) == "table" and opts == nil then x, opts = nil, x end
  local o = options(opts, "stats.zscore", { robust = "boolean" })
  within(x == nil or math.type(x) and x - x == 0, "stats.zscore", "x: expected a finite number, got %s", base.show(x))
  if #v < 2 then return base.too_few("stats.zscore", #v, 2) end
  local centre, scale
  if o.robust then
    centre = base.median(v)
    scale = base.deviation(v, centre) * 1.482602218505602
  else
    centre, scale = base.mean(v), deviation(v)
  end
  if x then return distance(x + 0.0, centre, scale) end
  local out = {}
  for i = 1, n do out[i] = 0 / 0 end
  for i = 1, #v do out[at[i]] = distance(v[i], centre, scale) end
  return out
end

--- Exponentially weighted mean at each point, in a list as long as the one given.
function M.ewma(xs, alpha)
  local v, at, n = values(xs, "stats.ewma")
  if type(alpha) == "table" then
    local o = options(alpha, "stats.ewma", { alpha = "number", span = "number", halflife = "number" })
    within((o.alpha and 1 or 0) + (o.span and 1 or 0) + (o.halflife and 1 or 0) == 1, "stats.ewma",
      "expected one of alpha, span and halflife")
    within(not o.span or o.span >= 1, "stats.ewma", "span: expected a number of points from 1, got %s", base.show(o.span))
    within(not o.halflife or o.halflife > 0, "stats.ewma", "halflife: expected a number of points over 0, got %s",
      base.show(o.halflife))
    alpha = o.alpha or o.span and 2 / (o.span + 1) or 1 - math.exp(-math.log(2) / o.halflife)
  elseif alpha == nil then
    alpha = 0.3
  end
  within(math.type(alpha) and alpha > 0 and alpha <= 1, "stats.ewma",
    "alpha: expected a number over 0 and up to 1, got %s", base.show(alpha))
  if #v == 0 then return base.too_few("stats.ewma", 0, 1) end
  local out, last, k = {}, v[1], 1
  for i = 1, n do
    if at[k] == i then
      last = last * (1 - alpha) + v[k] * alpha
      k = k + 1
    end
    out[i] = last
  end
  return out
end

--- Values that do not belong with the others: a list of { index=, value=, score= }.
function M.outliers(xs, opts)
  local v, at = values(xs, "stats.outliers")
  local o = options(opts, "stats.outliers", { method = "string", k = "number" })
  local method = o.method or "mad"
  within(method == "mad" or method == "iqr", "stats.outliers", "method: expected mad or iqr, got %s", base.show(method))
  within(not o.k or o.k > 0, "stats.outliers", "k: expected a number over 0, got %s", base.show(o.k))
  if #v < 4 then return base.too_few("stats.outliers", #v, 4) end
  local sorted, score = base.sorted(v), nil
  local k = o.k or (method == "mad" and 3.5 or 1.5)
  if method == "iqr" then
    local low, high = base.quantile_of(sorted, 0.25), base.quantile_of(sorted, 0.75)
    score = function(x) return x < low and (x - low) / (high - low) or x > high and (x - high) / (high - low) or 0.0 end
  else
    local centre = base.median_of(sorted)
    local scale = base.deviation(v, centre) * 1.482602218505602
    if scale == 0 then
      -- More than half are equal: the mean distance, as Iglewicz and Hoaglin do.
      local far = {}
      for i = 1, #v do far[i] = math.abs(v[i] - centre) end
      scale = base.mean(far) * 1.2533141373155003
    end
    score = function(x) return distance(x, centre, scale) end
  end
  local out = {}
  for i = 1, #v do
    local s = score(v[i])
    if math.abs(s) > k then out[#out + 1] = { index = at[i], value = v[i], score = s } end
  end
  return out
end

return M
