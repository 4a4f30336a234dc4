-- @TITLE@: runs a program and reads what it prints.
local exec = require "selfmon.exec"

monitor<title = "@TITLE@",
  doc = [[
    Reports file systems that are nearly full, as `df` sees them.
  ]],
  schedule = "*/5 * * * *",
  timeout = "30s",
  permissions = { "exec:/usr/bin/df" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    warning  = { type = "number", default = 85, min = 0, max = 100, order = 1, doc = "percent used that is a warning" },
    critical = { type = "number", default = 95, min = 0, max = 100, order = 2, doc = "percent used that is critical" },
  }>
function run(params)
  local result, err = exec.run{ cmd = "/usr/bin/df", args = { "--local", "--output=pcent,target" }, timeout = 10 }
  if not result then error("df: " .. err) end
  if result.code ~= 0 then error(("df ended with code %s: %s"):format(result.code, result.stderr)) end

  local reporter = EventReporter()
  for percent, mount in result.stdout:gmatch "(%d+)%%%s+(/[^\n]*)" do
    percent = tonumber(percent)
    if percent >= math.min(params.warning, params.critical) then
      reporter:report{
        title = ("%s is %d %% full"):format(mount, percent),
        status = percent >= params.critical and "critical" or "warning",
        message = ("`%s` is **%d %%** full.\n\nWhat takes it: `du -xhd1 %s | sort -h | tail`"):format(mount, percent, mount),
        dimension_tags = { mount = mount },
      }
    end
  end
end
