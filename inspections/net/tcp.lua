-- TCP ports that should be open, answer quickly, and greet as expected.
local log = require "selfmon.log"
local net = require "selfmon.net"
local target = require "lib.target"

monitor{
  title = "TCP ports",
  doc = [[
    Connects to each target. Reports one that cannot be reached, is slow to accept, or does not greet with
    the text that is expected (for services that speak first, such as SMTP, FTP, SSH and MySQL).
  ]],
  schedule = "* * * * *",
  tags = { "net" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "50s",
  params = {
    targets = { type = "list", items = "string", default = {}, order = 1,
      doc = "host:port, such as db.example:5432 or [2001:db8::1]:22" },
    timeout = { type = "duration", default = "5s", order = 2, doc = "how long one may take" },
    slow    = { type = "duration", default = "1s", order = 3, doc = "a connection that takes longer is a warning" },
    expect  = { type = "string", default = "", order = 4, doc = "text that the server must send by itself; empty: any" },
  },
}
function run(params)
  if #params.targets == 0 then return log.info "nothing to look at: set the parameter targets" end
  local reporter, calls = EventReporter(), {}
  for i, text in ipairs(params.targets) do
    local host, port = target.split(text)
    calls[i] = { "tcp", host, port, { timeout = params.timeout, expect = params.expect ~= "" and params.expect or nil } }
  end
  for i, res in ipairs(net.all(calls)) do
    local name = params.targets[i]
    local function report(status, title, text)
      reporter:report{ title = name .. ": " .. title, status = status, message = text, dimension_tags = { target = name } }
    end
    if res.code == "protocol" or (res.error and params.expect ~= "" and res.code == "closed") then
      report("error", "unexpected greeting",
        ("`%s` accepts connections, but does not greet with `%s`:\n\n- %s"):format(name, params.expect, res.error))
    elseif res.error then
      report("critical", "not reachable", ([[
        `%s` cannot be reached over TCP:

        - %s
        - is the service running, and does a firewall let **this machine** through?
        - by hand: `nc -vz %s %d`
      ]]):format(name, res.error, calls[i][2], calls[i][3]))
    elseif res.timings.connect > params.slow then
      report("warning", ("slow: %s"):format(target.seconds(res.timings.connect)), ([[
        A connection to `%s` took **%s**, more than %s.

        - looking up the name: %s
        - reached at %s
      ]]):format(name, target.seconds(res.timings.connect), target.seconds(params.slow), target.seconds(res.timings.dns),
        res.ip))
    end
  end
end
