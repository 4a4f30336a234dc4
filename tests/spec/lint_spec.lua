-- The reader of `lint` (lua/tools/lint) takes every Lua text, survives any bytes, and knows what the
-- program knows. The rules themselves are tested through the command: tests/e2e/test_lint.py.
package.path = "lua/tools/?.lua;" .. package.path
local internal = require "selfmon.internal"
local known = require "lint.known"
local lfs = require "lfs"
local lint = require "lint.main"
local parse = require "lint.parse"
local read = require "lint.read"

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function files(dir, out)
  out = out or {}
  for name in lfs.dir(dir) do
    local path = dir .. "/" .. name
    local mode = name:sub(1, 1) ~= "." and lfs.attributes(path, "mode")
    if mode == "directory" then files(path, out) elseif mode == "file" then out[#out + 1] = path end
  end
  table.sort(out)
  return out
end

local function judge(text)
  return lint.lint({ files = { { name = "x.lua", wanted = true,
    inspections = { { id = "x.run", fn = "run", line = 1, params = { "a" }, permissions = { "exec:/b*" },
                      schedules = 1, timeout = 30, period = 60 } } } } }, { text })
end

local function loads(text)
  return load((text:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")), "=x", "t") ~= nil
end

describe("the reader", function()
  it("takes what Lua takes", function()
    local n = 0
    for _, dir in ipairs { "lua", "inspections", "tests/spec", "tests/data/hostile" } do
      for _, path in ipairs(files(dir)) do
        local text = slurp(path)
        if path:find "%.lua$" and loads(text) then
          assert.is_table(parse(text), path)
          n = n + 1
        end
      end
    end
    assert.is_true(n > 30)
  end)

  it("takes each construct, and knows where it stands", function()
    local tree = parse [==[
#!/usr/bin/env lua
local a <const>, b <close> = 1, nil; goto done
for i = 1, 3 do local c = i break end
for k, v in pairs{ [1] = 0x1p4, x = 'y\z
   z', "\u{48}\65\x41"; [[
long]], [=[ ]] ]=] } do print(k, v) end
repeat local u = 1 until u == 1
while false do end
if a then elseif b then else end
function M.a.b:c(...) return self, ... end
x = a ~ b << 1 .. 2 ^ -3 // 4 and not #"" or ~1
x.y["z"], q = f"s", g{ 1 } :m()
::done:: ; return function() end
]==]
    local monitor = parse "monitor<title = 'x', ok = (1 > 2), t = { 1 > 2 }>\nfunction run() end\n"
    assert.is_table(tree)
    assert.is_table(monitor)
    assert.are.equal("title", monitor.all.Call[1].args[1].fields[1].name)
    assert.are.equal(2, monitor.all.Assign[1].line)
    assert.is_nil(parse "monitor<title = 'x', later = 1 > 2>\nfunction run() end\n")
    assert.is_table(parse "local t = monitor < title")
    local call = parse "local x\n  x . y ( 1 )".all.Call[1]
    assert.are.same({ 2, 7 }, { call.line, call.col })
    local name = parse "local a = 1; do local a = a; print(a) end".all.Name
    assert.are.equal(1, name[1].var.init.value)
    assert.are.equal(name[1].var, name[3].var.init.var)
  end)

  it("takes any bytes: mutated scripts and the fuzz corpus", function()
    local seeds, seen, taken = {}, 0, 0
    for _, dir in ipairs { "inspections", "tests/data/lint", "tests/data/hostile", "tests/data/fuzz" } do
      for _, path in ipairs(files(dir)) do
        local text = slurp(path)
        if #text < 20000 then seeds[#seeds + 1] = text end
      end
    end
    assert.is_true(#seeds > 60)
    local tokens = { "end", "(", "{", "[[", "]]", "--[[", "monitor<title=", ">", "function", "..", "\\", '"', "\n",
                     "local x<const>=", "goto a", "\0", "\255", "0x", "1e", "::", "~=", "report{", "-- selfmon: ignore " }
    local state = 20261122
    local function random(n)
      state = (state * 6364136223846793005 + 1442695040888963407)
      return (state >> 33) % n + 1
    end
    for round = 1, 1500 do
      local text = seeds[random(#seeds)]
      for _ = 1, random(4) do
        local at, kind = random(#text + 1), random(5)
        if kind == 1 then
          text = text:sub(1, at - 1) .. text:sub(at + random(20))
        elseif kind == 2 then
          text = text:sub(1, at - 1) .. tokens[random(#tokens)] .. text:sub(at)
        elseif kind == 3 then
          text = text:sub(1, at - 1) .. string.char(random(256) - 1) .. text:sub(at + 1)
        elseif kind == 4 then
          text = text:sub(1, at)
        else
          local other = seeds[random(#seeds)]
          text = text:sub(1, at) .. other:sub(random(#other + 1))
        end
      end
      local tree = parse(text)
      if loads(text) then
        assert.is_table(tree, ("round %d: Lua takes it, the reader does not:\n%s"):format(round, text))
        taken = taken + 1
      end
      seen = seen + #judge(text)
    end
    assert.is_true(taken > 50 and seen > 100, ("%d taken, %d findings"):format(taken, seen))
  end)

  it("is not led astray by depth, length or names that stand for each other", function()
    local double = { "local a0 = 'xx'" }
    for i = 1, 100 do double[#double + 1] = ("local a%d = a%d .. a%d"):format(i, i - 1, i - 1) end
    double[#double + 1] = "EventReporter():report{ title = a100, status = a100 or a99, message = a100,"
      .. " dimension_tags = { ms = a100 } }"
    local long = {}
    for i = 1, 30000 do long[i] = "g" .. i end
    for _, text in ipairs {
      ("("):rep(100000), ("{"):rep(100000), ("f("):rep(100000), "x = " .. ("-"):rep(100000) .. "1",
      ("do "):rep(10000) .. ("end "):rep(10000), "x = " .. ("a."):rep(100000) .. "b",
      "x = " .. ("a or "):rep(100000) .. "b", "x = " .. ("a .. "):rep(100000) .. "b", ("[="):rep(100000),
      ("--[["):rep(10000), "x = '" .. ("\\"):rep(100001), ("\n"):rep(1000000),
      "local x = function() " .. table.concat(long, " = 1 ") .. " = 1 end", table.concat(double, "\n"),
      "monitor<" .. ("a = (1 > 2), "):rep(5000), "return " .. ("%s*"):rep(20000),
    } do
      local began = os.clock()
      parse(text)
      judge(text)
      assert.is_true(os.clock() - began < 30, text:sub(1, 40))
    end
  end)
end)

describe("what it knows", function()
  it("is what the sandbox has", function()
    local r = internal.run([[
      monitor{ title = "T" }
      function run()
        for name in pairs(_G) do print("_G", name) end
        for name in pairs(os) do print("os", name) end
        for _, lib in ipairs{ "string", "table", "math", "utf8", "coroutine" } do
          for name in pairs(_G[lib]) do print(lib, name) end
        end
      end]], "run", {}, { file = "x.lua" })
    assert.are.equal("ok", r.outcome, r.error)
    local found = {}
    for lib, name in r.log:gmatch "(%S+)%s+(%S+)\n?" do
      found[lib] = found[lib] or {}
      found[lib][name] = true
    end
    found._G.run = nil
    local function same(names, other)
      local list, want = {}, {}
      for name in pairs(names) do list[#list + 1] = type(name) == "string" and name or nil end
      for name in pairs(other) do want[#want + 1] = type(name) == "string" and name or nil end
      table.sort(list)
      table.sort(want)
      assert.are.same(want, list)
    end
    same(known.globals, found._G)
    same(known.os, found.os)
    for _, lib in ipairs { "string", "table", "math", "utf8", "coroutine" } do same(lint.members(lib), found[lib]) end
  end)

  it("is what monitor, parameters and events take", function()
    local function takes(body)
      return internal.load(body, { file = "x.lua" })
    end
    for _, key in ipairs(known.monitor[1]) do
      local _, err = takes(('monitor{ title = "T", %s = 0/0 } function run() end'):format(key))
      assert.is_nil((err or ""):find "unknown key", key)
    end
    for of, names in pairs(known.tables) do
      for _, key in ipairs(names[1]) do
        local _, err = takes(('monitor{ title = "T", %s = { %s = 0/0 } } function run() end'):format(of, key))
        assert.is_nil((err or ""):find "unknown key", key)
      end
    end
    for _, key in ipairs(known.param[1]) do
      local _, err = takes(('monitor{ title = "T", params = { p = { type = "string", %s = 0/0 } } } function run() end')
        :format(key))
      assert.is_nil((err or ""):find "unknown key", key)
    end
    for _, status in ipairs(known.statuses[1]) do
      local r = internal.run(('monitor{ title = "T" } function run() EventReporter():report{ title = "t",'
        .. ' message = "m", status = "%s", dimension_tags = {} } end'):format(status), "run", {}, { file = "x.lua" })
      assert.are.equal("ok", r.outcome, r.error)
    end
  end)

  it("is which options calls take", function()
    for name, how in pairs(known.options) do
      local module, fn = name:match "^(selfmon%.http)%.([^.]+)$"
      for _, option in ipairs(module and how.names[1] or {}) do
        local opts = ("{ %s%s = 0/0 }"):format(how.at == 1 and option ~= "url" and 'url = "http://127.0.0.1/", ' or "", option)
        local args = how.list and "{ " .. opts .. " }" or how.at == 1 and opts or '"http://127.0.0.1/", ' .. opts
        local r = internal.run(('monitor{ title = "T" } function run() require "%s".%s(%s) end')
          :format(module, fn, args), "run", {}, { file = "x.lua", http = function() return nil, "no", "connect" end })
        assert.is_nil((r.error or ""):find "unknown", name .. " " .. option .. ": " .. (r.error or ""))
      end
    end
  end)

  it("finds the nearest name as the program does", function()
    assert.are.equal("schedule", read.nearest("schedul", known.monitor[1]))
    assert.are.equal("dimension_tags", read.nearest("dimension_tag", known.event[1]))
    assert.are.equal("now", read.nearest("nwo", { "date", "now" }))
    assert.is_nil(read.nearest("x", { "y" }))
  end)

  it("matches permissions as the program does", function()
    for _, row in ipairs {
      { "/etc/*.pem", "/etc/a.pem", true }, { "/etc/*.pem", "/etc/x/a.pem", false }, { "/etc/**", "/etc/x/a.pem", true },
      { "/a?c", "/abc", true }, { "/a?c", "/a/c", false }, { "/a.c", "/abc", false }, { "**", "", true },
      { ("**a"):rep(300), ("a"):rep(4000) .. "b", false },
    } do
      assert.are.equal(row[3], read.glob(row[1], row[2]), row[1])
    end
  end)
end)
