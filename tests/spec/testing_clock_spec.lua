-- selfmon.testing: the virtual clock, and what the event policy would send across the runs of one test.
local t = require "selfmon.testing"
local time = require "selfmon.time"
local lfs = require "lfs"

local root

setup(function()
  root = os.tmpname()
  os.remove(root)
  assert(lfs.mkdir(root))
  local f = assert(io.open(root .. "/clock.lua", "w"))
  f:write [[
local time, http, log = require "selfmon.time", require "selfmon.http", require "selfmon.log"

monitor{ title = "Tells the time" }
function tells(params, ctx)
  print(time.format(), os.time(), os.date "%H:%M:%S", os.date("!*t").year, ctx.slot, ctx.deadline - ctx.slot, time.now())
end

monitor{ title = "Sleeps", timeout = "15m", params = { naps = 10, each = 60 } }
function sleeps(params)
  local began = time.monotonic()
  for i = 1, params.naps do
    time.sleep(params.each)
    log.info("nap", { n = i })
  end
  print("slept", time.monotonic() - began)
end

monitor{ title = "Waits for a server", timeout = 120, params = { timeout = 10 } }
function waits(params)
  local began = time.now()
  local res, err, code = http.get("https://slow.example/", { timeout = params.timeout })
  print(res and res.status, err, code, time.now() - began)
end

monitor{ title = "Services", timeout = 120, permissions = { "exec:/bin/*" } }
function services()
  local exec, net, store = require "selfmon.exec", require "selfmon.net", require "selfmon.store"
  local began = time.now()
  local function took(...)
    print(time.now() - began, ...)
    began = time.now()
  end
  took(exec.run{ cmd = "/bin/slow", timeout = 20 }.seconds)
  took(select(2, exec.run{ cmd = "/bin/slow", timeout = 5 }))
  took(select(3, net.tcp("a.example", 1, { timeout = 7 })))
  took(net.tcp("b.example", 2).port)
  local all = net.all{ { "tcp", "a.example", 1, { timeout = 4 } }, { "tcp", "b.example", 2 } }
  took(all[1].code, all[2].port)
  store.set("k", 1, { ttl = 10 })
  time.sleep(9)
  took(store.get "k")
  time.sleep(1)
  took(store.get "k")
end

monitor{ title = "Parallel", timeout = 120 }
function parallel()
  local began = time.now()
  local all = http.all{ "https://a.example/", "https://b.example/", "https://c.example/" }
  print(all[1].code, all[2].status, all[3].status, time.now() - began)
end

monitor{ title = "Never ends", timeout = 1 }
function endless()
  while true do end
end

monitor{ title = "Backs off" }
function backs_off()
  for i = 0, 4 do
    local res = http.get "https://flaky.example/"
    if res and res.status < 500 then return EventReporter():report{ title = "up", message = "m", status = "ok" } end
    time.sleep(2 ^ i)
  end
  EventReporter():report{ title = "down", message = "m", status = "critical" }
end

monitor{ title = "Policy", params = { down = {} }, events = { recover = true, on_change = true, remind = "4h", confirm = { fail = 2 } } }
function policy(params)
  for _, host in ipairs(params.down) do
    EventReporter():report{ title = host .. " is down", message = "m", status = "critical", dimension_tags = { host = host } }
  end
end

monitor{ title = "Plain", params = { status = "ok" } }
function plain(params)
  EventReporter():report{ title = "x", message = "m", status = params.status }
end

monitor{ title = "Broken after a report", events = { recover = true }, params = { fails = false, quiet = false } }
function broken(params)
  if not params.quiet then EventReporter():report{ title = "x", message = "m", status = "error" } end
  if params.fails then error "no" end
end

monitor{ title = "Many", params = { n = 5 }, events = { max_dimensions = 2, recover = true } }
function many(params)
  for i = 1, params.n do
    EventReporter():report{ title = "disk " .. i, message = "m", status = i == 4 and "critical" or "warning", dimension_tags = { disk = i } }
  end
end

monitor{ title = "Budget", params = { n = 3 }, events = { max_events = { 2, per = "10m" } } }
function budget(params)
  for i = 1, params.n do
    EventReporter():report{ title = "p" .. i, message = "m", status = "warning", dimension_tags = { p = i } }
  end
end
]]
  f:close()
end)

before_each(function() t.root(root) end)

teardown(function()
  os.remove(root .. "/clock.lua")
  os.remove(root)
end)

local function words(r)
  return (r.log:gsub("^%d+\t%a+\t", ""):gsub("\n.*", ""))
end

