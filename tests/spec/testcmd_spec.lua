-- The command `selfmon-lua test` as a process: exit codes, selection, JUnit file, unfaked requests.
local lfs = require "lfs"

local program, root

local function write(name, text)
  local f = assert(io.open(root .. "/" .. name, "w"))
  f:write(text)
  f:close()
end

local function test(words, env)
  local p = assert(io.popen(("cd %s && %s %s test %s 2>&1"):format(root, env or "", program, words)))
  local out = p:read "a"
  local _, _, code = p:close()
  return code, out
end

setup(function()
  program = io.popen("readlink /proc/$PPID/exe"):read "l"
  root = os.tmpname()
  os.remove(root)
  for _, dir in ipairs { "", "/inspections", "/inspections/demo", "/empty", "/bad", "/broken", "/exits" } do
    assert(lfs.mkdir(root .. dir))
  end
  write("inspections/demo/shop.lua", [[
local http = require "selfmon.http"
monitor{ title = "Shop" }
function run()
  local res, err = http.get("https://shop.example/")
  EventReporter():report{ title = "t", message = "m", status = res and "ok" or "critical" }
end
]])
  write("inspections/demo/shop_spec.lua", [[
local t = require "selfmon.testing"
describe("shop", function()
  it("is up (1 + 1)", function()
    t.http("GET https://shop.example/", { status = 200 })
    assert.are.equal("ok", t.run("demo/shop.run").events[1].status)
  end)
  it("is down", function()
    t.http("GET https://shop.example/", { error = "refused" })
    assert.are.equal("critical", t.run("demo/shop.run").events[1].status)
  end)
end)
]])
  write("bad/bad_spec.lua", 'local t = require "selfmon.testing"\nit("has no route", function() t.root "inspections" t.run "demo/shop.run" end)')
  write("broken/broken_spec.lua", "it('x', function(")
  write("exits/exits_spec.lua", "it('leaves', function() os.exit(0) end)\nit('goes on', function() assert.is_true(false) end)")
  write("empty/nothing_spec.lua", "-- no tests")
  write("empty/other.lua", "error 'must not be run'")
end)

teardown(function()
  os.execute("rm -rf " .. root)
end)

describe("selfmon-lua test", function()
  it("answers 0 when all pass, without arguments below ./inspections", function()
    local code, out = test ""
    assert.are.equal(0, code, out)
    assert.is_truthy(out:find("2 successes / 0 failures / 0 errors", 1, true), out)
    assert.are.equal(0, (test "inspections/demo/shop_spec.lua"))
  end)

  it("answers 1 for failures and for specs that do not load", function()
    local code, out = test "bad"
    assert.are.equal(1, code, out)
    assert.is_truthy(out:find('unfaked request GET https://shop.example/ (inspections/demo/shop.lua:4); '
      .. 'add t.http("GET https://shop.example/", {…})', 1, true), out)
    code, out = test "broken inspections"
    assert.are.equal(1, code, out)
  end)

  it("does not end where a spec calls os.exit", function()
    local code, out = test "exits"
    assert.are.equal(1, code, out)
    assert.is_truthy(out:find("0 successes / 1 failure / 1 error", 1, true), out)
  end)

  it("answers 5 without specs and without matching tests", function()
    for _, words in ipairs { "empty", "inspections -k nothing" } do
      local code, out = test(words)
      assert.are.equal(5, code, out)
    end
    os.remove(root .. "/empty/nothing_spec.lua")
    local code, out = test "empty"
    assert.are.equal(5, code)
    assert.is_truthy(out:find("no specs (files that end in _spec.lua) below empty", 1, true), out)
  end)

  it("answers 64 for wrong usage", function()
    for words, says in pairs { ["nowhere"] = "nowhere: no such file or directory", ["-x"] = "unknown option -x",
                               ["-k"] = "-k needs a value", ["inspections --junit /nonexistent/x.xml"] = "cannot write" } do
      local code, out = test(words)
      assert.are.equal(64, code, out)
      assert.is_truthy(out:find(says, 1, true), out)
    end
  end)

  it("selects by a part of the name", function()
    for words, n in pairs { ["-k down"] = 1, ["-k 'shop is'"] = 2, ["-k '(1 + 1)'"] = 1, ["-k 'is*1)'"] = 1 } do
      local code, out = test(words)
      assert.are.equal(0, code, out)
      assert.is_truthy(out:find(n .. " success", 1, true), words .. ": " .. out)
    end
  end)

  it("writes a JUnit file beside its output", function()
    local code, out = test "inspections --junit result.xml"
    assert.are.equal(0, code, out)
    assert.is_truthy(out:find("2 successes", 1, true))
    local f = assert(io.open(root .. "/result.xml"))
    local xml = f:read "a"
    f:close()
    assert.is_truthy(xml:find("<testcase", 1, true))
    assert.is_truthy(xml:find("shop is down", 1, true))
  end)

  it("speaks TAP", function()
    local code, out = test "inspections --tap"
    assert.are.equal(0, code, out)
    assert.is_truthy(out:find("ok 2 - shop is down", 1, true), out)
    assert.is_truthy(out:find("1..2", 1, true), out)
  end)

  it("names the package when busted is missing", function()
    local code, out = test("", "LUA_PATH=/nonexistent LUA_PATH_5_4=/nonexistent")
    assert.are.equal(1, code, out)
    assert.is_truthy(out:find("install the package lua-busted", 1, true), out)
  end)
end)
