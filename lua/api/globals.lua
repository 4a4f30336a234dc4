-- What a script has without `require`.
return {
  module = "globals", globals = true, since = "0.1.0", page = "docs/script-guide.md",
  doc = [[What a script has without `require`. Besides these there is the safe part of Lua's own library: `string` (without
`dump`), `table`, `math`, `utf8`, `coroutine`, of `os` only `time date clock difftime`, and `assert error getmetatable
ipairs load next pairs pcall rawequal rawget rawlen rawset select setmetatable tonumber tostring type xpcall`. There is
no `io`, `debug`, `package`, `dofile` or `loadfile`. Reading an undefined global gives nil.]],
  types = {
    { name = "selfmon.Status", alias = '"info"|"ok"|"warning"|"error"|"critical"', doc = "How bad an event is." },
    {
      name = "selfmon.Event", doc = "What `reporter:report` takes.",
      fields = {
        { "title", "string", "one line of plain text, 1 to 256 characters" },
        { "message", "string", "Markdown, at most 64 KiB; its margin is removed" },
        { "status", "selfmon.Status" },
        { "dimension_tags", "table<string, string|number|boolean>?",
          "what the event is about, such as `{ host = \"web1\", mount = \"/\" }`: at most 32, names not beginning `df_`" },
      },
    },
    {
      name = "selfmon.Reporter", doc = "Reports the events of one run.",
      methods = {
        {
          name = "report", discard = true,
          doc = [[Reports one event or a list of events; an empty list reports nothing. When it returns, the events are
on stable storage and will be delivered, whatever happens to the process, the machine or the platform. Your mistakes
raise at your line, and then nothing of the list is reported. It also raises when the events cannot be stored.]],
          params = { { "event", "selfmon.Event|selfmon.Event[]" } },
          returns = { { "id", "string|string[]", "the event's id, or a list of ids" } },
          example = [[
            local reporter = EventReporter()
            reporter:report{
              title = "Disk / is 97 % full", status = "critical",
              message = "`/` on **web1** is **97 %** full: 3 GiB left.",
              dimension_tags = { host = "web1", mount = "/" },
            }
          ]],
        },
      },
    },
    {
      name = "selfmon.Context", doc = "The second argument of an inspection function. Read-only.",
      fields = {
        { "id", "string", "the inspection's id, `demo/shop.run`" },
        { "run_id", "string", "32 hex digits of this run" },
        { "slot", "number", "when the run was due (Unix seconds), not now" },
        { "trigger", '"schedule"|"first"|"once"|"retry"|"manual"' },
        { "attempt", "integer", "1; 2 when the worker of the first attempt died" },
        { "account", "string", "which account its events go to" },
        { "node", "string", "that account's node" },
        { "deadline", "number", "when the run will be ended (Unix seconds)" },
      },
    },
    {
      name = "monitor.Param", doc = "A parameter in full. By example, `threshold = 90`, it is that value's type.",
      fields = {
        { "type", '"string"|"number"|"integer"|"boolean"|"list"|"table"|"duration"|"any"' },
        { "default", "any", "without it, and without `required`, nil" },
        { "required", "boolean?", "a run without a value is `bad_params`" },
        { "min", "number?" }, { "max", "number?" },
        { "enum", "any[]?", "the values it may have" },
        { "items", "string?", "of a list: the type of its items" },
        { "order", "integer?", "its place in forms; then by name" },
        { "doc", "string?" },
      },
    },
    {
      name = "monitor.Events", doc = "Event policy: what is sent of what is reported.",
      fields = {
        { "recover", "boolean?", "a dimension that a complete run reports no more is over: `ok` is sent" },
        { "on_change", "boolean?", "the same status is sent once, not at each run" },
        { "confirm", "{ fail: integer?, ok: integer? }?", "so many runs in a row before a change counts" },
        { "remind", "string|number|nil", "while it stays bad, once per interval; at least 5 min" },
        { "max_dimensions", "integer?", "problems open at once; further ones come as one digest" },
        { "max_events", "table?", "`{ 50, per = \"10m\" }`: events sent in a window; further ones come as one digest" },
      },
    },
    {
      name = "monitor.Limits", doc = "Lower than the configured limits; higher has no effect.",
      fields = {
        { "memory", "string|integer|nil", "bytes or `\"8MiB\"`" },
        { "cpu", "string|number|nil", "seconds of CPU" },
        { "events", "integer?" },
        { "log", "string|integer|nil", "bytes of the run's log" },
        { "http", "integer?", "requests in all" },
      },
    },
    {
      name = "monitor.Spec", doc = "The keys of `monitor`.",
      fields = {
        { "title", "string", "one line, 1 to 256 characters" },
        { "doc", "string?", "Markdown, shown with the inspection" },
        { "schedule", "string|string[]|nil", "cron, `@every 90s`, `@hourly`; none: it runs on demand only" },
        { "timezone", "string?", "IANA name, such as `Europe/Berlin`" },
        { "timeout", "string|number|nil", "wall time of one run, 1 s to 1 h; 30" },
        { "params", "table<string, monitor.Param|any>?", "parameters, by example or in full" },
        { "permissions", "string[]?", "what it needs beyond the free modules, such as `\"secret:shop\"`" },
        { "events", "monitor.Events?", "event policy" },
        { "limits", "monitor.Limits?" },
        { "tags", "string[]?", "for `--tags` on the command line" },
        { "category", "string?", "sent with the registration" },
        { "overlap", '"skip"|"queue"|nil', "what a due run does while the last one still runs" },
        { "missed", '"last"|"skip"|"all"|nil', "slots missed while the program was down" },
        { "first_run", "boolean?", "runs once when it is first loaded; true" },
        { "retry", "boolean?", "whether a run whose worker died is repeated; true" },
        { "was", "string[]?", "earlier ids: identity and history follow a rename" },
        { "account", "string?", "which account of the configuration registers and receives it" },
        { "api_key_id", "string?", "better in the configuration" },
        { "api_key", "string?", "better in the configuration" },
        { "node", "string|table|nil", "better in the configuration" },
        { "name", "string?", "with `run`: the function's name" },
        { "run", "fun(params: table, ctx: selfmon.Context)?", "the function, where it does not follow" },
      },
    },
  },
  functions = {
    {
      name = "monitor", discard = true,
      doc = [[Makes an inspection of the function that follows. Three spellings: `monitor<title = "…">` and
`monitor{ title = "…" }` directly before a global `function run(params, ctx)`, and `monitor{ …, name = "run",
run = function(params, ctx) … end }`. An unknown key is an error that names the nearest known one.]],
      params = { { "spec", "monitor.Spec" } },
      script = true,
      example = [[
        monitor{
          title = "Queue",
          doc = "Reports a queue that is too long.",
          schedule = "*/5 * * * *",
          params = { longest = { type = "integer", default = 100, min = 1, doc = "messages that may wait" } },
          events = { recover = true, on_change = true },
        }
        function run(params, ctx)
          print(ctx.id, params.longest)
        end
      ]],
    },
    {
      name = "EventReporter",
      doc = [[A reporter of this run's events. In the inspection function, and in anything it calls; not while the
script is loading.]],
      returns = { { "reporter", "selfmon.Reporter" } },
      example = [[
        local id = EventReporter():report{ title = "Backup is late", message = "last one **26 h** ago", status = "warning" }
        print(id)
      ]],
    },
    {
      name = "print",
      doc = [[Writes its arguments, with tabs between them, to the run's log; with `run --once` also to standard error,
as `demo/shop.run: text`.]],
      params = { { "...", "any" } },
      example = 'print("looked at", 3, "disks")',
    },
    {
      name = "require",
      doc = [[A module: `selfmon.http`, `cjson` and their like, or the project's own `lib.util`, which is
`lib/util.lua` below the inspections' folder. Nothing else on disk can be reached.]],
      params = { { "name", "string" } },
      returns = { { "module", "any" } },
      example = [[
        local http, cjson = require "selfmon.http", require "cjson"
        print(http.get, cjson.null)
      ]],
    },
  },
}
