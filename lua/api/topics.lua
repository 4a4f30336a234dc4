-- What `selfmon-lua doc` explains besides functions.
return {
  {
    name = "permissions", title = "what a script may do beyond the free modules",
    text = [[
A script is confined: it reads no files, starts no programs and sees no secrets unless it asks for them and the
operator grants it.

Asked for in the script:

    monitor{ title = "…", permissions = { "exec:/usr/bin/df", "file:/var/log/**", "secret:shop" } }

Granted in selfmon.conf.lua, by pattern of the script's id:

    grant = {
      ["host/*"] = { "exec:/usr/bin/df", "file:/var/log/**" },
      ["demo/shop.run"] = { "secret:shop" },
    },

  exec:/path/of/program   selfmon.exec may start it
  file:/path/**           selfmon.host's file functions may read below it; http's `cert` too
  secret:name             selfmon.secret answers it, from `secrets` of the configuration
  processes:cmdline       host.processes shows command lines, which may hold what nobody should see

A call without its grant raises, and names the line to add.]],
  },
  {
    name = "schedules", title = "when an inspection runs",
    text = [[
  */5 * * * *            every five minutes: minute, hour, day, month, weekday
  30 9 * * mon-fri       names, lists (1,15), ranges (1-5), steps (*/10); 0 and 7 are Sunday
  10 */5 * * * *         six fields: seconds first
  0 0 L * *              the last day of the month; 15W: the working day nearest to the 15th
  0 9 * * fri#2          the second Friday; 5L: the last one
  H * * * *              a minute of the inspection's own, so that not all run at once
  @hourly @daily @weekly @monthly @yearly
  @every 90s             at whole multiples since 1970; at least 1 s

Without a schedule an inspection runs on demand only (`run --once`). `selfmon-lua next 'EXPR'` shows when one fires.
Durations everywhere: 90s 15m 4h 2d 1h30m.]],
  },
  {
    name = "params", title = "parameters of an inspection",
    text = [[
By example, the type is that of the default; in full, a table with a `type`:

    params = {
      threshold = 90,
      mode  = { type = "string", default = "fast", enum = { "fast", "full" } },
      ports = { type = "list", items = "integer", default = { 80, 443 } },
      since = { type = "duration", default = "15m" },   -- the script sees 900
      url   = { type = "string", required = true },     -- a run without it is bad_params
    }

Types: string number integer boolean list table duration any.
A value set on the platform (`selfmon-lua local set ID NAME=VALUE` for the embedded one) wins over `params` in
selfmon.conf.lua, and that over the default. `-p ID:NAME=VALUE` wins for one `run --once`.]],
  },
  {
    name = "events", title = "what is sent of what is reported",
    text = [[
    events = {
      recover = true,                    -- what a complete run reports no more is over: `ok` is sent
      on_change = true,                  -- the same status is sent once, not at each run
      confirm = { fail = 3, ok = 2 },    -- so many runs in a row before a change counts
      remind = "4h",                     -- while it stays bad, once per interval
      max_dimensions = 20,               -- problems open at once; further ones come as one digest
      max_events = { 50, per = "10m" },  -- events sent in a window; further ones come as one digest
    }

Without it each event is sent as reported. `selfmon-lua why ID` shows what was decided, and by which rule.]],
  },
  {
    name = "limits", title = "what one run may take",
    text = [[
30 s of wall time, 10 s of CPU, 32 MiB of Lua heap, 1,000 events, 64 HTTP transfers at once and 1,000 in all, 8 MiB of
body for each, 256 KiB of log. `limits` in selfmon.conf.lua sets them; `limits` in monitor lowers them for one script.
A limit cannot be caught: the run ends as `limit`, with limit and line in its error.]],
  },
  {
    name = "outcomes", title = "how a run may end",
    text = [[
  ok              the function returned
  failed          it raised; message and traceback are kept
  timeout, limit  it reached its timeout or another limit
  bad_params      the parameters do not fit; no script code ran
  disabled        switched off on the platform; no script code ran
  unregistered    not registered there; no script code ran
  skipped         the last run had not ended
  missed          the program was down
  crashed         its worker process died
  cancelled       the program was stopped

Only a run that ended `ok` recovers what it reports no more. A run that failed says nothing about what it inspects.]],
  },
}
