-- Every exported function of every module, with every Lua type and wrong counts: nothing crashes, nothing
-- hangs; each call answers a value, or nil, message, code, or raises a text.
local internal = require "selfmon.internal"

-- Runs outside and inside the sandbox, so it uses only what both have.
local EVERY = [==[
local time = require "selfmon.time"
local loop = {}
loop.loop = loop
local poison = setmetatable({}, { __index = function() error "read" end, __len = function() error "len" end,
  __pairs = function() error "pairs" end, __tostring = function() error "text" end,
  __eq = function() error "eq" end, __concat = function() error "concat" end })

local function values()
  return { true, false, 0, -1, 0.01, 0 / 0, 1 / 0, -1 / 0, 1 << 62, math.mininteger, "", "x", "\0\xff\xfe",
    ("y"):rep(300), "%s%n%d", {}, { 1, 2, 3 }, { a = 1 }, { [true] = 1 }, loop, poison, print, function() end,
    coroutine.create(function() end), require "cjson".null, require "cjson".array_mt,
    n = 27 } -- 27: nil
end

local calls = 0

local function check(name, f, ...)
  local n = select("#", ...)
  local before = time.monotonic()
  local r = table.pack(pcall(f, ...))
  calls = calls + 1
  local took = time.monotonic() - before
  if took > 5 then error(("%s with %d arguments took %.1f s"):format(name, n, took)) end
  if not r[1] then
    if type(r[2]) ~= "string" then error(name .. " raises a " .. type(r[2])) end
    if r[2] == "" then error(name .. " raises an empty text") end
  elseif r.n >= 2 and r[2] == nil and name ~= "print" and name ~= "selfmon.store.get" then
    if type(r[3]) ~= "string" or type(r[4]) ~= "string" then
      error(("%s with %d arguments answers nil, %s, %s"):format(name, n, type(r[3]), type(r[4])))
    end
  end
end

local function all(name, f)
  local v = values()
  check(name, f)
  for i = 1, v.n do
    check(name, f, v[i])
    check(name, f, v[i], v[i], v[i])
    check(name, f, v[i], v[i], v[i], v[i], v[i], v[i], v[i], v[i])
    for k = 1, v.n do
      check(name, f, v[i], v[k])
      check(name, f, "sha256", v[i], v[k])
    end
  end
end

return function(modules)
  for _, module in ipairs(modules) do
    local m = require(module)
    if type(m) == "function" then
      all(module, m)
    else
      for name, f in pairs(m) do
        if type(f) == "function" then all(module .. "." .. name, f) end
        for inner, g in pairs(type(f) == "table" and f or {}) do
          if type(g) == "function" then all(module .. "." .. name .. "." .. inner, g) end
        end
      end
    end
  end
  return calls, all
end
]==]

local PURE = { "cjson", "cjson.safe", "selfmon.crypto", "selfmon.secret", "selfmon.stats", "selfmon.markdown" }

describe("every function", function()
  it("outside of a run", function()
    local every = assert(load(EVERY, "=every"))()
    assert.is_true((every(PURE)) > 10000)
  end)

  -- host's functions take tens of milliseconds when they are called rightly, http goes to a fake
  local function inside(modules, more)
    local script = ([[
      monitor{ title = "every function" }
      function run()
        local _, all = require "lib.every"{ %s }
        %s
      end
    ]]):format(#modules > 0 and '"' .. table.concat(modules, '", "') .. '"' or "", more or "")
    local r = internal.run(script, "run", {}, {
      file = "every.lua", libs = { ["lib/every.lua"] = EVERY }, timeout = 120, cpu = 100, memory = 256 << 20,
      machine = { name = "x", uptime = 1, memory = {}, load = {}, disks = {}, mounts = {}, cpu = {} },
      http = function() return nil, "no network", "connect" end,
      ask = function(what, ...) return require("selfmon.testing_" .. what).ask(...) end,
    })
    assert.are.equal("ok", r.outcome, r.error)
  end

  it("of the pure modules in a run", function()
    inside(PURE)
  end)

  for _, name in ipairs { "stats", "markdown" } do
    it("of selfmon." .. name .. " in a run", function()
      inside { "selfmon." .. name }
    end)
  end

  it("of selfmon.time in a run", function()
    inside { "selfmon.time" }
  end)

  for _, name in ipairs { "debug", "info", "warn", "error" } do -- one by one, as a run's log is bounded
    it("of selfmon.log: " .. name, function()
      inside({}, ('all("log.%s", require "selfmon.log".%s)'):format(name, name))
    end)
  end

  it("of selfmon.host, selfmon.http and selfmon.net in a run", function()
    inside { "selfmon.host", "selfmon.http", "selfmon.net" }
    inside({}, 'for name, f in pairs(require "selfmon.host".file) do all("host.file." .. name, f) end')
  end)

  it("of selfmon.store in a run", function()
    inside { "selfmon.store" }
  end)

  it("of selfmon.dql in a run", function()
    require "selfmon.testing".dql("*", {})
    inside { "selfmon.dql" }
  end)

  it("of selfmon.exec in a run", function()
    inside { "selfmon.exec" }
  end)

  it("of results, reporter and monitor in a run", function()
    inside({}, [[
      all("EventReporter", EventReporter)
      local reporter = EventReporter()
      all("reporter.report", reporter.report)
      all("reporter:report", function(...) return reporter:report(...) end)
      all("monitor", monitor)
      all("require", function(...) return require(...) or true end)
    ]])
  end)

  it("monitor while loading, with every literal", function()
    for _, literal in ipairs { "nil", "true", "0", "0/0", "''", "'x'", "{}", "{1}", "{title=1}", "{title={}}",
                               "{title='x', params=1}", "{title='x', params={a=print}}", "{title='x', schedule={{}}}",
                               "{title='x', timeout=0/0}", "{title='x', limits={memory='x'}}", "{title='x', tags={1}}",
                               "{title='x', name={}, run=1}", "{[1.5]=2, title='x'}", "print", "coroutine.create(print)" } do
      local loaded, err = internal.load("monitor(" .. literal .. ")\nfunction run() end", "x.lua")
      assert.is_nil(loaded, literal)
      assert.is_truthy(err:find("x.lua:1:", 1, true), literal .. ": " .. err)
    end
  end)
end)
