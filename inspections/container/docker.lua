-- Docker: the daemon, and containers that are unhealthy, restart again and again, are dead, or are missing.
local exec = require "selfmon.exec"
local findings = require "lib.findings"
local host = require "selfmon.host"
local json = require "cjson"
local log = require "selfmon.log"

local function docker(params, ...)
  local r, err, code = exec.run{ cmd = params.client, args = { ... }, timeout = params.timeout }
  if r and r.code == 0 then
    if r.truncated then error("docker lists more than can be read") end
    return r.stdout
  end
  if code == "timeout" then return nil, "it does not answer within " .. findings.span(params.timeout) end
  if code == "not_found" then return nil end
  if not r then error("cannot run docker: " .. err) end
  local why = findings.first_line(r.stderr)
  if r.stderr:find "permission denied" then error("cannot ask Docker: " .. why) end
  if r.stderr:find "Cannot connect to the Docker daemon" or r.stderr:find "error during connect" then return nil, why end
  error("cannot ask Docker: " .. why)
end

-- What is wrong with a container, or nothing: check, status, title, sentence.
local function judge(c)
  if c.State == "restarting" then
    return "restarting", "error", "restarts again and again", "It ends as soon as it starts; the daemon starts it again."
  elseif c.State == "dead" then
    return "dead", "error", "is dead", "The daemon could not remove it."
  elseif c.Status:find("(unhealthy)", 1, true) then
    return "unhealthy", "error", "is unhealthy", "Its own health check fails."
  end
end

monitor{
  title = "Docker",
  doc = [[
    Asks the Docker daemon of this machine, and reports when it does not answer, and containers that are unhealthy,
    that restart again and again, that are dead, or that are expected and do not run. The daemon's user must be allowed
    to use Docker, which makes it as mighty as root.
  ]],
  schedule = "* * * * *",
  timeout = "1m",
  tags = { "container", "docker" },
  permissions = { "exec:/usr/bin/docker" },
  events = { recover = true, on_change = true, remind = "1d", max_dimensions = 50 },
  params = {
    enabled = { type = "boolean", default = false, order = 1,
      doc = "true, once the permission exec:/usr/bin/docker is granted" },
    expect  = { type = "list", items = "string", default = {}, order = 2, doc = "names of containers that must run" },
    exclude = { type = "list", items = "string", default = {}, order = 3, doc = "names of containers to leave out" },
    timeout = { type = "duration", default = "20s", order = 4, doc = "how long an answer may take" },
    client  = { type = "string", default = "/usr/bin/docker", order = 5, doc = "path of docker; needs its own grant" },
  },
}
function run(params)
  if not params.enabled then return log.info "nothing to look at: set the parameter enabled" end
  local name, events, by_name, skip = host.name(), {}, {}, {}
  local function add(container, check, status, title, message)
    events[#events + 1] = { title = ("%s: %s"):format(name, title), status = status, message = message,
      dimension_tags = { host = name, container = container, check = check } }
  end

  local version, why = docker(params, "version", "--format", "{{.Server.Version}}")
  if not version and not why then
    if #params.expect > 0 then error(params.client .. " is not installed, and containers are expected") end
    return log.info "this machine has no docker"
  end
  local list
  if version then list, why = docker(params, "ps", "--all", "--no-trunc", "--format", "{{json .}}") end
  if not list then
    add(nil, "daemon", "critical", "the Docker daemon does not answer",
      ("The Docker daemon of **%s** does not answer: **%s**\n\nWhy: `journalctl -u docker -n 50`"):format(name, why))
    return findings.hidden(events[1])
  end

  for _, container in ipairs(params.exclude) do skip[container] = true end
  for line in list:gmatch "[^\n]+" do
    local c = json.decode(line)
    by_name[c.Names:match "^[^,]*"] = c
    local container = c.Names:match "^[^,]*"
    local check, status, title, sentence = judge(c)
    if check and not skip[container] then
      add(container, check, status, ("container %s %s"):format(container, title),
        ("**%s** (image `%s`): %s\n\nState: **%s**\n\nWhy: `docker logs --tail 50 %s`"):format(container, c.Image, sentence,
          c.Status, container))
    end
  end
  for _, container in ipairs(params.expect) do
    local c = by_name[container]
    if not c or c.State ~= "running" then
      add(container, "expected", "critical", ("container %s does not run"):format(container),
        c and ("**%s** should run, and is **%s** (%s)."):format(container, c.State, c.Status)
          or ("**%s** should run, and there is no such container."):format(container))
    end
  end
  log.info("asked", { version = version:match "%S+", containers = select(2, list:gsub("[^\n]+", "")) })
  findings.report(events)
end
