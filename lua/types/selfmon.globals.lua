-- Made by `selfmon-lua types`: do not edit.
---@meta _

---How bad an event is.
---@alias selfmon.Status "info"|"ok"|"warning"|"error"|"critical"

---What `reporter:report` takes.
---@class selfmon.Event
---@field title string one line of plain text, 1 to 256 characters
---@field message string Markdown, at most 64 KiB; its margin is removed
---@field status selfmon.Status
---@field dimension_tags table<string, string|number|boolean>? what the event is about, such as `{ host = "web1", mount = "/" }`: at most 32, names not beginning `df_`

---Reports the events of one run.
---@class selfmon.Reporter
local Reporter = {}

---Reports one event or a list of events; an empty list reports nothing. When it returns, the events are
---on stable storage and will be delivered, whatever happens to the process, the machine or the platform. Your mistakes
---raise at your line, and then nothing of the list is reported. It also raises when the events cannot be stored.
---```lua
---local reporter = EventReporter()
---reporter:report{
---  title = "Disk / is 97 % full", status = "critical",
---  message = "`/` on **web1** is **97 %** full: 3 GiB left.",
---  dimension_tags = { host = "web1", mount = "/" },
---}
---```
---@param event selfmon.Event|selfmon.Event[]
---@return string|string[] id the event's id, or a list of ids
function Reporter:report(event) end

---The second argument of an inspection function. Read-only.
---@class selfmon.Context
---@field id string the inspection's id, `demo/shop.run`
---@field run_id string 32 hex digits of this run
---@field slot number when the run was due (Unix seconds), not now
---@field trigger "schedule"|"first"|"once"|"retry"|"manual"
---@field attempt integer 1; 2 when the worker of the first attempt died
---@field account string which account its events go to
---@field node string that account's node
---@field deadline number when the run will be ended (Unix seconds)

---A parameter in full. By example, `threshold = 90`, it is that value's type.
---@class monitor.Param
---@field type "string"|"number"|"integer"|"boolean"|"list"|"table"|"duration"|"any"
---@field default any without it, and without `required`, nil
---@field required boolean? a run without a value is `bad_params`
---@field min number?
---@field max number?
---@field enum any[]? the values it may have
---@field items string? of a list: the type of its items
---@field order integer? its place in forms; then by name
---@field doc string?

---Event policy: what is sent of what is reported.
---@class monitor.Events
---@field recover boolean? a dimension that a complete run reports no more is over: `ok` is sent
---@field on_change boolean? the same status is sent once, not at each run
---@field confirm { fail: integer?, ok: integer? }? so many runs in a row before a change counts
---@field remind string|number|nil while it stays bad, once per interval; at least 5 min
---@field max_dimensions integer? problems open at once; further ones come as one digest
---@field max_events table? `{ 50, per = "10m" }`: events sent in a window; further ones come as one digest

---Lower than the configured limits; higher has no effect.
---@class monitor.Limits
---@field memory string|integer|nil bytes or `"8MiB"`
---@field cpu string|number|nil seconds of CPU
---@field events integer?
---@field log string|integer|nil bytes of the run's log
---@field http integer? requests in all

---The keys of `monitor`.
---@class monitor.Spec
---@field title string one line, 1 to 256 characters
---@field doc string? Markdown, shown with the inspection
---@field schedule string|string[]|nil cron, `@every 90s`, `@hourly`; none: it runs on demand only
---@field timezone string? IANA name, such as `Europe/Berlin`
---@field timeout string|number|nil wall time of one run, 1 s to 1 h; 30
---@field params table<string, monitor.Param|any>? parameters, by example or in full
---@field permissions string[]? what it needs beyond the free modules, such as `"secret:shop"`
---@field events monitor.Events? event policy
---@field limits monitor.Limits?
---@field tags string[]? for `--tags` on the command line
---@field category string? sent with the registration
---@field overlap "skip"|"queue"|nil what a due run does while the last one still runs
---@field missed "last"|"skip"|"all"|nil slots missed while the program was down
---@field first_run boolean? runs once when it is first loaded; true
---@field retry boolean? whether a run whose worker died is repeated; true
---@field was string[]? earlier ids: identity and history follow a rename
---@field account string? which account of the configuration registers and receives it
---@field api_key_id string? better in the configuration
---@field api_key string? better in the configuration
---@field node string|table|nil better in the configuration
---@field name string? with `run`: the function's name
---@field run fun(params: table, ctx: selfmon.Context)? the function, where it does not follow

---Makes an inspection of the function that follows. Three spellings: `monitor<title = "…">` and
---`monitor{ title = "…" }` directly before a global `function run(params, ctx)`, and `monitor{ …, name = "run",
---run = function(params, ctx) … end }`. An unknown key is an error that names the nearest known one.
---```lua
---monitor{
---  title = "Queue",
---  doc = "Reports a queue that is too long.",
---  schedule = "*/5 * * * *",
---  params = { longest = { type = "integer", default = 100, min = 1, doc = "messages that may wait" } },
---  events = { recover = true, on_change = true },
---}
---function run(params, ctx)
---  print(ctx.id, params.longest)
---end
---```
---@param spec monitor.Spec
function monitor(spec) end

---A reporter of this run's events. In the inspection function, and in anything it calls; not while the
---script is loading.
---```lua
---local id = EventReporter():report{ title = "Backup is late", message = "last one **26 h** ago", status = "warning" }
---print(id)
---```
---@return selfmon.Reporter reporter
---@nodiscard
function EventReporter() end
