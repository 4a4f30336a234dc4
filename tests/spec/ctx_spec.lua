-- What a run is given and what it leaves: parameters, ctx, a fresh state, an outcome.
local internal = require "selfmon.internal"

local function run(body, opts, params)
  opts = opts or {}
  opts.file = opts.file or "demo/c.lua"
  return internal.run("monitor{ title = 'C' }\nfunction run(params, ctx)\n" .. body .. "\nend", "run", params or {}, opts)
end

local function fine(body, opts, params)
  local r = run(body, opts, params)
  assert.are.equal("ok", r.outcome, r.error)
  return r
end

describe("ctx", function()
  it("has id run_id slot trigger attempt account node deadline", function()
    fine [[
      for _, key in ipairs{ "id", "run_id", "trigger", "account", "node" } do assert(type(ctx[key]) == "string", key) end
      for _, key in ipairs{ "slot", "attempt" } do assert(math.type(ctx[key]) == "integer", key) end
      assert(type(ctx.deadline) == "number" and ctx.deadline > ctx.slot)
      assert(ctx.id == "demo/c.run" and ctx.attempt == 1)
      local n = 0
      for k, v in pairs(ctx) do assert(ctx[k] == v) n = n + 1 end
      assert(n == 8, n)
    ]]
  end)

  it("holds what the runner gave", function()
    fine([[assert(ctx.slot == 1700000000 and ctx.trigger == "schedule" and ctx.attempt == 2 and ctx.node == "cn1")]],
      { ctx = { slot = 1700000000, trigger = "schedule", attempt = 2, node = "cn1" } })
  end)

  it("is read-only", function()
    for _, write in ipairs { "ctx.id = 'x'", "ctx.new = 1", "ctx[1] = 2" } do
      local r = run(write)
      assert.are.equal("failed", r.outcome)
      assert.is_truthy(r.error:find("demo/c.lua:3: ctx is read-only", 1, true), r.error)
    end
    assert.are.equal("failed", run("setmetatable(ctx, nil)").outcome)
    fine "for k in pairs(ctx) do pcall(function() ctx[k] = nil end) end assert(ctx.id == 'demo/c.run' and getmetatable(ctx) == false)"
  end)

  it("is nil for what it does not have", function()
    fine "assert(ctx.nothing == nil)"
  end)
end)

describe("every run", function()
  it("starts in a fresh state: no global, upvalue, library change or module state survives", function()
    local text = [[
      local count = 0
      local util = require "lib.util"
      monitor{ title = "C" }
      function run()
        count, calls, util.n = count + 1, (calls or 0) + 1, util.n + 1
        string.mine, math.pi = "x", 3
        print(count, calls, util.n, before)
        before = "seen"
      end
      print(string.mine)
    ]]
    for _ = 1, 3 do
      local r = internal.run(text, "run", {}, { libs = { ["lib/util.lua"] = "return { n = 0 }" } })
      assert.are.equal("ok", r.outcome, r.error)
      assert.is_truthy(r.log:find("\t1\t1\t1\tnil", 1, true), r.log)
    end
  end)

  it("leaves the program's own state alone", function()
    fine "string.format = nil table = nil _G.assert2 = 1 local g = _G for k in pairs(g) do g[k] = nil end"
    assert.is_function(string.format)
    assert.is_nil(rawget(_G, "assert2"))
  end)

  it("calls the function with params and ctx", function()
    fine("assert(params.a == 1 and params.l[2] == 'y' and ctx.id)", {}, { a = 1, l = { "x", "y" } })
    fine "assert(type(params) == 'table' and next(params) == nil)"
  end)

  it("may ignore what its function returns", function()
    fine "return nil, 'x', 7"
  end)
end)

describe("the outcome is", function()
  it("ok", function()
    assert.are.equal("ok", run("").outcome)
  end)

  it("failed when it raised, with message, file, line and a traceback that hides the host's frames", function()
    local r = internal.run([[
monitor{ title = "C" }
local function inner(x)
  error("it broke: " .. x)
end
function run()
  inner("a")
  return 1
end
]], "run", {}, "demo/c.lua")
    assert.are.equal("failed", r.outcome)
    assert.are.equal("inspections/demo/c.lua:3: it broke: a", r.error)
    assert.is_truthy(r.traceback:find("inspections/demo/c.lua:3:", 1, true), r.traceback)
    assert.is_truthy(r.traceback:find("inspections/demo/c.lua:6:", 1, true), r.traceback)
    assert.is_nil(r.traceback:find("[C]: in ?", 1, true), r.traceback)
  end)

  it("failed with the error's type when it is no text", function()
    for value, words in pairs { ["{}"] = "(error object is a table value)", ["nil"] = "(error object is a nil value)", ["42"] = "42",
                                ["setmetatable({}, { __tostring = function() return 'x' end })"] = "(error object is a table value)" } do
      local r = run("error(" .. value .. ")")
      assert.are.equal("failed", r.outcome)
      assert.is_truthy(r.error:find(words, 1, true), r.error)
    end
  end)

  it("failed when the main chunk raises in the run", function()
    local r = internal.run("monitor{ title = 'C' }\nfunction run() end\nerror 'at load'", "run", {}, "c.lua")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("c.lua:3: at load", 1, true), r.error)
  end)

  it("timeout at the deadline, with limit, file and line", function()
    local r = run("local x = 0\nwhile true do x = x + 1 end", { timeout = 0.3 })
    assert.are.equal("timeout", r.outcome)
    assert.is_truthy(r.error:find("inspections/demo/c.lua:4: time limit of 0.3 s reached", 1, true), r.error)
    assert.is_true(r.seconds < 1.3)
  end)

  it("timeout in a sleep, at once", function()
    local r = run("require 'selfmon.time'.sleep(60)", { timeout = 0.2 })
    assert.are.equal("timeout", r.outcome)
    assert.is_true(r.seconds < 1)
  end)

  it("timeout of the main chunk too", function()
    local r = internal.run("monitor{ title = 'C' }\nfunction run() end\nwhile true do end", "run", {}, { timeout = 0.2 })
    assert.are.equal("timeout", r.outcome)
  end)

  it("limit, with the limit, the peak and the script's line", function()
    local r = run("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000) .. #t end", { memory = 4 << 20 })
    assert.are.equal("limit", r.outcome)
    assert.is_truthy(r.error:find("inspections/demo/c.lua:4: memory limit of 4 MiB reached (peak ", 1, true), r.error)
    assert.is_true(r.peak > 2 << 20 and r.peak <= 4 << 20)
  end)

  it("ok again for the next run after any of them", function()
    run("while true do end", { timeout = 0.1 })
    run("string.rep('x', 1 << 40)")
    assert.are.equal("ok", run("").outcome)
  end)
end)
