return {
  module = "selfmon.exec", since = "0.1.0",
  doc = [[Runs programs of this machine, brokered by the daemon: no shell, a clean environment, limits; each needs the
permission `exec:/path/to/program`. Nothing of a program is left when its run has ended.]],
  types = {
    { name = "selfmon.exec.Options", doc = "What to run.", fields = {
      { "cmd", "string", "absolute path of the program, without . and .." },
      { "args", "(string|number)[]?", "given as they are; secrets are refused" },
      { "stdin", "string|selfmon.Secret?", "at most 1 MiB; without it /dev/null" },
      { "env", "table<string, string|number|selfmon.Secret>?", "besides PATH, LANG, HOME and TZ" },
      { "timeout", "number?", "seconds, 10; at most 3600" },
      { "cwd", "string?", "absolute path of a directory; /" },
    } },
    { name = "selfmon.exec.Result", doc = "What a program said.", fields = {
      { "code", "integer?", "exit code; nil after a signal" },
      { "signal", "integer?", "number of the signal that ended it" },
      { "stdout", "string", "at most 1 MiB" },
      { "stderr", "string", "at most 1 MiB" },
      { "seconds", "number", "how long it ran" },
      { "truncated", "boolean", "it wrote more than is here" },
      { "left", "integer", "processes it left behind, which were ended" },
    } },
    { name = "selfmon.exec.Range", doc = "A threshold of a plugin: an alert is due outside low..high, or inside.", fields = {
      { "text", "string", "as the plugin wrote it" },
      { "low", "number", "may be minus infinity" },
      { "high", "number", "may be infinity" },
      { "inside", "boolean", "an alert is due inside: the text began with @" },
    } },
    { name = "selfmon.exec.Perfdata", doc = "One figure of a plugin.", fields = {
      { "label", "string", "its name" },
      { "value", "number?", "nil when the plugin could not tell (U)" },
      { "unit", "string", "such as s, %, B, c; may be empty" },
      { "warn", "selfmon.exec.Range?", "warning range" },
      { "crit", "selfmon.exec.Range?", "critical range" },
      { "min", "number?", "smallest value there is" },
      { "max", "number?", "largest value there is" },
    } },
    { name = "selfmon.exec.Nagios", extends = "selfmon.exec.Result", doc = "What a monitoring plugin said: a Result, and its meaning.",
      fields = {
      { "status", "\"ok\"|\"warning\"|\"critical\"|\"unknown\"", "by the exit code" },
      { "text", "string", "the first line" },
      { "long_text", "string", "the lines after it" },
      { "perfdata", "selfmon.exec.Perfdata[]", "from all lines" },
      { "bad_perfdata", "string[]", "what is no performance data" },
      { "code", "integer?", "exit code; nil after a signal" },
      { "signal", "integer?", "number of the signal that ended it" },
      { "stdout", "string", "at most 1 MiB" },
      { "stderr", "string", "at most 1 MiB" },
      { "seconds", "number", "how long it ran" },
      { "truncated", "boolean", "it wrote more than is here" },
      { "left", "integer", "processes it left behind, which were ended" },
    } },
  },
  functions = {
    { name = "run", discard = true, permission = "exec:/usr/bin/uptime", doc = [[Runs a program and waits for its end. Any exit code is an answer. Raises for a wrong call and without the
permission; a program that cannot be run, does not end in time or breaks a limit is nil, message, code.]],
      params = { { "opts", "selfmon.exec.Options", "what to run" } },
      returns = { { "result", "selfmon.exec.Result?", "what it said" }, { "message", "string?", "what went wrong" },
                  { "code", "string?", "timeout, not_found, denied, too_large, limit, …" } },
      example = [[
local exec = require "selfmon.exec"
local r, err = exec.run{ cmd = "/usr/bin/uptime", timeout = 5 }
if not r then error(err) end
print(r.code, r.stdout)
]] },
    { name = "nagios", permission = "exec:/usr/lib/nagios/plugins/check_load", doc = [[Runs a monitoring plugin (Nagios, Icinga, Monitoring Plugins) and reads its status, texts and performance data.
Otherwise as run.]],
      params = { { "opts", "selfmon.exec.Options", "what to run" } },
      returns = { { "result", "selfmon.exec.Nagios?", "what it said" }, { "message", "string?", "what went wrong" },
                  { "code", "string?", "as of run" } },
      example = [[
local exec = require "selfmon.exec"
local r, err = exec.nagios{ cmd = "/usr/lib/nagios/plugins/check_load", args = { "-w", "4,3,2", "-c", "8,6,4" } }
if not r then error(err) end
for _, p in ipairs(r.perfdata) do print(r.status, p.label, p.value) end
]] },
  },
}
