-- selfmon.time in the zones of the world, against Python's zoneinfo (time_zones.py) on the same zone files.
local time = require "selfmon.time"

local rows = { p = {}, f = {} }
local pipe = assert(io.popen "/usr/bin/python3 tests/spec/time_zones.py")
for line in pipe:lines() do
  local words = {}
  for word in line:gmatch "%S+" do words[#words + 1] = word end
  table.insert(rows[words[1]], words)
end
pipe:close()

describe("time in zones", function()
  it("reads local times around changes of the clock", function()
    assert.is_true(#rows.p > 3000, #rows.p)
    for _, r in ipairs(rows.p) do
      local got = time.parse(r[3], r[2])
      if got ~= tonumber(r[4]) then
        error(("%s in %s: expected %s, got %s (%s s off)"):format(r[3], r[2], r[4], tostring(got), tostring(got and got - r[4])))
      end
    end
  end)

  it("writes instants, with offset, abbreviation, day of year and ISO week", function()
    assert.is_true(#rows.f > 800, #rows.f)
    for _, r in ipairs(rows.f) do
      local at = tonumber(r[3])
      assert.are.equal(r[4], (time.format(at, nil, r[2]):gsub("%+00:00$", "Z")), r[2])
      assert.are.equal(("%s %s %s"):format(r[5], r[6], r[7]), time.format(at, "%Z %j %G-%V-%u", r[2]), r[2] .. " " .. r[4])
      assert.are.equal(at, time.parse(r[4]))
    end
  end)
end)
