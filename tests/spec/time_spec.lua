local time = require "selfmon.time"

describe("time.parse", function()
  for _, row in ipairs {
    { "2026-11-22T15:04:05Z", 1795359845 },
    { "2026-11-22t15:04:05z", 1795359845 },
    { "2026-11-22 15:04:05Z", 1795359845 },
    { "2026-11-22 15:04:05 Z", 1795359845 },
    { "2026-11-22T16:04:05+01:00", 1795359845 },
    { "2026-11-22T20:34:05+0530", 1795359845 },
    { "2026-11-22T07:04:05-08", 1795359845 },
    { "20261122T150405Z", 1795359845 },
    { "2026-11-22T15:04:05.25Z", 1795359845.25 },
    { "2026-11-22T15:04:05,25Z", 1795359845.25 },
    { "2026-11-22T15:04", 1795359840 },
    { "2026-11-22", 1795305600 },
    { "2026-11-22T24:00:00Z", 1795392000 },
    { "1970-01-01T00:00:00Z", 0 },
    { "1969-12-31T23:59:59Z", -1 },
    { "2024-02-29", 1709164800 },
    { "2016-12-31T23:59:60Z", 1483228800 },
    { "2000-02-29T00:00:00Z", 951782400 },
    { "2026-11-22T15:04:05.123456789Z", 1795359845.1234567 },
    { "2026-11-22T15:04:05-00:00", 1795359845 },
    { "2026-11-22T15:04:05+23:59", 1795359845 - 86340 },
    -- weeks and days of the year: 2026-W53 ends 2027-01-03, 2024 has 366 days
    { "2026-W47-7T15:04:05Z", 1795359845 },
    { "2026W477T150405Z", 1795359845 },
    { "2026-W47", 1794787200 },
    { "2026-W01-1", 1766966400 },
    { "2026-W53-7", 1798934400 },
    { "2026-326", 1795305600 },
    { "2026326T150405Z", 1795359845 },
    { "2024-366", 1735603200 },
  } do
    it("reads " .. row[1], function()
      assert.are.equal(row[2], time.parse(row[1]))
    end)
  end

  for _, text in ipairs { "", "now", "2026", "2026-13-01", "2026-02-30", "2026-11-22T25:00Z", "2026-11-22T15:60Z",
                          "2026-11-22T15:04:05+1", "2026-11-22T15:04:05Zx", "2026-11-22T", "0000-01-01",
                          "2026-11-22T15:04:05.Z", "9999-01-01", "2026-1122", "1900-02-29", "2025-02-29", "2025-366",
                          "2026-000", "2026-W00-1", "2026-W54-1", "2025-W53-1", "2026-W47-8", "2026-W47-0", "2026-W4", "2026W47-7", "2026-W477", "2026-11-22T15:04:05+24:00" } do
    it("refuses " .. ("%q"):format(text), function()
      local v, err, code = time.parse(text)
      assert.is_nil(v)
      assert.is_string(err)
      assert.are.equal("invalid", code)
    end)
  end

  it("takes a zone for texts without one", function()
    assert.are.equal(time.parse "2026-07-01T10:00:00Z", time.parse("2026-07-01T12:00:00", "Europe/Berlin"))
    assert.are.equal(time.parse "2026-01-01T11:00:00Z", time.parse("2026-01-01T12:00:00", "Europe/Berlin"))
    assert.are.equal(time.parse "2026-01-01T12:00:00Z", time.parse("2026-01-01T12:00:00Z", "Europe/Berlin"))
    -- twice: the first; never: moved on by the gap
    assert.are.equal(time.parse "2026-10-25T00:30:00Z", time.parse("2026-10-25T02:30:00", "Europe/Berlin"))
    assert.are.equal(time.parse "2026-03-29T01:30:00Z", time.parse("2026-03-29T02:30:00", "Europe/Berlin"))
    local v, err, code = time.parse("2026-01-01", "Europe/Berlib")
    assert.is_nil(v)
    assert.is_truthy(err:find("Europe/Berlib", 1, true))
    assert.are.equal("invalid", code)
  end)
end)

