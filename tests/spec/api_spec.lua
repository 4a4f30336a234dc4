-- The table of the API (lua/api) is whole: every public function of every module has an entry with text and an
-- example that runs, every entry a function and a place in the module's page; stubs and `doc` are made from it.
local api = require "kit.api"
local stubs = require "kit.stubs"
local internal = require "selfmon.internal"
local t = require "selfmon.testing"
local lfs = require "lfs"

local modules, by_name, known_types = {}, {}, {}
for _, m in ipairs(api.modules()) do
  modules[#modules + 1] = m
  by_name[m.module] = m
  known_types[m.module] = true
  for _, kind in ipairs(m.types) do known_types[kind.name] = true end
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

-- What scripts and specs can require.
local function public()
  local list = {}
  for name in pairs(package.preload) do
    if name ~= "selfmon.internal" and not name:find "^selfmon%.%w+_" and not name:find "^kit%."
      and (name:find "^selfmon" or name:find "^cjson") then
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- Names of the functions and of the other values that a module really has.
local function really(name)
  local value = require(name)
  if type(value) == "function" then return { ["()"] = true }, {} end
  local functions, values = {}, {}
  for key, v in pairs(value) do
    local inner = type(v) == "table" and name ~= "selfmon" and next(v) and type(select(2, next(v))) == "function" and v
    for part in pairs(inner or {}) do functions[key .. "." .. part] = true end -- host.file.stat
    if type(v) == "function" and name ~= "selfmon" then functions[key] = true else values[key] = true end
  end
  if name == "selfmon" then
    values.monitor, values.EventReporter = true, true -- there in a script only
    for _, module in ipairs(modules) do -- those in Lua come when they are asked for
      if value[module.module:match "^selfmon%.(%a+)$"] then values[module.module:match "%a+$"] = true end
    end
    values.testing = nil
  end
  if name == "selfmon.testing" then functions.main = nil end -- the command's
  return functions, values
end

local function text_of(value)
  return type(value) == "string" and value:find "%S" ~= nil
end

describe("every public module", function()
  it("is found", function()
    assert.is_true(#public() >= 16)
  end)

  for _, name in ipairs(public()) do
    it("has each of its functions in the table: " .. name, function()
      local module = assert(by_name[name], "lua/api has no file for " .. name)
      local functions, values = really(name)
      local known, known_values = {}, {}
      for _, fn in ipairs(module.all) do
        if not fn.owner then known[fn.name] = true end
      end
      for _, v in ipairs(module.values) do known_values[v[1]] = true end
      assert.are.same(sorted(functions), sorted(known))
      assert.are.same(sorted(values), sorted(known_values))
    end)
  end

  it("has no entry without a module", function()
    for _, module in ipairs(modules) do
      assert.is_truthy(module.globals or package.preload[module.module], module.module)
    end
  end)

  it("has the globals of a script in the table", function()
    local plain = {}
    for name in pairs(_G) do plain[name] = true end
    local r = internal.run([[monitor{ title = "x" }
      function run() for name in pairs(_G) do print(name) end end]], "run", {}, { file = "x.lua" })
    local known = {}
    for _, fn in ipairs(by_name.globals.all) do
      if not fn.owner then known[fn.name] = true end
    end
    for name in r.log:gmatch "print\t([^\n]+)" do
      if name ~= "run" and not known[name] then
        assert.is_truthy(({ _G = 1, _VERSION = 1 })[name] or type(_ENV[name]) ~= "nil" and plain[name] ~= nil, name)
      end
    end
    for name in pairs(known) do assert.is_truthy(r.log:find("\t" .. name .. "\n", 1, true), name) end
  end)

  -- Objects are made in a run only, where nobody can list their methods: they are read from the bindings.
  it("has the methods of its objects in the table, and no other", function()
    local known, really_there = {}, {}
    for _, module in ipairs(modules) do
      for _, fn in ipairs(module.all) do
        if fn.owner then known[fn.name] = true end
      end
    end
    for file in lfs.dir "src/worker" do
      if file:find "%.c$" and not file:find "^internal" then
        local text = read("src/worker/" .. file)
        for list in text:gmatch "luaL_Reg [%l_]*methods%[%] = (%b{})" do
          for name in list:gmatch '{"([%l_]+)",' do
            if not name:find "^__" then really_there[name] = true end
          end
        end
        if file == "dql_result.c" then
          for name in text:gmatch 'lua_pushcfunction%(L, [%l_]+%);%s+lua_setfield%(L, %-2, "([%l][%l_]*)"%)' do
            really_there[name] = true
          end
        end
      end
    end
    assert.is_true(really_there.report and really_there.raise_for_status and really_there.starttls and really_there.points)
    assert.are.same(sorted(really_there), sorted(known))
  end)
end)

describe("each entry", function()
  for _, module in ipairs(modules) do
    it("has text, types and an example: " .. module.module, function()
      assert.is_true(text_of(module.doc) and text_of(module.since), module.file)
      for _, fn in ipairs(module.all) do
        assert.is_true(text_of(fn.doc), fn.full .. ": doc")
        assert.is_true(text_of(fn.example), fn.full .. ": example")
        for _, list in ipairs { fn.params, fn.returns } do
          for _, one in ipairs(list) do
            assert.is_true(text_of(one[1]) and text_of(one[2]), fn.full .. ": a parameter or result without name or type")
          end
        end
      end
      for _, kind in ipairs(module.types) do
        assert.is_true(text_of(kind.name), module.file .. ": a type without a name")
        for _, field in ipairs(kind.fields) do
          assert.is_true(text_of(field[1]) and text_of(field[2]), kind.name .. ": a field without name or type")
        end
      end
    end)

    it("names only types there are: " .. module.module, function()
      local function check(text, where)
        for name in text:gsub("'[^']*'", ""):gsub('"[^"]*"', ""):gmatch "%a[%w_]*%.[%w_.]+" do
          assert.is_truthy(known_types[name], where .. ": there is no type " .. name)
        end
      end
      for _, fn in ipairs(module.all) do
        for _, list in ipairs { fn.params, fn.returns } do
          for _, one in ipairs(list) do check(one[2], fn.full) end
        end
      end
      for _, kind in ipairs(module.types) do
        for _, field in ipairs(kind.fields) do check(field[2], kind.name) end
      end
      for _, value in ipairs(module.values) do check(value[2], module.module) end
    end)

    it("stands in its module's page: " .. module.module, function()
      local page = read(module.page)
      for _, fn in ipairs(module.all) do
        if fn.name ~= "()" then
          assert.is_truthy(page:find("%f[%w_]" .. fn.name:gsub("%.", "%%.") .. "%f[^%w_]"), ("%s does not mention %s"):format(module.page, fn.full))
        end
      end
      for _, value in ipairs(module.module ~= "selfmon" and module.values or {}) do
        if value[1]:sub(1, 1) ~= "_" then assert.is_truthy(page:find(value[1], 1, true), module.page .. ": " .. value[1]) end
      end
    end)
  end
end)

describe("the keys of monitor", function()
  local known = {}
  for _, kind in ipairs(by_name.globals.types) do
    known[kind.name] = {}
    for _, field in ipairs(kind.fields) do table.insert(known[kind.name], field[1]) end
  end

  -- How the program takes a key that has a value nobody means.
  local FORMS = {
    ["monitor.Spec"] = "monitor{ title = 'x', %s = print }", ["monitor.Events"] = "monitor{ title = 'x', events = { %s = print } }",
    ["monitor.Limits"] = "monitor{ title = 'x', limits = { %s = print } }",
    ["monitor.Param"] = "monitor{ title = 'x', params = { a = { type = 'number', %s = 1 } } }",
  }
  for kind, form in pairs(FORMS) do
    it("are those the program takes: " .. kind, function()
      assert.is_true(#known[kind] > 3)
      for _, key in ipairs(known[kind]) do
        local _, err = internal.load(form:format(key) .. "\nfunction run() end", "x.lua")
        assert.is_nil((err or ""):find("unknown key", 1, true), key .. ": " .. tostring(err))
      end
      local _, err = internal.load(form:format "nosuch" .. "\nfunction run() end", "x.lua")
      assert.is_truthy(err:find("unknown key", 1, true), err)
    end)
  end

  it("are all there", function()
    local list = read "src/worker/monitor_check.c":match '({"title", check_title.-)};'
    local taken = {}
    for name in list:gmatch '{"([%l_]+)", ' do taken[name] = true end
    assert.is_true(taken.permissions)
    for _, key in ipairs(known["monitor.Spec"]) do taken[key] = nil end
    assert.are.same({}, sorted(taken))
  end)
end)

-- Fakes for examples: what their world answers unless the entry's `setup` says otherwise.
local function default_world()
  t.machine {
    name = "web1", uptime = 86400.5, load = { one = 0.5, five = 0.4, fifteen = 0.3, running = 1, threads = 200, cores = 4 },
    cpu = { user = 5, system = 2, iowait = 1, steal = 0, idle = 92, percent = 7, cores = 4 },
    memory = { total = 8 << 30, available = 4 << 30, used = 4 << 30, percent = 50, free = 1 << 30, buffers = 0,
      cached = 3 << 30, swap_total = 0, swap_used = 0, swap_percent = 0 },
    disks = { { mount = "/", device = "/dev/sda1", fstype = "ext4", read_only = false, size = 100 << 30, used = 50 << 30,
      available = 50 << 30, percent = 50, inodes = 1000, inodes_used = 10, inodes_percent = 1 } },
    mounts = { { mount = "/", device = "/dev/sda1", fstype = "ext4", options = "rw", read_only = false, kind = "disk" } },
  }
  t.dql("*", { series = { { tags = { host = "web1" }, columns = { "time", "used" }, values = { { 1700000000, 97.5 } } } } })
  t.exec("/usr/bin/uptime", "12:00:00 up 1 day\n")
  t.exec("/usr/lib/nagios/plugins/check_load", "OK - load average: 0.1|load1=0.100;4;8;0;\n")
  for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD" } do
    for _, host in ipairs { "shop.example", "example.com", "api.example", "www.example", "hooks.example" } do
      t.http(("%s https://%s*"):format(method, host), { status = 200, json = { status = "ok", items = { 1, 2 } },
        headers = { ["content-type"] = "application/json" }, timings = { total = 0.12 } })
    end
  end
end

describe("each example runs", function()
  local root = os.tmpname()
  os.remove(root)

  setup(function() assert(lfs.mkdir(root)) end)
  teardown(function()
    os.remove(root .. "/example.lua")
    lfs.rmdir(root)
  end)

  for _, module in ipairs(modules) do
    for _, fn in ipairs(module.all) do
      it(fn.full .. " of " .. module.module, function()
        default_world()
        local env = setmetatable({ t = t }, { __index = _G })
        for _, setup_text in ipairs { module.setup or "", fn.setup or "" } do
          assert(load(setup_text, "=setup of " .. fn.full, "t", env))()
        end
        if fn.spec or module.module == "selfmon.testing" then
          return assert(load(api.example(fn), "=example of " .. fn.full, "t", env))()
        end
        local f = assert(io.open(root .. "/example.lua", "w"))
        f:write(api.script(fn))
        f:close()
        t.root(root)
        local r = t.run("example.run", nil, { grants = fn.permission and { fn.permission } or nil,
          secrets = { shop = "s3cret", dingtalk = "s3cret", token = "s3cret" } })
        assert.are.equal("ok", r.outcome, tostring(r.error) .. "\n" .. api.script(fn))
      end)
    end
  end
end)

describe("stubs", function()
  for _, stub in ipairs(stubs.all()) do
    it("are Lua and current: " .. stub.name, function()
      assert(load(stub.text, "=" .. stub.name, "t", {}))
      assert.are.equal(stub.text, read("lua/types/" .. stub.name),
        "run `selfmon-lua lua tests/tools/stubs.lua` and commit lua/types")
    end)
  end

  it("hold every function, with its parameters and result", function()
    local texts = {}
    for _, stub in ipairs(stubs.all()) do texts[stub.name] = stub.text end
    for _, module in ipairs(modules) do
      local text = texts[(module.globals and "selfmon.globals" or module.module) .. ".lua"]
      for _, fn in ipairs(module.all) do
        if not (module.globals and (fn.name == "print" or fn.name == "require")) then
          local name = fn.name == "()" and "M" or fn.name:gsub("%.", "%%.")
          assert.is_truthy(text:find("%f[%w_]" .. name .. "%("), fn.full)
        end
      end
    end
  end)

  it("load as modules whose functions are those of the table", function()
    for _, stub in ipairs(stubs.all()) do
      local env = {}
      local value = assert(load(stub.text, "=" .. stub.name, "t", env))()
      local module = by_name[(stub.name:gsub("%.lua$", ""))]
      for _, fn in ipairs(module and module.all or {}) do
        if not fn.owner then
          local it = value
          for part in fn.name:gmatch "[%w_]+" do it = it[part] end
          assert.is_function(it, fn.full)
        end
      end
    end
  end)

  it("are of modules that are there", function()
    local there = { ["plugin.lua"] = true, ["."] = true, [".."] = true }
    for _, stub in ipairs(stubs.all()) do there[stub.name] = true end
    for name in lfs.dir "lua/types" do assert.is_true(there[name], "lua/types/" .. name) end
  end)
end)
