-- selfmon.stats against numpy, scipy and Python's statistics (tests/data/stats/make_golden.py), and at its edges.
local stats = require "selfmon.stats"
local cjson = require "cjson"
local internal = require "selfmon.internal"
local null, NAN = cjson.null, 0 / 0

local f = assert(io.open "tests/data/stats/golden.json")
local golden = cjson.decode(f:read "a")
f:close()
golden.lists.long = {}
for i = 0, 19999 do golden.lists.long[i + 1] = ((i * 7919) % 10007) / 7 end

-- Equal but for the last digits of a float.
local function near(want, got, what, tolerance)
  if type(got) ~= "number" then error(("%s: expected %s, got %s"):format(what, want, tostring(got)), 2) end
  local limit = (tolerance or 1e-11) * math.max(math.abs(want), 1e-300)
  if not (math.abs(want - got) <= limit + (tolerance or 0) * 1e-3) then
    error(("%s: expected %.17g, got %.17g"):format(what, want, got), 2)
  end
end

local function indexes(found)
  local out = {}
  for i, o in ipairs(found) do out[i] = o.index end
  return out
end

describe("stats against another implementation:", function()
  for name, want in pairs(golden.figures) do
    it("figures of the list " .. name, function()
      local xs = golden.lists[name]
      near(want.mean, stats.mean(xs), "mean", name == "cancel" and 1e-11 or 4e-16)
      near(want.median, stats.median(xs), "median", 4e-16)
      for i, q in ipairs { 0, 0.05, 0.25, 0.5, 0.9, 0.99, 1 } do
        near(want.quantile[i], stats.quantile(xs, q), "quantile " .. q, 1e-14)
        near(want.quantile[i], stats.quantile(xs, { 0, 0.05, 0.25, 0.5, 0.9, 0.99, 1 })[i], "quantiles", 1e-14)
      end
      near(want.mad, stats.mad(xs), "mad", 1e-14)
      if want.stdev then
        near(want.stdev, stats.stdev(xs), "stdev", 1e-13)
        near(want.pstdev, stats.stdev(xs, true), "stdev of a population", 1e-13)
      end
      if want.mad_outliers then
        assert.are.same(want.mad_outliers, indexes(stats.outliers(xs)))
        assert.are.same(want.iqr_outliers, indexes(stats.outliers(xs, { method = "iqr" })))
      end
      if want.zscore then
        local got, k = stats.zscore(xs), 0
        for i = 1, #xs do
          if xs[i] ~= null and k < #want.zscore then
            k = k + 1
            near(want.zscore[k], got[i], "zscore " .. i, 1e-9)
            near(want.zscore[k], stats.zscore(xs, xs[i]), "zscore of x", 1e-9)
            if #xs > 1000 and k >= 3 then break end
          end
        end
      end
    end)
  end

  for i, want in ipairs(golden.ewma) do
    it("ewma " .. i .. " of " .. want.list, function()
      local got = stats.ewma(golden.lists[want.list], want.alpha)
      assert.are.equal(#want.values, #got)
      for k = 1, #got do near(want.values[k], got[k], "point " .. k, 1e-13) end
    end)
  end

  for i, want in ipairs(golden.lines) do
    it("line " .. i .. " through " .. want.list, function()
      local xs = golden.lists[want.list]
      local times = want.times ~= null and want.times or nil
      local slope, intercept, r2 = stats.slope(xs, { times = times })
      near(want.slope, slope, "slope", 1e-10)
      near(want.intercept, intercept, "intercept", 1e-9)
      near(want.r2, r2, "r2", 1e-9)
      slope, intercept = stats.slope(xs, { times = times, method = "theil-sen" })
      near(want.robust_slope, slope, "slope of Theil and Sen", 1e-12)
      near(want.robust_intercept, intercept, "its intercept", 1e-10)
      local line = stats.forecast(xs, { times = times, at = want.at, method = "ols" })
      for _, key in ipairs { "value", "low", "high", "stdev" } do near(want[key], line[key], key, 1e-8) end
      line = stats.forecast(xs, { times = times, at = want.at })
      near(want.robust_slope, line.slope, "slope of the robust forecast", 1e-12)
      near(want.robust_stdev, line.stdev, "its deviation", 1e-7)
    end)
  end

  for _, want in ipairs(golden.cuts) do
    it("the cut of " .. want.list, function()
      local xs = golden.lists[want.list]
      local c = stats.changepoint(xs, { p = 0.999999999, max = 1 })[1]
      if want.p >= 0.999999999 then return assert.is_nil(c) end
      assert.are.equal(want.index, c.index)
      near(want.p, c.p, "p", 1e-8)
      assert.are.equal(want.p <= 0.01, stats.changepoint(xs)[1] ~= nil)
    end)
  end

  for _, want in ipairs(golden.seasons) do
    it("the season of " .. want.period .. " points", function()
      for _, opts in ipairs { { period = want.period }, {} } do
        local s = stats.seasonal(want.values, opts)
        assert.are.equal(want.period, s.period)
        for k = 1, want.period do near(want.pattern[k], s.pattern[k], "pattern " .. k, 1e-9) end
        for k = 1, #want.trend do near(want.trend[k], s.trend[want.first + k - 1], "trend " .. k, 1e-12) end
        for k = 1, #want.values do
          near(want.values[k], s.trend[k] + s.season[k] + s.rest[k], "their sum", 1e-12)
        end
        assert.is_true(s.strength > 0.9 and s.strength <= 1, "strength " .. s.strength)
      end
    end)
  end

  it("Student's t", function()
    local base = require "selfmon.stats_base"
    for _, want in ipairs(golden.t) do
      -- scipy 1.10 is good to 1e-8 here
      near(want.t, base.t_quantile(want.confidence, want.df), ("t of %g, %d"):format(want.confidence, want.df), 1e-7)
      near(1 - want.confidence, base.t_p(want.t, want.df), "p of it", 1e-7)
      near(1 - want.confidence, base.t_p(base.t_quantile(want.confidence, want.df), want.df), "p of our own", 1e-10)
    end
  end)
end)

describe("stats of little or odd data:", function()
  it("nothing", function()
    for name, call in pairs {
      mean = stats.mean, median = stats.median, mad = stats.mad, stdev = stats.stdev, ewma = stats.ewma,
      zscore = stats.zscore, slope = stats.slope, forecast = stats.forecast, outliers = stats.outliers,
      changepoint = stats.changepoint, seasonal = stats.seasonal,
      quantile = function(xs) return stats.quantile(xs, 0.5) end,
    } do
      for _, xs in ipairs { {}, { null }, { NAN, null, NAN } } do
        local v, err, code = call(xs)
        assert.is_nil(v, name)
        assert.are.equal(("stats.%s: the list has no values"):format(name), err)
        assert.are.equal("no_data", code)
      end
    end
    assert.are.equal("stats.stdev: 1 values are too few, it takes 2", select(2, stats.stdev { 1 }))
    assert.are.equal("no_data", select(3, stats.forecast { 1, 2 }))
    assert.are.equal("no_data", select(3, stats.changepoint { 1, 2, 3, 4, 5, 6, 7, 8, 9 }))
  end)

  it("one value", function()
    assert.are.equal(4.0, stats.mean { 4 })
    assert.are.equal(4.0, stats.median { 4 })
    assert.are.equal(4.0, stats.quantile({ 4 }, 0.99))
    assert.are.equal(0.0, stats.stdev({ 4 }, true))
    assert.are.equal(0.0, stats.mad { 4 })
    assert.are.same({ 4.0 }, stats.ewma { 4 })
  end)

  it("missing points are left out", function()
    local xs = { 1, null, 3, NAN, 5 }
    assert.are.equal(3.0, stats.mean(xs))
    assert.are.equal(3.0, stats.median(xs))
    assert.are.equal(1.0, (stats.slope(xs)))
    assert.are.same({ 1.0, 1.0, 2.0, 2.0, 3.5 }, stats.ewma(xs, 0.5))
    local z = stats.zscore(xs)
    assert.are.equal(-1.0, z[1])
    assert.is_true(z[2] ~= z[2] and z[4] ~= z[4])
    assert.are.same({ 7 }, indexes(stats.outliers { 1, null, 2, 1, NAN, 2, 90, 1, 2, 1 }))
    assert.are.equal(13, stats.changepoint { 1, 2, 1, 2, null, 1, 2, 1, 2, 1, 2, null, 9, 8, 9, 8, 9, null, 8, 9, 9, 8 }[1].index)
    assert.are.equal(2.0, (stats.slope({ 1, null, 5, 7 }, { times = { 10, 11, null, 13 } })))
  end)

  it("a constant", function()
    local xs = {}
    for i = 1, 50 do xs[i] = 0.1 end
    assert.are.equal(0.1, stats.mean(xs))
    assert.are.equal(0.0, stats.stdev(xs))
    assert.are.same({ 0.0, 0.0, 0.0 }, { stats.zscore(xs, 0.1), stats.zscore(xs)[7], (stats.slope(xs)) })
    assert.are.equal(math.huge, stats.zscore(xs, 0.2))
    assert.are.same({}, stats.outliers(xs))
    assert.are.same({}, stats.changepoint(xs))
    assert.are.equal("none", select(3, stats.seasonal(xs)))
    assert.are.equal(0.0, stats.seasonal(xs, { period = 7 }).strength)
    local line = stats.forecast(xs, { ahead = 100, threshold = 1 })
    assert.are.same({ 0.1, 0.1, 0.1, 0.0 }, { line.value, line.low, line.high, line.stdev })
    assert.is_nil(line.left)
  end)

  it("a constant with one value that is not", function()
    local xs = {}
    for i = 1, 50 do xs[i] = i == 20 and 8 or 7 end
    assert.are.same({ 20 }, indexes(stats.outliers(xs)))
    assert.are.same({ 20 }, indexes(stats.outliers(xs, { method = "iqr" })))
    assert.are.same({}, stats.changepoint(xs))
  end)

  it("integers beyond 2^53 and the ends of floats do not break it", function()
    assert.are.equal(2.0 ^ 62, stats.mean { 1 << 62, 1 << 62 })
    near(1.7e308, stats.mean { 1.7e308, 1.7e308, 1.7e308 }, "mean", 4e-16)
    assert.are.equal(1.7e308, stats.median { 1.7e308, 1.7e308 })
    assert.are.equal(0.0, stats.stdev { 1e308, 1e308 })
  end)
end)

describe("stats.forecast", function()
  it("says when a threshold is reached", function()
    local xs = {}
    for i = 1, 48 do xs[i] = 40 + i * 0.5 end
    local line = stats.forecast(xs, { threshold = 90 })
    assert.is_true(math.abs(line.left - 52) < 1e-9)
    assert.is_true(math.abs(line.soonest - 52) < 1e-6 and math.abs(line.latest - 52) < 1e-6)
    assert.are.equal(0.0, stats.forecast(xs, { threshold = 60 }).left)
    assert.is_nil(stats.forecast(xs, { threshold = 10, direction = "down" }).left)
    for i = 1, 48 do xs[i] = 100 - i end
    line = stats.forecast(xs, { threshold = 10, direction = "down" })
    assert.is_true(math.abs(line.left - 42) < 1e-9)
    assert.is_nil(stats.forecast(xs, { threshold = 200 }).left)
  end)

  it("gives a range that holds the truth as often as it says", function()
    local seed = 20260902
    math.randomseed(seed)
    local function normal() return math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random()) end
    for _, method in ipairs { "ols", "theil-sen" } do
      local hits, passed, runs = 0, 0, 400
      for _ = 1, runs do
        local xs = {}
        for i = 1, 40 do xs[i] = 10 + i + 3 * normal() end
        local line = stats.forecast(xs, { ahead = 10, method = method, confidence = 0.9, threshold = 70 })
        local truth = 60 + 3 * normal()
        if truth >= line.low and truth <= line.high then hits = hits + 1 end
        if line.soonest <= 20 and line.latest >= 20 then passed = passed + 1 end
      end
      -- 0.9 of 400 is 360, give or take 6
      assert.is_true(hits > 330 and hits < 390, ("%s: %d of %d, seed %d"):format(method, hits, runs, seed))
      assert.is_true(passed > 350, ("%s: threshold %d of %d, seed %d"):format(method, passed, runs, seed))
    end
  end)

  it("does not mind a fifth of wild values, where least squares does", function()
    local xs = {}
    for i = 1, 50 do xs[i] = i % 5 == 0 and 1000 or i * 2 end
    local robust, plain = stats.slope(xs, { method = "theil-sen" }), stats.slope(xs)
    assert.is_true(math.abs(robust - 2) < 0.5, robust)
    assert.is_true(math.abs(plain - 2) > 1, plain)
  end)

  it("keeps its digits with times of today", function()
    local times, xs = {}, {}
    for i = 1, 100 do times[i], xs[i] = 1795359845.5 + i, 7 + i * 1e-3 end
    assert.is_true(math.abs(stats.slope(xs, { times = times }) - 1e-3) < 1e-12)
  end)
end)

