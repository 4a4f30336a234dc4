-- The globals of a script: what is there, what is not, and what differs from Lua's own.
local internal = require "selfmon.internal"

local function run(body, opts)
  opts = opts or {}
  opts.file = "s.lua"
  return internal.run("monitor{ title = 'S' }\nfunction run()\n" .. body .. "\nend", "run", {}, opts)
end

local function fine(body, opts)
  local r = run(body, opts)
  assert.are.equal("ok", r.outcome, r.error)
  return r
end

describe("the globals", function()
  it("are these and no others", function()
    local r = fine [[
      local names = {}
      for k in pairs(_G) do names[#names + 1] = k end
      table.sort(names)
      print(table.concat(names, " "))
    ]]
    assert.is_truthy(r.log:find("EventReporter _G _VERSION assert collectgarbage coroutine error getmetatable ipairs load math monitor next os "
      .. "pairs pcall print rawequal rawget rawlen rawset require run select setmetatable string table tonumber tostring type utf8 xpcall\n", 1, true), r.log)
  end)

  it("that are undefined are nil when read", function()
    fine "assert(undefined == nil and io == nil and debug == nil and package == nil and dofile == nil and loadfile == nil)"
  end)

  it("may be set", function()
    fine "mine = 5 assert(mine == 5 and _G.mine == 5) _ENV.other = 6 assert(other == 6)"
  end)

  it("have the whole of table, math and utf8", function()
    for lib, names in pairs { table = "concat insert move pack remove sort unpack", utf8 = "char charpattern codepoint codes len offset",
                              math = "abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min mininteger modf pi rad random randomseed sin sqrt tan tointeger type ult",
                              coroutine = "close create isyieldable resume running status wrap yield",
                              string = "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper" } do
      fine(("for n in (%q):gmatch '%%S+' do assert(%s[n] ~= nil, n) end"):format(names, lib))
    end
  end)

  it("have of string no dump, and of os four functions", function()
    local r = fine "assert(string.dump == nil) local n = {} for k in pairs(os) do n[#n + 1] = k end table.sort(n) print(table.concat(n, ' '))"
    assert.is_truthy(r.log:find("clock date difftime time\n", 1, true), r.log)
  end)
end)

describe("os", function()
  it("knows UTC, whatever the machine's zone", function()
    fine [[
      assert(os.date("%Y-%m-%d %H:%M:%S", 0) == "1970-01-01 00:00:00")
      assert(os.date("!%H", 3600) == "01" and os.date("*t", 86400).day == 2)
      assert(os.time{ year = 2026, month = 11, day = 22, hour = 15 } == 1795359600)
      assert(os.time{ year = 2026, month = 14, day = -1, hour = 0 } == os.time{ year = 2027, month = 1, day = 30, hour = 0 })
      assert(math.type(os.time()) == "integer" and os.time() > 1700000000 and os.difftime(5, 3) == 2.0)
    ]]
  end)

  it("counts the run's own CPU", function()
    fine "local a = os.clock() for i = 1, 1e6 do end assert(a >= 0 and a < 1 and os.clock() > a)"
    fine "local a = os.clock() require 'selfmon.time'.sleep(0.2) assert(os.clock() - a < 0.1)"
  end)

  it("raises for a date without its fields", function()
    assert.are.equal("failed", run("os.time{ year = 2026 }").outcome)
    assert.are.equal("failed", run("os.date('%Ez')").outcome)
  end)
end)

describe("load", function()
  it("takes text, with a name and an environment", function()
    fine [[
      assert(load("return 1 + 1")() == 2)
      local env = {}
      assert(load("x = 5", "=x", "t", env))()
      assert(env.x == 5 and x == nil)
      local f, err = load("x = = 1", "=chunk")
      assert(f == nil and err:find("chunk:1:", 1, true))
    ]]
  end)

  it("takes text only: no bytecode, no reader function", function()
    fine [[
      local f, err = load("\27Lua")
      assert(f == nil and err, "binary")
      assert(load("return 1", "=x", "b") == nil)
      assert(not pcall(load, function() return "x" end))
    ]]
  end)

  it("gives a chunk the script's globals, not Lua's own", function()
    fine "assert(load('return _G')() == _G and load('return io, debug')() == nil)"
  end)
end)

describe("print", function()
  it("writes a line of the run's log, with tabs between", function()
    local r = fine "print('a', 1, nil, true, 1.5) print() print(setmetatable({}, { __tostring = function() return 'obj' end }))"
    assert.is_truthy(r.log:match "^%d+\tprint\ta\t1\tnil\ttrue\t1.5\n%d+\tprint\t\n%d+\tprint\tobj\n$", r.log)
  end)

  it("cannot forge a line", function()
    local r = fine "print('a\\n0\\terror\\tforged\\27[31m\\0')"
    assert.is_truthy(r.log:match "^%d+\tprint\ta\n%d+\tprint\t0\terror\tforged[^\n]*\n$", r.log)
    assert.is_nil(r.log:find("\27", 1, true))
  end)
end)

describe("metatables", function()
  it("have no __gc; <close> works", function()
    local r = run "setmetatable({}, { __gc = function() end })"
    assert.is_truthy(r.error:find("__gc is not available to scripts; use a variable with <close>", 1, true), r.error)
    fine [[
      local closed
      do local x <close> = setmetatable({}, { __close = function() closed = true end }) end
      assert(closed)
      local t = setmetatable({}, {}) -- added later, it never fires
      getmetatable(t).__gc = function() error "fired" end
      t = nil
      for i = 1, 1e5 do local x = { i } end
    ]]
  end)

  it("of strings are out of reach; methods work", function()
    fine [[
      assert(getmetatable("") == false and ("x"):rep(3) == "xxx" and not pcall(setmetatable, "", {}))
      string.upper = function() return "mine" end
      assert(("x"):upper() == "mine") -- in this run only
    ]]
    fine "assert(('x'):upper() == 'X')"
  end)

  it("of _G may make undefined globals raise, for those who want it", function()
    local r = run "setmetatable(_G, { __index = function(_, k) error('undefined ' .. k, 2) end }) return nothing"
    assert.is_truthy(r.error:find("s.lua:3: undefined nothing", 1, true), r.error)
  end)
end)

describe("collectgarbage", function()
  it("only counts", function()
    fine "assert(collectgarbage 'count' > 10)"
    for _, what in ipairs { "", "'stop'", "'collect'", "'step', 1 << 40", "'generational'", "'setpause', 1000" } do
      assert.are.equal("failed", run("collectgarbage(" .. what .. ")").outcome, what)
    end
  end)
end)

describe("functions with C loops mean the same as Lua's own", function()
  for _, row in ipairs {
    "('ab'):rep(3, '-') == 'ab-ab-ab'", "('x'):rep(0) == ''", "('x'):rep(-1) == ''", "(''):rep(1 << 40) == ''",
    "(function() local t = {1, 2, 3} table.insert(t, 2, 'x') return table.concat(t, ',') end)() == '1,x,2,3'",
    "(function() local t = {1, 2, 3} return table.remove(t, 1) .. #t .. table.remove(t) .. tostring(table.remove({})) end)() == '123nil'",
    "table.concat(table.move({1, 2, 3}, 2, 3, 1), ',') == '2,3,3'", "table.concat(table.move({1, 2, 3}, 1, 3, 2), ',') == '1,1,2,3'",
    "table.concat(table.move({1, 2}, 1, 2, 1, {9, 9, 9}), ',') == '1,2,9'",
    "select('#', table.unpack({}, 1, 3)) == 3", "table.pack(1, nil).n == 2",
    "not pcall(table.insert, {}, 5, 'x')", "not pcall(table.insert, {}, 1, 2, 3)", "not pcall(string.rep, 'x', 1 << 62)",
  } do
    it(row, function()
      fine("assert(" .. row .. ")")
    end)
  end
end)

describe("pcall, xpcall and coroutines", function()
  it("behave as Lua's", function()
    fine [[
      local ok, e = pcall(error, { 1 })
      assert(not ok and e[1] == 1)
      assert(select(2, xpcall(error, function(x) return x .. "!" end, "x")) == "x!")
      assert(select("#", xpcall(function(...) return ... end, print, 1, nil, 3)) == 4)
      local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
      local _, x = coroutine.resume(co, 1)
      local _, y = coroutine.resume(co, 10)
      assert(x == 2 and y == 20 and coroutine.status(co) == "dead")
      local parts = {}
      for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do parts[#parts + 1] = v end
      assert(#parts == 3)
      assert(coroutine.wrap(function() return pcall(function() return coroutine.yield(1) end) end)() == 1)
      local c = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() parts = nil end }) coroutine.yield() end)
      coroutine.resume(c)
      assert(coroutine.close(c) and parts == nil)
      assert(coroutine.isyieldable() == false)
    ]]
  end)
end)

