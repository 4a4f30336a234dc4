-- Programs that must run, or must not, and how many zombies there are.
local host = require "selfmon.host"

-- "nginx", "worker*=2", "postgres=1-50", "cron=1-", "telnetd=0" -> name, least, most
local function expectation(text)
  local name, range = text:match "^(.-)=([%d%-]+)$"
  if not name then return text, 1, math.huge end
  local least, most = range:match "^(%d+)%-(%d*)$"
  least = tonumber(least or range:match "^%d+$")
  if not least or name == "" then error(("expected NAME, NAME=COUNT or NAME=LEAST-MOST, got %q"):format(text), 0) end
  most = most == nil and least or tonumber(most) or math.huge
  return name, least, most
end

local function wanted(least, most)
  if least == most then return ("exactly %d"):format(least) end
  return most == math.huge and ("at least %d"):format(least) or ("%d to %d"):format(least, most)
end

local function some(list)
  local lines = {}
  for i = 1, math.min(#list, 5) do
    local p = list[i]
    lines[i] = ("- pid %d, %s, %s, %.1f MiB"):format(p.pid, p.user or "uid " .. p.uid, p.state, p.rss / 2^20)
  end
  if #list > 5 then lines[6] = ("- and %d more"):format(#list - 5) end
  return table.concat(lines, "\n")
end

monitor{
  title = "Processes",
  doc = [[
    Counts processes by the name of their program, or by a text in their command line, and zombies.

    Each entry is `NAME` (at least one), `NAME=3` (exactly three), `NAME=1-20`, `NAME=2-` (at least two) or `NAME=0`
    (none may run). In a name `*` is any text. Zombies do not count as running.

    Only `commands` needs the permission `processes:cmdline`: command lines may hold passwords.
  ]],
  schedule = "* * * * *",
  tags = { "host" },
  permissions = { "processes:cmdline" },
  events = { recover = true, on_change = true, remind = "1d" },
  params = {
    names    = { type = "list", items = "string", default = {}, order = 1, doc = "programs, such as nginx=1-20" },
    commands = { type = "list", items = "string", default = {}, order = 2,
      doc = "texts in command lines, such as catalina=1" },
    user     = { type = "string", default = "", order = 3, doc = "count only processes of this user" },
    zombies  = { type = "integer", default = 20, min = 0, order = 4, doc = "more zombies are a warning" },
  },
}
function run(params)
  local machine, events = host.name(), {}

  local function list(filter)
    local found, err = host.processes(filter)
    if not found then error("cannot see the processes of this machine: " .. err) end
    return found
  end

  local function check(text, key)
    local name, least, most = expectation(text)
    local running = {}
    for _, p in ipairs(list{ [key] = name, user = params.user ~= "" and params.user or nil }) do
      if p.state ~= "zombie" and p.state ~= "dead" then running[#running + 1] = p end
    end
    if #running >= least and #running <= most then return end
    events[#events + 1] = {
      title = ("%s: %d of %s run, expected %s"):format(machine, #running, name, wanted(least, most)), status = "critical",
      message = ("On **%s** **%d** processes of `%s` run; expected are **%s**.\n\n%s"):format(machine, #running, name,
        wanted(least, most), #running > 0 and some(running) or ("Why: `systemctl status %s`"):format(name)),
      dimension_tags = { host = machine, process = name },
    }
  end

  for _, text in ipairs(params.names) do check(text, "name") end
  for _, text in ipairs(params.commands) do check(text, "match") end

  local dead, parents, worst = list{ state = "zombie" }, {}, nil
  if #dead > params.zombies then
    for _, p in ipairs(dead) do parents[p.ppid] = (parents[p.ppid] or 0) + 1 end
    for pid, n in pairs(parents) do
      if not worst or n > parents[worst] or n == parents[worst] and pid < worst then worst = pid end
    end
    local parent = list{ pid = worst }[1]
    events[#events + 1] = {
      title = ("%s: %d zombies"):format(machine, #dead), status = "warning",
      message = ("**%s** has **%d** processes that ended and were never waited for, more than %d.\n\n- **%d** of them are "
        .. "children of pid %d (`%s`), which has to be repaired or restarted"):format(machine, #dead, params.zombies,
        parents[worst], worst, parent and parent.name or "gone"),
      dimension_tags = { host = machine, process = "(zombies)" },
    }
  end
  EventReporter():report(events)
end
