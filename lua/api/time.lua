-- selfmon.time
return {
  module = "selfmon.time", since = "0.1.0",
  doc = [[Clocks, ISO 8601, time zones and durations. Instants and lengths are seconds. Everything but `sleep` may be called
while a script loads.]],
  functions = {
    {
      name = "now",
      doc = "Seconds since 1970, with a fraction. In a spec with a stopped clock, that clock.",
      returns = { { "seconds", "number" } },
      example = "print(time.format(time.now() - 3600))",
    },
    {
      name = "monotonic",
      doc = "Seconds of a clock that never goes back, for measuring.",
      returns = { { "seconds", "number" } },
      example = [[
        local began = time.monotonic()
        print(("it took %.3f s"):format(time.monotonic() - began))
      ]],
    },
    {
      name = "parse",
      doc = [[An ISO 8601 text as an instant: a date (also `2026-W47-7` and `2026-326`), or date and time with `T` or a blank, seconds and fraction optional, `Z`
or `+01:00`. Without a zone in the text `zone` counts, else UTC. A local time that occurs twice is the first; one that does
not exist moves on by the gap.]],
      params = { { "text", "string" }, { "zone?", "string", "IANA name, such as `Europe/Berlin`" } },
      returns = { { "seconds", "number?" }, { "message", "string?" }, { "code", "string?", '`"invalid"`' } },
      example = [[
        assert(time.parse "2026-11-22T15:04:05+01:00" == 1795356245)
        local t, err = time.parse "tomorrow"
        assert(t == nil and err)
      ]],
    },
    {
      name = "format",
      doc = [[An instant as text: ISO 8601 unless a pattern is given, with `%Y %m %d %e %j %H %I %M %S %L` (milliseconds) `%p %a
%A %b %B %u %w %G %V %F %D %T %R %s %z %:z %Z`; names are English. Raises for an instant outside of 1678..2261.]],
      params = {
        { "t?", "number", "now unless given" },
        { "pattern?", "string" },
        { "zone?", "string", "IANA name; UTC unless given" },
      },
      returns = { { "text", "string?" }, { "message", "string?" }, { "code", "string?", '`"invalid"`' } },
      example = [[
        assert(time.format(1795356245) == "2026-11-22T14:04:05Z")
        assert(time.format(1795356245, "%H:%M", "Europe/Berlin") == "15:04")
      ]],
    },
    {
      name = "duration",
      doc = [[A duration as seconds, or seconds as a duration: `90s 15m 4h 2d 1h30m 250ms`; in a text a bare number is
seconds, a sign may stand before it, and ISO 8601's `PT1H30M`, `P1DT12H`, `P2W` are read too.]],
      params = { { "value", "string|number" } },
      returns = { { "result", "number|string|nil" }, { "message", "string?" }, { "code", "string?", '`"invalid"`' } },
      example = [[
        assert(time.duration "1h30m" == 5400)
        assert(time.duration(5400) == "1h30m")
      ]],
    },
    {
      name = "sleep",
      doc = "Waits. Blocks only this run, and ends with it. Not while a script is loading.",
      params = { { "seconds", "number", "0 to 3600" } },
      example = "time.sleep(0.01)",
    },
  },
}