describe("limits", function()
  local loops = {
    ["a loop"] = "while true do end",
    ["pcall"] = "while true do pcall(function() while true do end end) end",
    ["an error handler"] = "while true do xpcall(function() while true do end end, function() while true do end end) end",
    ["a coroutine"] = "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    ["__close"] = "local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end",
    ["sort"] = "while true do local t = {} for i = 1, 1000 do t[i] = -i end table.sort(t, function(a, b) while true do end end) end",
    ["gsub"] = "while true do ('x'):gsub('x', function() while true do end end) end",
  }
  for name, body in pairs(loops) do
    it("of time cannot be caught: " .. name, function()
      local r = run(body .. "\nprint 'survived'", { timeout = 0.2 })
      assert.are.equal("timeout", r.outcome)
      assert.is_true(r.seconds < 1.2)
      assert.are.equal("", r.log)
    end)
  end

  for name, body in pairs {
    ["pcall"] = "while true do pcall(eat) end", ["a coroutine"] = "while true do coroutine.wrap(function() pcall(eat) end)() end",
    ["an error handler"] = "while true do xpcall(eat, eat) end",
    ["__close"] = "local x <close> = setmetatable({}, { __close = eat }) eat()",
  } do
    it("of memory cannot be caught: " .. name, function()
      local r = run("local function eat() local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end\n" .. body .. "\nprint 'survived'",
        { memory = 2 << 20 })
      assert.are.equal("limit", r.outcome, r.error)
      assert.is_truthy(r.error:find("memory limit of 2 MiB reached", 1, true), r.error)
      assert.are.equal("", r.log)
    end)
  end

  it("of CPU end the run as limit; sleeping costs none", function()
    local r = run("while true do pcall(function() while true do end end) end", { cpu = 0.2, timeout = 20 })
    assert.are.equal("limit", r.outcome)
    assert.is_truthy(r.error:find("s.lua:3: CPU limit of 0%.2 s reached %(used 0%.%d+ s%); see limits%.cpu"), r.error)
    assert.is_true(r.seconds < 2)
    fine("require 'selfmon.time'.sleep(0.3)", { cpu = 0.1 })
  end)

  it("of the log are 256 KiB, of which the head and the tail are kept", function()
    local r = run("for i = 1, 2000 do print('line ' .. i .. ('x'):rep(90)) end")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("line 1x", 1, true))
    assert.is_truthy(r.log:find("line 2000x", 1, true))
    assert.is_nil(r.log:find("line 1000x", 1, true))
    assert.is_truthy(r.log:find("lines left out", 1, true))
    assert.is_true(#r.log < 42 << 10)
    r = run("while true do pcall(print, ('x'):rep(1000)) end")
    assert.are.equal("limit", r.outcome)
    assert.is_truthy(r.error:find("log limit of 256 KiB reached %(%d+%.?%d* KiB written%); see limits%.log"), r.error)
  end)

  it("of memory are 32 MiB, of time 30 s, by default", function()
    assert.are.equal("ok", run("local s = ('x'):rep(10 << 20) assert(#s == 10 << 20)").outcome)
    local r = run("local s = ('x'):rep(40 << 20)")
    assert.are.equal("limit", r.outcome)
    assert.is_truthy(r.error:find("memory limit of 32 MiB", 1, true), r.error)
  end)

  it("of recursion are ordinary errors", function()
    local r = run "local function f() return 1 + f() end\nf()"
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("s.lua:3: stack overflow", 1, true), r.error)
    fine "local function f() return 1 + f() end assert(not pcall(f))"
    fine "local function g() return (('x'):gsub('x', g)) end local ok, e = pcall(g) assert(not ok and e:find('stack overflow', 1, true), e)"
  end)

  it("end that run only", function()
    run("while true do end", { timeout = 0.1 })
    run("local s = ('x'):rep(1 << 30)")
    assert.are.equal("ok", run("").outcome)
  end)
end)
