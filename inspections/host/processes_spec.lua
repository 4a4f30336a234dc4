local t = require "selfmon.testing"

local function process(pid, name, fields)
  local p = { pid = pid, ppid = 1, name = name, uid = 33, user = "www-data", state = "sleeping", threads = 1, rss = 10 << 20,
              cpu_seconds = 1, started = 0, kernel = false, cmdline = name .. " --serve " .. pid }
  for k, v in pairs(fields or {}) do p[k] = v end
  return p
end

local function machine(...)
  t.machine { name = "web1", processes = { process(1, "init", { uid = 0, user = "root" }), ... } }
end

describe("host/processes", function()
  it("says nothing when everything runs as expected", function()
    machine(process(10, "nginx"), process(11, "nginx"), process(12, "cron", { user = "root" }))
    local r = t.run("host/processes.run", { names = { "nginx", "nginx=2", "ngi*=1-5", "cron=1-", "telnetd=0" } })
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.are.same({}, t.run("host/processes.run").events)
  end)

  it("reports what is missing, and what is too much", function()
    machine(process(10, "nginx"), process(11, "nginx"), process(12, "dead", { state = "zombie" }))
    local r = t.run("host/processes.run", { names = { "postgres", "nginx=1", "dead", "nginx=3-4" } })
    assert.are.equal(4, #r.events)
    assert.are.equal("web1: 0 of postgres run, expected at least 1", r.events[1].title)
    assert.are.equal("critical", r.events[1].status)
    assert.are.same({ host = "web1", process = "postgres" }, r.events[1].dimension_tags)
    assert.are.equal("web1: 2 of nginx run, expected exactly 1", r.events[2].title)
    assert.is_truthy(r.events[2].message:find("- pid 10, www-data, sleeping, 10.0 MiB", 1, true))
    assert.are.equal("dead", r.events[3].dimension_tags.process)
    assert.is_truthy(r.events[4].title:find("expected 3 to 4", 1, true))
  end)

  it("counts by user and by command line", function()
    machine(process(10, "java"), process(11, "java", { user = "root", cmdline = "java -jar catalina.jar" }))
    assert.are.equal(1, #t.run("host/processes.run", { names = "java=2", user = "root" }).events)
    local grants = { grants = { "processes:cmdline" } }
    assert.are.same({}, t.run("host/processes.run", { commands = "catalina=1" }, grants).events)
    assert.are.equal(1, #t.run("host/processes.run", { commands = "jetty" }, grants).events)
    local r = t.run("host/processes.run", { commands = "catalina" }, { grants = {} })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find('permission "processes:cmdline" is not granted', 1, true))
  end)

  it("reports many zombies and whose they are", function()
    local list = { process(7, "broken", { ppid = 1 }) }
    for i = 1, 5 do list[#list + 1] = process(100 + i, "child", { state = "zombie", ppid = i < 5 and 7 or 1 }) end
    machine(table.unpack(list))
    assert.are.same({}, t.run("host/processes.run").events)
    local event = t.run("host/processes.run", { zombies = 4 }).events[1]
    assert.are.equal("web1: 5 zombies", event.title)
    assert.are.equal("warning", event.status)
    assert.is_truthy(event.message:find("**4** of them are children of pid 7 (`broken`)", 1, true))
  end)

  it("fails loudly when it cannot see, or what is asked makes no sense", function()
    local r = t.run("host/processes.run", { names = "nginx" })
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("cannot see the processes of this machine", 1, true))
    machine()
    r = t.run("host/processes.run", { names = "nginx=-3" })
    assert.is_truthy(r.error:find('expected NAME, NAME=COUNT or NAME=LEAST-MOST, got "nginx=-3"', 1, true))
  end)
end)
