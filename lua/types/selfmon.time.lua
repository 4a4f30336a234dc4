-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.time

---Clocks, ISO 8601, time zones and durations. Instants and lengths are seconds. Everything but `sleep` may be called
---while a script loads.
---@class selfmon.time
local M = {}

---Seconds since 1970, with a fraction. In a spec with a stopped clock, that clock.
---```lua
---local time = require "selfmon.time"
---print(time.format(time.now() - 3600))
---```
---@return number seconds
---@nodiscard
function M.now() end

---Seconds of a clock that never goes back, for measuring.
---```lua
---local time = require "selfmon.time"
---local began = time.monotonic()
---print(("it took %.3f s"):format(time.monotonic() - began))
---```
---@return number seconds
---@nodiscard
function M.monotonic() end

---An ISO 8601 text as an instant: a date (also `2026-W47-7` and `2026-326`), or date and time with `T` or a blank, seconds and fraction optional, `Z`
---or `+01:00`. Without a zone in the text `zone` counts, else UTC. A local time that occurs twice is the first; one that does
---not exist moves on by the gap.
---```lua
---local time = require "selfmon.time"
---assert(time.parse "2026-11-22T15:04:05+01:00" == 1795356245)
---local t, err = time.parse "tomorrow"
---assert(t == nil and err)
---```
---@param text string
---@param zone? string IANA name, such as `Europe/Berlin`
---@return number? seconds
---@return string? message
---@return string? code `"invalid"`
---@nodiscard
function M.parse(text, zone) end

---An instant as text: ISO 8601 unless a pattern is given, with `%Y %m %d %e %j %H %I %M %S %L` (milliseconds) `%p %a
---%A %b %B %u %w %G %V %F %D %T %R %s %z %:z %Z`; names are English. Raises for an instant outside of 1678..2261.
---```lua
---local time = require "selfmon.time"
---assert(time.format(1795356245) == "2026-11-22T14:04:05Z")
---assert(time.format(1795356245, "%H:%M", "Europe/Berlin") == "15:04")
---```
---@param t? number now unless given
---@param pattern? string
---@param zone? string IANA name; UTC unless given
---@return string? text
---@return string? message
---@return string? code `"invalid"`
---@nodiscard
function M.format(t, pattern, zone) end

---A duration as seconds, or seconds as a duration: `90s 15m 4h 2d 1h30m 250ms`; in a text a bare number is
---seconds, a sign may stand before it, and ISO 8601's `PT1H30M`, `P1DT12H`, `P2W` are read too.
---```lua
---local time = require "selfmon.time"
---assert(time.duration "1h30m" == 5400)
---assert(time.duration(5400) == "1h30m")
---```
---@param value string|number
---@return number|string|nil result
---@return string? message
---@return string? code `"invalid"`
---@nodiscard
function M.duration(value) end

---Waits. Blocks only this run, and ends with it. Not while a script is loading.
---```lua
---local time = require "selfmon.time"
---time.sleep(0.01)
---```
---@param seconds number 0 to 3600
function M.sleep(seconds) end

return M
