-- stats_base: what the functions of selfmon.stats share: reading a list of the script, sums that do not
-- lose digits, order statistics, and Student's t. Pure; bounded by the run's own limits.
local null = require "cjson".null

local M = {}

local function show(v)
  if type(v) == "string" then return ("%q"):format(#v > 40 and v:sub(1, 40) .. "…" or v):gsub("\\\n", "\\n") end
  if type(v) == "number" then return tostring(v) end
  return (type(v) == "table" or type(v) == "nil") and type(v) or "a " .. type(v)
end
M.show = show

-- Raises at the line of the script that called the public function, which called the caller of this.
local function wrong(what, sentence, ...)
  error(what .. ": " .. sentence:format(...), 4)
end

local function list_is_wrong(level, what, sentence, ...)
  error(what .. ": " .. sentence:format(...), level + 1)
end

--- Reads a list: its numbers as floats, and the place of each in the list. null and NaN are points that
--- are missing. Raises for everything else that is no finite number, and for a list with a hole, at the line `level` calls up.
function M.values(xs, what, name, level)
  name, level = name or "values", level or 3
  if type(xs) ~= "table" then list_is_wrong(level, what, "%s: expected a list of numbers, got %s", name, show(xs)) end
  local n, seen = #xs, 0
  for key in next, xs do
    if math.type(key) ~= "integer" or key < 1 then
      list_is_wrong(level, what, "%s: expected a plain list of numbers, got a table with the key %s", name, show(key))
    end
    seen = seen + 1
    if key > n then n = key end
  end
  local out, at, count = {}, {}, 0
  for i = 1, n do
    local x = rawget(xs, i)
    if math.type(x) then
      x = x + 0.0
      if x - x == 0 then
        count = count + 1
        out[count], at[count] = x, i
      elseif x == x then
        list_is_wrong(level, what, "%s[%d]: expected a finite number, got %s", name, i, show(x))
      end
    elseif x == nil then
      list_is_wrong(level, what, "%s[%d] is nil: a list has no holes; put cjson.null where a point is missing", name, i)
    elseif x ~= null then
      list_is_wrong(level, what, "%s[%d]: expected a number, got %s", name, i, show(x))
    end
  end
  return out, at, n
end

--- Reads a table of options: `known` maps each name to the type it must have.
function M.options(opts, what, known)
  if opts == nil then return {} end
  if type(opts) ~= "table" then wrong(what, "expected a table of options, got %s", show(opts)) end
  for key, value in next, opts do
    local kind = known[key]
    if not kind then
      local names = {}
      for name in pairs(known) do names[#names + 1] = name end
      table.sort(names)
      wrong(what, "unknown option %s; known are %s", show(key), table.concat(names, ", "))
    elseif not ("|" .. kind .. "|"):find("|" .. type(value) .. "|", 1, true) then
      wrong(what, "%s: expected a %s, got %s", key, kind:gsub("|", " or "), show(value))
    elseif math.type(value) == "float" and value - value ~= 0 then
      wrong(what, "%s: expected a finite number, got %s", key, show(value))
    end
  end
  return opts
end

--- Raises when an option is out of bounds.
function M.within(ok, what, sentence, ...)
  if not ok then wrong(what, sentence, ...) end
end

--- What a function answers that has too little to go by.
function M.too_few(what, n, need)
  return nil, n == 0 and ("%s: the list has no values"):format(what)
    or ("%s: %d values are too few, it takes %d"):format(what, n, need), "no_data"
end

-- Sums: Neumaier's, which keeps what a float addition drops.
local function sum(xs, n)
  local s, lost = 0.0, 0.0
  for i = 1, n do
    local x = xs[i]
    local t = s + x
    if math.abs(s) >= math.abs(x) then lost = lost + ((s - t) + x) else lost = lost + ((x - t) + s) end
    s = t
  end
  return s + lost
end
M.sum = sum

--- Mean of a list that has at least one value; does not overflow where the mean itself does not.
function M.mean(xs)
  local n = #xs
  local m = sum(xs, n) / n
  if m - m == 0 then return m end
  local scaled = {}
  for i = 1, n do scaled[i] = xs[i] * 2.0 ^ -64 end
  return sum(scaled, n) / n * 2.0 ^ 64
end

--- Sum of squared distances from `m`, corrected for the rounding of `m`.
function M.squares(xs, m)
  local n, squares, rest = #xs, {}, {}
  for i = 1, n do
    local d = xs[i] - m
    squares[i], rest[i] = d * d, d
  end
  local r = sum(rest, n)
  return math.max(0.0, sum(squares, n) - r * r / n)
end

function M.sorted(xs)
  local copy = table.move(xs, 1, #xs, 1, {})
  table.sort(copy)
  return copy
end

--- Quantile of a sorted list by linear interpolation (Hyndman and Fan's type 7).
function M.quantile_of(sorted, q)
  local n = #sorted
  local h = (n - 1) * q
  local i = math.floor(h)
  local a, b = sorted[i + 1], sorted[math.min(i + 2, n)]
  local part = h - i
  if part == 0 or a == b then return a end
  return a * (1 - part) + b * part
end

function M.median_of(sorted)
  local n = #sorted
  local a, b = sorted[(n + 1) // 2], sorted[n // 2 + 1]
  return a == b and a or a / 2 + b / 2
end

function M.median(xs)
  return M.median_of(M.sorted(xs))
end

--- Median of the distances from `m`.
function M.deviation(xs, m)
  local d = {}
  for i = 1, #xs do d[i] = math.abs(xs[i] - m) end
  table.sort(d)
  return M.median_of(d)
end

-- Student's t: the incomplete beta function by Lentz's continued fraction.
local LANCZOS = { 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
                  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7 }

local function lgamma(x)
  local a, t = 0.99999999999980993, x + 6.5
  for i = 1, #LANCZOS do a = a + LANCZOS[i] / (x + i - 1) end
  return 0.91893853320467274178 + (x - 0.5) * math.log(t) - t + math.log(a)
end

local function beta_fraction(a, b, x)
  local tiny = 1e-300
  local c, d = 1.0, 1 - (a + b) * x / (a + 1)
  if math.abs(d) < tiny then d = tiny end
  d = 1 / d
  local h = d
  for m = 1, 10000 do
    local even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
    d, c = 1 + even * d, 1 + even / c
    if math.abs(d) < tiny then d = tiny end
    if math.abs(c) < tiny then c = tiny end
    d = 1 / d
    h = h * d * c
    local odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    d, c = 1 + odd * d, 1 + odd / c
    if math.abs(d) < tiny then d = tiny end
    if math.abs(c) < tiny then c = tiny end
    d = 1 / d
    local step = d * c
    h = h * step
    if math.abs(step - 1) < 1e-15 then break end
  end
  return h
end

local function incomplete_beta(a, b, x)
  if x <= 0 then return 0.0 end
  if x >= 1 then return 1.0 end
  local front = math.exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * math.log(x) + b * math.log(1 - x))
  if x < (a + 1) / (a + b + 2) then return front * beta_fraction(a, b, x) / a end
  return 1 - front * beta_fraction(b, a, 1 - x) / b
end

--- Probability that |t| is at least as large by chance, with `df` degrees of freedom.
function M.t_p(t, df)
  if t ~= t then return 1.0 end
  return incomplete_beta(df / 2, 0.5, df / (df + t * t))
end

--- The t that |t| stays below with this probability.
function M.t_quantile(confidence, df)
  local low, high = 0.0, 1.0
  while M.t_p(high, df) > 1 - confidence and high < 1e9 do high = high * 2 end
  for _ = 1, 100 do
    local middle = (low + high) / 2
    if middle == low or middle == high then break end
    if M.t_p(middle, df) > 1 - confidence then low = middle else high = middle end
  end
  return (low + high) / 2
end

return M
