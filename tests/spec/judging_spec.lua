-- The judgement of shipped inspections on generated series whose answer is known: precision and recall.
-- Each case has its own seed, so that a failure can be made again: `selfmon-lua lua busted … --filter`.
local function lib(name)
  return assert(loadfile("inspections/lib/" .. name .. ".lua"))()
end

local seed -- of the case

local function normal()
  return math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random())
end

local function between(low, high)
  return low + (high - low) * math.random()
end

-- Some points are not there, single ones and whole stretches.
local function with_gaps(values, times, share)
  local v, t, i = {}, {}, 1
  while i <= #values do
    if math.random() < share then
      i = i + (math.random() < 0.2 and math.random(2, 12) or 1)
    else
      v[#v + 1], t[#t + 1] = values[i], times[i]
      i = i + 1
    end
  end
  return v, t
end

-- Counts of a judgement over `n` cases of each kind; make(kind, truth) answers what to judge, judge(…) a boolean.
local function measure(name, kinds, n, make, judge)
  local hit, false_alarm, missed, quiet, lines = 0, 0, 0, 0, {}
  for _, kind in ipairs(kinds) do
    local wrong = {}
    for i = 1, n do
      for _, truth in ipairs { true, false } do
        seed = 7919 * i + (truth and 1 or 2) + 104729 * #kind
        math.randomseed(seed)
        local said = judge(make(kind, truth))
        if said and truth then hit = hit + 1 elseif said then false_alarm = false_alarm + 1
        elseif truth then missed = missed + 1 else quiet = quiet + 1 end
        if said ~= truth then wrong[#wrong + 1] = (truth and "missed " or "false ") .. seed end
      end
    end
    lines[#lines + 1] = ("#   %-24s %d of %d wrong%s"):format(kind, #wrong, 2 * n, wrong[1] and ": " .. table.concat(wrong, ", ", 1, math.min(6, #wrong)) or "")
  end
  local precision, recall = hit / math.max(1, hit + false_alarm), hit / (hit + missed)
  print(("# %s: %d series, precision %.3f, recall %.3f (%d true, %d false alarms, %d missed)")
    :format(name, hit + false_alarm + missed + quiet, precision, recall, hit, false_alarm, missed))
  print(table.concat(lines, "\n"))
  return precision, recall
end

describe("the judgement of", function()
  it("disks that will be full within 48 hours", function()
    local filling = lib "filling"
    local HOUR, LIMIT = 3600, 90
    -- True: the peaks reach the limit in 2 to 38 hours. False: in more than 90, or never.
    local function make(kind, truth)
      local n = kind == "short history" and 40 or 336
      local level, slope = between(20, 70), between(-0.02, 0.05)
      local values, times = {}, {}
      local noise = kind == "noise" and between(0.3, 1) or between(0.02, 0.2)
      local wave = (kind == "daily season" or kind == "all of it") and between(0.5, 4) or 0
      local saw = (kind == "log rotation" or kind == "all of it") and between(0.5, 3) or 0
      local phase = math.random(0, 23)
      local began = kind == "began lately" and n - math.random(30, 60) or 1
      local jump = kind == "step down" and -between(5, 15) or kind == "step up" and between(5, 12) or 0
      local jumped = math.random(n // 3, math.max(n // 3, n - 48))
      for i = 1, n do
        local h = i + phase
        values[i] = (i >= jumped and jump or 0) + wave * math.sin(2 * math.pi * h / 24)
          + (saw > 0 and saw * (h % 24) / 24 or 0) + noise * normal()
        times[i] = 1790000000 + i * HOUR
      end
      local peak = wave + saw * 23 / 24 + (jumped <= n and jump or 0)
      -- The trend at the end, and then where it must have begun.
      if truth then
        slope = between(0.08, 0.5)
        if began == 1 then slope = between(0.06, math.max(0.07, 60 / n)) end
        level = LIMIT - peak - slope * between(2, 38)
      elseif kind == "short history" then
        slope = between(-0.1, 0.05)
        level = LIMIT - peak - math.max(3, slope * between(100, 300))
      else
        level = LIMIT - peak - math.max(between(3, 30), slope * between(100, 300))
      end
      for i = 1, n do
        local t = truth and math.max(i, began) - n or i - n
        values[i] = math.min(100, math.max(0, values[i] + level + slope * t))
      end
      if kind == "gaps" or kind == "all of it" then values, times = with_gaps(values, times, 0.15) end
      return values, times
    end
    local precision, recall = measure("disk forecast", { "plain", "noise", "daily season", "log rotation", "step down", "step up",
      "began lately", "gaps", "short history", "all of it" }, 25, make, function(values, times)
      local line = filling.judge(values, times, LIMIT)
      return line ~= nil and line.left ~= nil and line.left <= 48 * HOUR
    end)
    assert.is_true(precision >= 0.9 and recall >= 0.9, ("precision %.3f, recall %.3f"):format(precision, recall))
  end)

  it("memory that leaks", function()
    local leak = lib "leak"
    local MINUTE = 60
    -- True: the floor rises by 9 to 30 points in six hours. False: it does not, or as on each day, or in one jump.
    local function make(kind, truth)
      local days, step = kind == "first day" and 0.27 or 2.3, 5 * MINUTE
      local n = math.floor(days * 86400 / step)
      local level, noise = between(25, 45), between(0.1, 1)
      local wave = kind == "daily season" and between(3, 12) or 0
      local saw = kind == "garbage collection" and between(3, 10) or 0
      local period, phase = math.random(6, 14), between(0, 2 * math.pi)
      local growth = truth and between(9, 30) or between(-4, 1.5)
      local began = n - 72 - (truth and math.random(0, 60) or 0)
      local jump = kind == "a program starts" and not truth and between(8, 25) or 0
      local jumped = math.random(n - 66, n - 8)
      local values, times = {}, {}
      for i = 1, n do
        local leaked = truth and math.max(0, i - began) / 72 * growth or i / n * growth
        values[i] = math.min(99, level + leaked + (i >= jumped and jump or 0)
          + wave * (1 + math.sin(phase + 2 * math.pi * i * step / 86400)) + saw * (i % period) / period + noise * normal())
        times[i] = 1790000000 + i * step
      end
      if kind == "gaps" then values, times = with_gaps(values, times, 0.1) end
      return values, times
    end
    local precision, recall = measure("memory leak", { "plain", "daily season", "garbage collection", "a program starts",
      "gaps", "first day" }, 60, make, function(values, times)
      local m = leak.judge(values, times, { hours = 6, growth = 5 })
      return m ~= nil and m.leak
    end)
    assert.is_true(precision >= 0.93 and recall >= 0.93, ("precision %.3f, recall %.3f"):format(precision, recall))
  end)

  it("figures that went up suddenly", function()
    local change = lib "change"
    -- True: 1.8 to 5 times as high for 30 minutes to 5 hours, up to now. False: not, or it is over.
    local function make(kind, truth)
      local step, n = 300, 300
      local level, noise = between(20, 400), between(0.03, 0.15)
      local wave = kind == "daily season" and between(0.1, 0.35) or 0
      local phase = between(0, 2 * math.pi)
      local from = n - math.random(6, 60)
      local factor = between(1.8, 5)
      local to = truth and n or kind == "it is over" and math.min(n - 10, from + math.random(4, 30)) or 0
      if not truth and kind ~= "it is over" then factor = 1 end
      local trend = kind == "slow rise" and between(0.1, 0.4) or 0
      local values, times = {}, {}
      for i = 1, n do
        local x = level * (1 + wave * math.sin(phase + 2 * math.pi * i * step / 86400)) * (1 + trend * i / n)
        if i >= from and i <= to then x = x * factor end
        x = x * math.exp(noise * normal())
        if kind == "spikes" and math.random() < 0.03 then x = x * between(3, 20) end
        values[i], times[i] = x, 1790000000 + i * step
      end
      if kind == "gaps" then values, times = with_gaps(values, times, 0.1) end
      return values, times
    end
    local precision, recall = measure("change", { "plain", "daily season", "slow rise", "spikes", "it is over", "gaps" }, 60, make,
      function(values, times)
        return change.judge(values, times, { ratio = 1.5 }) ~= nil
      end)
    assert.is_true(precision >= 0.93 and recall >= 0.93, ("precision %.3f, recall %.3f"):format(precision, recall))
  end)
end)