describe("stats.changepoint", function()
  local function noise(n, level, from)
    local xs, seed = from or {}, 7 + #(from or {})
    for _ = 1, n do
      seed = (seed * 1103515245 + 12345) % 2147483648
      xs[#xs + 1] = level + (seed >> 16) % 1000 / 1000
    end
    return xs
  end

  it("finds every step of several, and where they are", function()
    local xs = noise(40, 30, noise(30, 10, noise(50, 20)))
    local found = stats.changepoint(xs)
    assert.are.same({ 51, 81 }, indexes(found))
    assert.is_true(found[1].shift < -9 and found[1].shift > -11 and found[2].shift > 19)
    assert.is_true(found[1].p < 1e-6 and found[2].p < 1e-6)
    assert.are.equal(1, #stats.changepoint(xs, { shift = 15 }))
    assert.are.equal(1, #stats.changepoint(xs, { max = 1 }))
  end)

  it("does not take a spike, a slow rise or a wave for a step", function()
    local xs = noise(60, 10)
    xs[30] = 500
    assert.are.same({}, stats.changepoint(xs))
    local rise, wave = {}, {}
    for i = 1, 60 do rise[i], wave[i] = i * 0.1, math.sin(i / 60 * 4 * math.pi) end
    assert.are.same({}, stats.changepoint(rise))
    assert.are.same({}, stats.changepoint(wave))
  end)

  it("sees a new level near the end", function()
    assert.are.equal(53, stats.changepoint(noise(8, 20, noise(52, 10)))[1].index)
  end)
end)

describe("stats.seasonal", function()
  it("finds the period through gaps and a trend", function()
    local xs = {}
    for i = 1, 24 * 8 do xs[i] = i * 0.3 + 20 * math.cos(2 * math.pi * i / 24) + (i * 37 % 11) / 4 end
    for i = 5, 180, 23 do xs[i] = null end
    local s = stats.seasonal(xs)
    assert.are.equal(24, s.period)
    assert.are.equal(#xs, #s.rest)
    assert.are.equal("none", select(3, stats.seasonal(xs, { max = 8, strength = 0.9 })))
  end)

  it("finds none in noise or in a line", function()
    math.randomseed(20260903)
    local lists = { {} }
    for i = 1, 200 do lists[1][i] = i * 3 - 7 end
    for k = 2, 60 do
      lists[k] = {}
      for i = 1, 20 + 5 * k do lists[k][i] = math.random() end
    end
    for _, xs in ipairs(lists) do
      local s, err, code = stats.seasonal(xs)
      assert.is_nil(s, s and s.period)
      assert.are.equal("stats.seasonal: nothing in the list repeats", err)
      assert.are.equal("none", code)
    end
  end)
end)

describe("a wrong call of stats", function()
  local function run(body, opts)
    return internal.run('local stats, cjson = require "selfmon.stats", require "cjson"\nmonitor{ title = "t" }\nfunction run()\n'
      .. body .. "\nprint 'went on' end", "run", {}, opts or { file = "t.lua" })
  end

  for _, row in ipairs {
    { "stats.mean()", "stats.mean: values: expected a list of numbers, got nil" },
    { "stats.mean 'x'", 'stats.mean: values: expected a list of numbers, got "x"' },
    { "stats.median{ 1, '2' }", 'stats.median: values[2]: expected a number, got "2"' },
    { "stats.stdev{ 1, nil, 3 }", "stats.stdev: values[2] is nil: a list has no holes; put cjson.null where a point is missing" },
    { "stats.mad{ 1, [7] = 2 }", "values[2] is nil" },
    { "stats.mean{ a = 1 }", 'expected a plain list of numbers, got a table with the key "a"' },
    { "stats.mean{ 1, 1/0 }", "stats.mean: values[2]: expected a finite number, got inf" },
    { "stats.mean{ {} }", "values[1]: expected a number, got table" },
    { "stats.quantile{ 1 }", "q: expected a share from 0 to 1 such as 0.95, got nil" },
    { "stats.quantile({ 1 }, 95)", "q: expected a share from 0 to 1 such as 0.95, got 95" },
    { "stats.quantile({ 1 }, { 0.5, 2 })", "got 2" },
    { "stats.stdev({ 1, 2 }, 1)", "population: expected a boolean, got 1" },
    { "stats.mad({ 1 }, 0)", "scale: expected a number over 0, got 0" },
    { "stats.zscore({ 1, 2 }, '1')", 'x: expected a finite number, got "1"' },
    { "stats.zscore({ 1, 2 }, 1, { robst = true })", 'unknown option "robst"; known are robust' },
    { "stats.ewma({ 1 }, 1.5)", "alpha: expected a number over 0 and up to 1, got 1.5" },
    { "stats.ewma({ 1 }, { span = 3, alpha = 1 })", "expected one of alpha, span and halflife" },
    { "stats.slope({ 1, 2 }, { times = { 1 } })", "times has 1 entries, and the list of values 2" },
    { "stats.slope({ 1, 2 }, { times = { 1, 'x' } })", 'stats.slope: times[2]: expected a number, got "x"' },
    { "stats.slope({ 1, 2 }, { method = 'x' })", 'method: expected ols or theil-sen, got "x"' },
    { "stats.forecast({ 1, 2, 3 }, { treshold = 1 })",
      'unknown option "treshold"; known are ahead, at, confidence, direction, method, threshold, times' },
    { "stats.forecast({ 1, 2, 3 }, { threshold = '1' })", 'threshold: expected a number, got "1"' },
    { "stats.forecast({ 1, 2, 3 }, { at = 1, ahead = 1 })", "expected at or ahead, got both" },
    { "stats.forecast({ 1, 2, 3 }, { confidence = 95 })", "confidence: expected a share between 0 and 1, got 95" },
    { "stats.changepoint({ 1 }, { min = 1 })", "min: expected a whole number of points from 2, got 1" },
    { "stats.outliers({ 1 }, { method = 'x' })", 'method: expected mad or iqr, got "x"' },
    { "stats.seasonal({ 1 }, { period = 1.5 })", "period: expected a whole number of points from 2, got 1.5" },
  } do
    it("raises at the script's line: " .. row[1], function()
      local r = run(row[1])
      assert.are.equal("failed", r.outcome)
      assert.is_truthy(r.error:find("^inspections/t%.lua:4: stats%."), r.error)
      assert.is_truthy(r.error:find(row[2], 1, true), r.error)
      assert.is_nil(r.traceback and r.traceback:find("stats_", 1, true), r.traceback)
    end)
  end

  it("leaves the argument as it was", function()
    local xs = { 3, 1, 2, null }
    for _, call in ipairs { stats.mean, stats.median, stats.mad, stats.stdev, stats.outliers, stats.seasonal } do call(xs) end
    assert.are.same({ 3, 1, 2, null }, xs)
  end)

  it("may be made while a script loads", function()
    local loaded, err = internal.load("assert(require 'selfmon.stats'.mean{ 1, 3 } == 2)\nmonitor{ title = 't' }\nfunction run() end", "t.lua")
    assert.is_table(loaded, err)
  end)

  it("with 100,000 points stays within a run, and a list that does not is the run's limit", function()
    local r = run([[local xs = {} for i = 1, 100000 do xs[i] = i % 1000 + i / 1000 end
      stats.mean(xs) stats.median(xs) stats.stdev(xs) stats.ewma(xs) stats.outliers(xs) stats.forecast(xs)
      assert(stats.seasonal(xs, { max = 2000 }).period == 1000)
      stats.changepoint(xs, { max = 2 })]], { file = "t.lua", timeout = 60, cpu = 60, memory = 128 << 20 })
    assert.are.equal("ok", r.outcome, r.error)
    r = run("local xs = {} for i = 1, 300000 do xs[i] = i end while true do pcall(stats.median, xs) end",
      { file = "t.lua", cpu = 0.5 })
    assert.are.equal("limit", r.outcome)
  end)
end)