describe("the clock", function()
  it("stands where it was set, for all that tell the time", function()
    t.clock "2026-03-01T12:00:00Z"
    local r = t.run "clock.tells"
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("2026-03-01T12:00:00Z\t1772366400\t12:00:00\t2026\t1772366400\t30\t1772366400.0", words(r))
    t.advance "1h30m"
    assert.is_truthy(words(t.run "clock.tells"):find "^2026%-03%-01T13:30:00Z")
    t.advance(0.5)
    assert.are.equal(1772366400 + 5400 + 0.5, t.now())
    t.clock(1)
    assert.is_truthy(words(t.run "clock.tells"):find "^1970%-01%-01T00:00:01Z\t1\t00:00:01\t1970\t1\t30")
  end)

  it("takes a zone, starts from now, and is gone after the test", function()
    t.clock "2026-03-01T12:00:00+02:00"
    assert.are.equal(1772359200, t.now())
    t.reset()
    assert.is_true(math.abs(t.now() - os.time()) < 600)
    t.advance "1d"
    assert.is_true(math.abs(t.now() - os.time() - 86400) < 600)
  end)

  it("goes on when the script sleeps, without waiting", function()
    t.clock "2026-03-01T12:00:00Z"
    local before = time.monotonic()
    local r = t.run "clock.sleeps"
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(600, r.seconds)
    assert.is_truthy(r.log:find("slept\t600", 1, true), r.log)
    assert.is_truthy(r.log:find("300000\tinfo\tnap n=5", 1, true), r.log)
    assert.is_true(time.monotonic() - before < 30)
    assert.are.equal(1772366400 + 600, t.now())
  end)

  it("judges the timeout", function()
    t.clock "2026-03-01T12:00:00Z"
    local r = t.run("clock.sleeps", { naps = 100 })
    assert.are.equal("timeout", r.outcome)
    assert.is_truthy(r.error:find("clock.lua:12: time limit of 900 s reached", 1, true), r.error)
    assert.are.equal(900, r.seconds)
    assert.are.equal(1772366400 + 900, t.now())
    assert.are.equal("ok", t.run("clock.sleeps", { naps = 2 }).outcome)
    assert.are.equal("timeout", t.run("clock.sleeps", { naps = 2 }, { timeout = 60 }).outcome)
  end)

  it("does not let a loop go on for ever", function()
    t.clock(0)
    assert.are.equal("limit", t.run("clock.endless", {}, { cpu = 0.1 }).outcome)
  end)

  it("is moved by what a server takes", function()
    t.clock "2026-03-01T12:00:00Z"
    t.http("https://slow.example/", { timings = { total = 7.5 } })
    assert.are.equal("200\tnil\tnil\t7.5", words(t.run "clock.waits"))
    local r = t.run("clock.waits", { timeout = 5 })
    assert.are.equal("nil\tslow.example: no answer came within 5 s\ttimeout\t5.0", words(r))
    t.http("https://slow.example/", { error = "no answer", code = "timeout" })
    assert.are.equal("nil\tno answer\ttimeout\t10.0", words(t.run "clock.waits"))
    t.http("https://slow.example/", { error = "refused", code = "connect" })
    assert.are.equal("nil\trefused\tconnect\t0.0", words(t.run "clock.waits"))
    t.http("https://slow.example/", function() t.advance "200s" return { status = 200 } end)
    assert.are.equal("timeout", t.run("clock.waits", { timeout = 300 }).outcome)
  end)

  it("is moved by programs, connections and timeouts, and ends values of the store", function()
    t.clock(0)
    t.exec("/bin/slow", { seconds = 12 })
    t.net("tcp a.example:1", { error = "did not answer", code = "timeout" })
    t.net("tcp b.example:2", { timings = { total = 1.5 } })
    local r = t.run "clock.services"
    assert.are.equal("ok", r.outcome, r.error)
    local lines = {}
    for line in r.log:gmatch "print\t([^\n]*)" do lines[#lines + 1] = line end
    assert.are.same({ "12.0\t12.0", "5.0\t/bin/slow did not end within 5 s and was ended\ttimeout", "7.0\ttimeout", "1.5\t2", "4.0\ttimeout\t2",
      "9.0\t1",      "1.0\tnil" }, lines)
    assert.are.equal("timeout", t.run("clock.services", {}, { timeout = 15 }).outcome)
  end)

  it("runs requests of one call beside each other", function()
    t.clock(0)
    t.http("https://a.example/", { error = "no answer", code = "timeout" })
    t.http("https://b.example/", { timings = { total = 3 } })
    t.http("https://c.example/", { timings = { total = 8 } })
    assert.are.equal("timeout\t200\t200\t10.0", words(t.run "clock.parallel"))
  end)

  it("shows a retry with backoff", function()
    t.clock(0)
    local answers = { 503, 503, 200 }
    t.http("https://flaky.example/", function() return { status = table.remove(answers, 1) } end)
    local r = t.run "clock.backs_off"
    assert.are.equal("ok", r.events[1].status)
    assert.are.equal(3, r.seconds)
  end)

  it("is read strictly", function()
    for _, at in ipairs { "yesterday", -1, 0 / 0, true, "2026-13-01T00:00:00Z" } do
      local ok, err = pcall(t.clock, at)
      assert.is_false(ok)
      assert.is_truthy(err:find("t.clock: ", 1, true), err)
    end
    for _, s in ipairs { "soon", -1, 0 / 0, {} } do
      local ok, err = pcall(t.advance, s)
      assert.is_false(ok)
      assert.is_truthy(err:find("t.advance: ", 1, true), err)
    end
    local _, err = pcall(function() t.clock "noon" end)
    assert.is_truthy(err:find("testing_clock_spec.lua:%d+: t.clock:"), err)
  end)
end)

local function names(list)
  local out = {}
  for i, e in ipairs(list) do out[i] = ("%s %s %s"):format(e.status, e.title, e.rule) end
  return out
end

describe("what would be sent", function()
  it("is what was reported, without a policy", function()
    for _, status in ipairs { "ok", "error", "error", "ok" } do
      local r = t.run("clock.plain", { status = status })
      assert.are.same({ status .. " x as_reported" }, names(r.sent))
      assert.are.same({}, r.held)
    end
  end)

  it("follows confirm, on_change, remind and recover from run to run", function()
    t.clock "2026-03-01T12:00:00Z"
    local r = t.run("clock.policy", { down = { "a" } })
    assert.are.equal(1, #r.events)
    assert.are.same({}, r.sent)
    assert.are.same({ "critical a is down confirm" }, names(r.held))
    assert.are.same({ 1, 2 }, { r.held[1].count, r.held[1].of })
    t.advance "1m"
    r = t.run("clock.policy", { down = { "a", "b" } })
    assert.are.same({ "critical a is down new" }, names(r.sent))
    t.advance "1m"
    r = t.run("clock.policy", { down = { "a" } })
    assert.are.same({}, r.sent)
    assert.are.same({ "critical a is down unchanged" }, names(r.held))
    t.advance "4h"
    assert.are.same({ "critical a is down reminder" }, names(t.run("clock.policy", { down = { "a" } }).sent))
    t.advance "1m"
    r = t.run("clock.policy", {})
    assert.are.same({}, r.events)
    assert.are.same({ "ok a is down recovered" }, names(r.sent))
    assert.are.same({ host = "a" }, r.sent[1].dimension_tags)
    assert.are.equal("No longer reported. It began at 2026-03-01T12:00:00Z and lasted 4 h 3 min.", r.sent[1].message)
    assert.are.same({}, t.run("clock.policy", {}).sent)
  end)

  it("announces no recovery after a run that failed", function()
    assert.are.same({ "error x new" }, names(t.run "clock.broken".sent))
    local r = t.run("clock.broken", { fails = true, quiet = true })
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.sent)
    assert.are.same({ "ok x recovered" }, names(t.run("clock.broken", { quiet = true }).sent))
  end)

  it("keeps budgets, with one digest", function()
    t.clock(0)
    local r = t.run "clock.many"
    assert.are.same({ "warning disk 1 new", "warning disk 2 new", "critical 3 more: Many digest" }, names(r.sent))
    assert.are.equal(3, #r.held)
    assert.is_truthy(r.sent[3].message:find("- critical: disk 4\n- warning: disk 3", 1, true), r.sent[3].message)
    assert.are.equal("clock.many", r.sent[3].dimension_tags.selfmon_digest)
    t.advance "1m"
    assert.are.same({ "warning disk 1 as_reported", "warning disk 2 as_reported" }, names(t.run "clock.many".sent))
    t.advance "1m"
    r = t.run("clock.many", { n = 2 })
    assert.are.equal("ok 3 more: Many recovered", names(r.sent)[#r.sent])
    t.clock(0)
    assert.are.same({ "warning p1 new", "warning p2 new", "warning 1 more: Budget digest" }, names(t.run "clock.budget".sent))
    t.advance "10m"
    assert.are.same({ "warning p1 as_reported", "warning p2 as_reported", "warning 1 more: Budget digest" },
      names(t.run("clock.budget", { n = 2 }).sent))
  end)

  it("is forgotten between tests, and kept for each instance", function()
    assert.are.same({}, t.run("clock.policy", { down = { "a" } }).sent)
    assert.are.same({}, t.run("clock.policy@two", { down = { "a" } }).sent)
    local r = t.run("clock.policy@two", { down = { "a" } })
    assert.are.equal("clock.policy@two", r.id)
    assert.are.equal(1, #r.sent)
  end)
end)
