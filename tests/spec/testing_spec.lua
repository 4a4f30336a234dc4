-- selfmon.testing itself, on inspections written into a temporary folder.
local t = require "selfmon.testing"
local lfs = require "lfs"

local root

local function write(name, text)
  local dir = root
  for part in name:gmatch "([^/]+)/" do
    dir = dir .. "/" .. part
    lfs.mkdir(dir)
  end
  local f = assert(io.open(root .. "/" .. name, "w"))
  f:write(text)
  f:close()
end

setup(function()
  root = os.tmpname()
  os.remove(root)
  assert(lfs.mkdir(root))
  write("demo/shop.lua", [[
local http = require "selfmon.http"
local host = require "selfmon.host"
local util = require "lib.util"

monitor{ title = "Shop", params = { url = "https://shop.example/", limit = 5, wait = { type = "duration", default = "1m" } } }
function run(params, ctx)
  print("limit", params.limit, math.type(params.limit), params.wait, ctx.id)
  local res, err, code = http.get(params.url)
  if not res then
    return EventReporter():report{ title = "down", status = "critical", message = err, dimension_tags = { code = code } }
  end
  util.check(res)
end

monitor{ title = "Machine" }
function machine()
  local m, err, code = host.memory()
  print(m and m.percent, err, code)
end

monitor{ title = "Parallel" }
function parallel()
  for i, res in ipairs(http.all{ "https://a.example", { url = "https://b.example/x?y=1", method = "POST", body = "hello" } }) do
    print(i, res.status or res.error, res.body, res.tls and res.tls.days_left, res.headers and res.headers["Content-Type"])
  end
end

monitor{ title = "Caught" }
function caught()
  pcall(http.get, "https://nowhere.example/")
end

monitor{ title = "Loops", timeout = 1 }
function loops()
  while true do end
end
]])
  write("lib/util.lua", [[
local M = {}
function M.check(res)
  local body = assert(res:json())
  EventReporter():report{ title = body.title, status = "ok", message = "m" }
end
return M
]])
  write("broken.lua", "monitor{ titel = 'x' }\nfunction run() end")
end)

before_each(function()
  t.root(root)
end)

teardown(function()
  for _, name in ipairs { "demo/shop.lua", "lib/util.lua", "broken.lua", "demo", "lib", "" } do
    os.remove(root .. "/" .. name)
  end
end)

