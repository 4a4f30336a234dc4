-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.exec

---What to run.
---@class selfmon.exec.Options
---@field cmd string absolute path of the program, without . and ..
---@field args (string|number)[]? given as they are; secrets are refused
---@field stdin string|selfmon.Secret? at most 1 MiB; without it /dev/null
---@field env table<string, string|number|selfmon.Secret>? besides PATH, LANG, HOME and TZ
---@field timeout number? seconds, 10; at most 3600
---@field cwd string? absolute path of a directory; /

---What a program said.
---@class selfmon.exec.Result
---@field code integer? exit code; nil after a signal
---@field signal integer? number of the signal that ended it
---@field stdout string at most 1 MiB
---@field stderr string at most 1 MiB
---@field seconds number how long it ran
---@field truncated boolean it wrote more than is here
---@field left integer processes it left behind, which were ended

---A threshold of a plugin: an alert is due outside low..high, or inside.
---@class selfmon.exec.Range
---@field text string as the plugin wrote it
---@field low number may be minus infinity
---@field high number may be infinity
---@field inside boolean an alert is due inside: the text began with @

---One figure of a plugin.
---@class selfmon.exec.Perfdata
---@field label string its name
---@field value number? nil when the plugin could not tell (U)
---@field unit string such as s, %, B, c; may be empty
---@field warn selfmon.exec.Range? warning range
---@field crit selfmon.exec.Range? critical range
---@field min number? smallest value there is
---@field max number? largest value there is

---What a monitoring plugin said: a Result, and its meaning.
---@class selfmon.exec.Nagios: selfmon.exec.Result
---@field status "ok"|"warning"|"critical"|"unknown" by the exit code
---@field text string the first line
---@field long_text string the lines after it
---@field perfdata selfmon.exec.Perfdata[] from all lines
---@field bad_perfdata string[] what is no performance data
---@field code integer? exit code; nil after a signal
---@field signal integer? number of the signal that ended it
---@field stdout string at most 1 MiB
---@field stderr string at most 1 MiB
---@field seconds number how long it ran
---@field truncated boolean it wrote more than is here
---@field left integer processes it left behind, which were ended

---Runs programs of this machine, brokered by the daemon: no shell, a clean environment, limits; each needs the
---permission `exec:/path/to/program`. Nothing of a program is left when its run has ended.
---@class selfmon.exec
local M = {}

---Runs a program and waits for its end. Any exit code is an answer. Raises for a wrong call and without the
---permission; a program that cannot be run, does not end in time or breaks a limit is nil, message, code.
---Needs a permission, in the example `exec:/usr/bin/uptime`.
---```lua
---local exec = require "selfmon.exec"
---local r, err = exec.run{ cmd = "/usr/bin/uptime", timeout = 5 }
---if not r then error(err) end
---print(r.code, r.stdout)
---```
---@param opts selfmon.exec.Options what to run
---@return selfmon.exec.Result? result what it said
---@return string? message what went wrong
---@return string? code timeout, not_found, denied, too_large, limit, …
function M.run(opts) end

---Runs a monitoring plugin (Nagios, Icinga, Monitoring Plugins) and reads its status, texts and performance data.
---Otherwise as run.
---Needs a permission, in the example `exec:/usr/lib/nagios/plugins/check_load`.
---```lua
---local exec = require "selfmon.exec"
---local r, err = exec.nagios{ cmd = "/usr/lib/nagios/plugins/check_load", args = { "-w", "4,3,2", "-c", "8,6,4" } }
---if not r then error(err) end
---for _, p in ipairs(r.perfdata) do print(r.status, p.label, p.value) end
---```
---@param opts selfmon.exec.Options what to run
---@return selfmon.exec.Nagios? result what it said
---@return string? message what went wrong
---@return string? code as of run
---@nodiscard
function M.nagios(opts) end

return M
