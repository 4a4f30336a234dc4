-- Units of systemd that have failed.
local exec = require "selfmon.exec"
local findings = require "lib.findings"
local host = require "selfmon.host"
local log = require "selfmon.log"

local function matches(patterns, unit)
  for _, pattern in ipairs(patterns) do
    local plain = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
    if unit:find("^" .. plain .. "$") then return true end
  end
  return false
end

monitor{
  title = "Failed systemd units",
  doc = [[
    Reports every unit that systemd counts as failed: a service that crashed or could not start, a mount that did
    not succeed, a timer's job that ended badly. Says nothing on a machine without systemd.
  ]],
  schedule = "*/5 * * * *",
  tags = { "host" },
  permissions = { "exec:/usr/bin/systemctl" },
  events = { recover = true, on_change = true, remind = "1d", max_dimensions = 30 },
  params = {
    enabled  = { type = "boolean", default = false, order = 1,
      doc = "true, once the permission exec:/usr/bin/systemctl is granted" },
    critical = { type = "list", items = "string", default = {}, order = 2,
      doc = "units whose failure is critical, such as nginx.service; * stands for any text" },
    exclude  = { type = "list", items = "string", default = {}, order = 3, doc = "units to leave out, likewise" },
  },
}
function run(params)
  if not params.enabled then return log.info "nothing to look at: set the parameter enabled" end
  local r, err, code = exec.run{ cmd = "/usr/bin/systemctl", timeout = 20,
    args = { "list-units", "--state=failed", "--all", "--plain", "--no-legend", "--no-pager", "--full" } }
  if not r and code == "not_found" then return log.info "this machine has no systemd" end
  if not r then error("cannot ask systemd: " .. err) end
  local said = findings.first_line(r.stderr)
  if r.code ~= 0 then
    if said:find("not been booted with systemd", 1, true) then return log.info "this machine was not booted with systemd" end
    error("cannot ask systemd: " .. said)
  end

  local name, events = host.name(), {}
  for line in r.stdout:gmatch "[^\n]+" do
    local unit, load, active, sub, about = line:match "^[^%w]*(%S+)%s+(%S+)%s+(%S+)%s+(%S+)%s*(.-)%s*$"
    if not unit or active ~= "failed" then error("cannot read what systemctl says: " .. line) end
    if not matches(params.exclude, unit) then
      events[#events + 1] = {
        title = ("%s: unit %s has failed"):format(name, unit),
        status = matches(params.critical, unit) and "critical" or "error",
        message = ("`%s` (%s) on **%s** is **failed** (%s, %s).\n\nWhy: `journalctl -u %s -n 50`\n\n"
          .. "Again: `systemctl restart %s`; to forget it: `systemctl reset-failed %s`")
          :format(unit, about ~= "" and about or "no description", name, load, sub, unit, unit, unit),
        dimension_tags = { host = name, unit = unit },
      }
    end
  end
  EventReporter():report(events)
end