describe("t.run", function()
  it("answers outcome, events and log", function()
    t.http("GET https://shop.example/", { json = { title = "up" } })
    local r = t.run("demo/shop.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal("up", r.events[1].title)
    assert.are.equal("ok", r.events[1].status)
    assert.is_truthy(r.log:find("5", 1, true))
    assert.is_truthy(r.log:find("integer", 1, true))
    assert.is_truthy(r.log:find("60", 1, true))
    assert.is_truthy(r.log:find("demo/shop.run", 1, true))
    assert.is_number(r.seconds)
    assert.is_true(r.peak > 0)
  end)

  it("converts parameters as the platform's", function()
    t.http("GET https://other.example/", { json = { title = "x" } })
    local r = t.run("demo/shop.run", { url = "https://other.example/", limit = "7" })
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("7", 1, true))
    r = t.run("demo/shop.run", { limit = "many" })
    assert.are.equal("bad_params", r.outcome)
    assert.is_truthy(r.error:find("limit", 1, true))
    assert.has_error(function() t.run("demo/shop.run", { limits = 7 }) end)
  end)

  it("shows the failure with file and line", function()
    t.http("https://shop.example/", { body = "no json" })
    local r = t.run("demo/shop.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("lib/util.lua:3:", 1, true), r.error)
    assert.are.same({}, r.events)
  end)

  it("takes options strictly", function()
    assert.are.equal("limit", t.run("demo/shop.loops", {}, { cpu = 0.05, timeout = 5 }).outcome)
    assert.has_error(function() t.run("demo/shop.loops", {}, { time = 5 }) end)
  end)

  it("holds the script to the limits it asks for, and to no higher ones", function()
    write("limits.lua", [[
monitor{ title = "L", limits = { memory = "2MiB", events = 3, http = 2, log = "4KiB", cpu = 1000 }, params = { what = "" } }
function run(params)
  if params.what == "memory" then local x = ("x"):rep(3 << 20) end
  if params.what == "log" then for i = 1, 100 do print(("x"):rep(100)) end end
  for i = 1, params.what == "events" and 4 or 3 do EventReporter():report{ title = "t", message = "m", status = "ok" } end
  for i = 1, params.what == "http" and 3 or 2 do require "selfmon.http".get "https://x.example/" end
  while params.what == "cpu" do end
end
]])
    t.http("https://x.example/", {})
    assert.are.equal("ok", t.run "limits.run".outcome)
    for what, words in pairs { memory = "memory limit of 2 MiB", events = "limit of 3 events", http = "limit of 2 requests",
                               log = "log limit of 4 KiB" } do
      local r = t.run("limits.run", { what = what })
      assert.are.equal("limit", r.outcome, what)
      assert.is_truthy(r.error:find(words, 1, true), r.error)
    end
    assert.is_truthy(t.run("limits.run", { what = "cpu" }, { cpu = 0.05 }).error:find("CPU limit of 0.05 s", 1, true))
    os.remove(root .. "/limits.lua")
  end)

  it("ends a run at its timeout", function()
    local r = t.run("demo/shop.loops")
    assert.are.equal("timeout", r.outcome)
  end)

  it("says what is wrong with an id", function()
    for id, words in pairs { ["demo/shop"] = "expected a function id", ["demo/none.run"] = "demo/none.run",
                             ["demo/shop.walk"] = "registers no function walk; it has",
                             ["broken.run"] = "did you mean" } do
      local ok, err = pcall(t.run, id)
      assert.is_false(ok)
      assert.is_truthy(err:find(words, 1, true), err)
    end
  end)
end)

describe("t.http", function()
  it("answers errors, functions and prefixes", function()
    t.http("GET https://shop.example/", { error = "connection refused", code = "connect" })
    local r = t.run("demo/shop.run")
    assert.are.equal("connection refused", r.events[1].message)
    assert.are.same({ code = "connect" }, r.events[1].dimension_tags)

    t.http("GET https://a.example/", { status = 204, tls = { days_left = 12 } })
    t.http("POST https://b.example/*", function(request)
      return { status = 201, body = request.body:upper(), headers = { ["content-type"] = "text/plain" } }
    end)
    r = t.run("demo/shop.parallel")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("204", 1, true))
    assert.is_truthy(r.log:find("12", 1, true))
    assert.is_truthy(r.log:find("HELLO", 1, true))
    assert.is_truthy(r.log:find("text/plain", 1, true))
    local requests = t.requests()
    assert.are.equal(3, #requests)
    assert.are.equal("POST", requests[3].method)
    assert.are.equal("https://b.example/x?y=1", requests[3].url)
  end)

  it("lets a star stand for the rest of a host", function()
    t.http("https://a*", { status = 202 })
    t.http("POST https://b.example*", { status = 203 })
    assert.is_truthy(t.run("demo/shop.parallel").log:find("203", 1, true))
  end)

  it("prefers the newest route", function()
    t.http("GET https://shop.example/", { json = { title = "old" } })
    t.http("GET https://shop.example/", { json = { title = "new" } })
    assert.are.equal("new", t.run("demo/shop.run").events[1].title)
  end)

  it("fails the spec for a request without a route, with URL and line", function()
    local ok, err = pcall(t.run, "demo/shop.run")
    assert.is_false(ok)
    assert.is_truthy(err:find("unfaked request GET https://shop.example/", 1, true), err)
    assert.is_truthy(err:find("demo/shop.lua:8)", 1, true), err)
    assert.is_truthy(err:find('add t.http("GET https://shop.example/", {…})', 1, true), err)
    assert.is_false((pcall(t.run, "demo/shop.caught")))
    t.http("POST https://shop.example/", { json = {} })
    assert.is_false((pcall(t.run, "demo/shop.run")))
  end)

  it("reads its arguments strictly", function()
    for _, args in ipairs { { "shop.example", {} }, { 7, {} }, { "GET https://x.example/" }, { "https://x/", { stauts = 1 } },
                            { "FETCH", {} }, { "https://x/", 200 } } do
      assert.is_false((pcall(t.http, args[1], args[2])))
    end
  end)
end)

describe("what was not faked", function()
  it("is named with the line to add, for every service, and t.reset makes it so again", function()
    write("all.lua", [[
monitor{ title = "All", permissions = { "exec:/bin/x", "secret:key", "file:/x" }, params = { what = "http" } }
function run(params)
  local calls = {
    http = function() return require "selfmon.http".get "https://x.example/" end,
    exec = function() return require "selfmon.exec".run{ cmd = "/bin/x" } end,
    dql = function() return require "selfmon.dql".query "M::cpu" end,
    net = function() return require "selfmon.net".tcp("x.example", 1) end,
    machine = function() return require "selfmon.host".disks() end,
    secret = function() return require "selfmon.secret" "key" end,
    file = function() return require "selfmon.host".file.stat "/x" end,
    store = function() return require "selfmon.store".get "x" end,
    clock = function() return require "selfmon.time".now() < 100 or nil, "late" end,
  }
  print(calls[params.what]())
  assert(calls[params.what]())
end
]])
    local function fake()
      t.root(root)
      t.http("https://x.example/", {})
      t.exec("/bin/x", "")
      t.dql("*", {})
      t.net("tcp x.example:1", true)
      t.machine{ disks = {} }
      t.file("/x", "")
      t.store{ x = 1 }
      t.clock(0)
    end
    local names = { "http", "exec", "dql", "net", "machine", "file", "store", "clock" }
    fake()
    for _, what in ipairs(names) do
      local r = t.run("all.run", { what = what })
      assert.are.equal("ok", r.outcome, what .. ": " .. tostring(r.error))
    end
    t.reset()
    t.root(root)
    for what, words in pairs {
      http = 'unfaked request GET https://x.example/ (inspections/all.lua:4); add t.http("GET https://x.example/", {…})',
      exec = 'unfaked program "/bin/x" (inspections/all.lua:5); add t.exec("/bin/x", {…})',
      dql = 'unfaked query M::cpu (inspections/all.lua:6); add t.dql("M::cpu", {…})',
      net = 'unfaked net.tcp x.example:1 (inspections/all.lua:7); add t.net("tcp x.example:1", {…})',
    } do
      local ok, err = pcall(t.run, "all.run", { what = what })
      assert.is_false(ok, what)
      assert.is_truthy(err:find(words, 1, true), err)
    end
    for what, words in pairs {
      machine = 'the test has no reading of "disks"; add t.machine{ disks = … }',
      secret = 'the test has no secret "key"; add secrets = { ["key"] = "…" } to the options of t.run',
      file = "cannot open /x", store = "assertion failed", clock = "late",
    } do
      local r = t.run("all.run", { what = what })
      assert.are.equal("failed", r.outcome, what)
      assert.is_truthy(r.error:find(words, 1, true), r.error)
    end
    os.remove(root .. "/all.lua")
  end)
end)

describe("t.machine", function()
  it("shows what was set, and nothing else", function()
    t.machine { memory = { percent = 42 } }
    assert.is_truthy(t.run("demo/shop.machine").log:find("42", 1, true))
    assert.has_error(function() t.machine { disk = {} } end)
    assert.has_error(function() t.machine(1) end)
  end)

  it("forgets before each test", function()
    local r = t.run("demo/shop.machine")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_nil(r.log:find("42", 1, true))
    assert.are.same({}, t.requests())
  end)
end)