describe("time.format", function()
  it("writes ISO 8601 by default", function()
    assert.are.equal("2026-11-22T15:04:05Z", time.format(1795359845))
    assert.are.equal("2026-11-22T15:04:05.250Z", time.format(1795359845.25))
    assert.are.equal("2026-11-22T16:04:05+01:00", time.format(1795359845, nil, "Europe/Berlin"))
    assert.are.equal("1969-12-31T23:59:59Z", time.format(-1))
    assert.is_truthy(time.format():match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$")
  end)

  for _, row in ipairs {
    { "%Y/%m/%d %H:%M:%S", "2026/11/22 15:04:05" }, { "%a %A %b %B", "Sun Sunday Nov November" },
    { "%j %u %w %y", "326 7 0 26" }, { "%I:%M %p", "03:04 PM" }, { "%F %T %R %D", "2026-11-22 15:04:05 15:04 11/22/26" },
    { "%s %L", "1795359845 000" }, { "%z %:z %Z", "+0000 +00:00 UTC" }, { "%e|%%|%t", "22|%|\t" }, { "", "" },
  } do
    it("writes " .. row[1], function()
      assert.are.equal(row[2], time.format(1795359845, row[1]))
    end)
  end

  it("knows zones and refuses what it does not know", function()
    assert.are.equal("CET +0100", time.format(1795359845, "%Z %z", "Europe/Berlin"))
    assert.are.equal("invalid", select(3, time.format(0, "%Q")))
    assert.are.equal("invalid", select(3, time.format(0, "%")))
    assert.are.equal("invalid", select(3, time.format(0, nil, "No/Where")))
    assert.has_error(function() time.format(0 / 0) end)
    assert.has_error(function() time.format(1e300) end)
  end)

  it("is undone by parse", function()
    for _, t in ipairs { 0, 1, 951782400, 4102444800, -500000000, 1795359845.125 } do
      assert.are.equal(t, time.parse(time.format(t)))
      assert.are.equal(t, time.parse(time.format(t, nil, "Asia/Kolkata")))
    end
  end)
end)

describe("time.duration", function()
  it("reads and writes", function()
    for text, seconds in pairs { ["90s"] = 90, ["1h30m"] = 5400, ["2d"] = 172800, ["250ms"] = 0.25, ["5"] = 5, ["-5m"] = -300, ["+1.5h"] = 5400,
                                ["PT1H30M"] = 5400, ["P1DT12H"] = 129600, ["P2W"] = 1209600, ["PT0.5S"] = 0.5, ["PT0,5S"] = 0.5,
                                ["-PT1M"] = -60, ["P3D"] = 259200 } do
      assert.are.equal(seconds, time.duration(text))
    end
    assert.are.equal("1h30m", time.duration(5400))
    assert.are.equal("2d3h4m5s", time.duration(2 * 86400 + 3 * 3600 + 4 * 60 + 5))
    assert.are.equal("1s250ms", time.duration(1.25))
    assert.are.equal("0s", time.duration(0))
    assert.are.equal("0s", time.duration(0.0001))
    assert.are.equal("-5m", time.duration(-300))
    for _, text in ipairs { "soon", "", "-", "--5m", "P", "PT", "P1DT", "P1Y", "P1M", "PT1D", "P1H", "PT1M1H", "PT1", "1h PT", "pt1h",
                            "P" .. ("1"):rep(80) .. "D", "PTT1H", "PT1.5.5H" } do
      local v, err, code = time.duration(text)
      assert.is_nil(v, text)
      assert.is_truthy(err:find("duration", 1, true), err)
      assert.are.equal("invalid", code)
    end
    for _, seconds in ipairs { 0, 1, 59.999, 61, 3600, 86399, 90061.25, -1, -86400.5 } do
      assert.are.equal(seconds, time.duration(time.duration(seconds)))
    end
    assert.has_error(function() time.duration(math.huge) end)
  end)
end)

describe("clocks", function()
  it("move forward in seconds", function()
    local wall, mono = time.now(), time.monotonic()
    assert.are.equal("float", math.type(wall))
    assert.is_true(math.abs(wall - os.time()) < 2)
    time.sleep(0.02)
    local slept = time.monotonic() - mono
    assert.is_true(slept >= 0.02 and slept < 1, "slept " .. slept)
  end)

  it("refuse a sleep that is none", function()
    for _, s in ipairs { -1, 0 / 0, math.huge, 3601 } do
      assert.has_error(function() time.sleep(s) end)
    end
  end)
end)

describe("waiting inside a run", function()
  local internal = require "selfmon.internal"
  local function run(body)
    return internal.run(([[
      local time, host = require "selfmon.time", require "selfmon.host"
      monitor{ title = "t" }
      function run() %s print "went on" end
    ]]):format(body), "run", {}, { file = "t.lua", timeout = 0.2 })
  end

  it("goes on after the time asked for", function()
    local r = run "local b = time.monotonic() time.sleep(0.05) assert(time.monotonic() - b >= 0.05)"
    assert.are.equal("ok", r.outcome, r.error)
  end)

  for _, body in ipairs { "time.sleep(60)", "pcall(time.sleep, 60)", "host.cpu{ interval = 60 }",
                          "coroutine.wrap(function() time.sleep(60) end)()" } do
    it("ends with the run: " .. body, function()
      local before = time.monotonic()
      local r = run(body)
      assert.are.equal("timeout", r.outcome, r.error)
      assert.are.equal("", r.log)
      assert.is_true(time.monotonic() - before < 2)
    end)
  end

  it("is refused while a script loads", function()
    local loaded, err = internal.load("require 'selfmon.time'.sleep(0)\nmonitor{ title = 't' }\nfunction run() end", "t.lua")
    assert.is_nil(loaded)
    assert.is_truthy(err:find("t.lua:1: time.sleep cannot be called while a script is loading", 1, true), err)
  end)
end)
