-- The virtual clock of selfmon.testing: it stands still until a run sleeps or waits, or the test moves it.
-- Other fakes ask now() for the time of the test.
local internal = require "selfmon.internal"
local time = require "selfmon.time"

local M = { api = {} }

local clock -- of the current test, or nil: the machine's

function M.reset()
  clock = nil
end

--- The clock for a run, or nil.
function M.handle()
  return clock
end

--- Seconds since 1970: the test's clock, else the machine's.
function M.now()
  return clock and clock:now() or time.now()
end

--- For fakes: so many seconds pass, when the clock is the test's.
function M.pass(seconds)
  if clock and seconds and seconds > 0 then clock:advance(seconds) end
end

local function seconds_of(at)
  if type(at) == "number" then return at end
  if type(at) ~= "string" then
    error(("t.clock: expected a time such as \"2026-03-01T12:00:00Z\" or seconds since 1970, got %s"):format(type(at)), 3)
  end
  local s, err = time.parse(at)
  if not s then error("t.clock: " .. err, 3) end
  return s
end

--- Stops the clock at this time (ISO 8601, UTC unless it names a zone, or seconds since 1970) for the rest
--- of the test: `time.now`, `os.time`, `os.date` and `ctx.slot` show it; sleeping and waiting move it.
function M.api.clock(at)
  local s = seconds_of(at)
  if s ~= s or s < 0 or s > 9e9 then error(("t.clock: expected a time from 1970 to 2255, got %s"):format(at), 2) end
  clock = internal.clock(s)
end

--- Moves the clock by a duration ("90s", "1h30m" or seconds); without t.clock before, it starts from now.
function M.api.advance(duration)
  local s, err = duration, nil
  if type(duration) == "string" then s, err = time.duration(duration) end
  if type(s) ~= "number" or s ~= s or s < 0 or s > 3.2e9 then
    error("t.advance: " .. (err or ("expected a duration such as \"90s\" or seconds, got %s"):format(tostring(duration))), 2)
  end
  clock = clock or internal.clock(time.now())
  clock:advance(s)
end

--- Seconds since 1970 by the clock of the test.
M.api.now = M.now

return M
