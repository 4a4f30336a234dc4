-- selfmon.store: the binding and its fake; the service itself is tests/e2e/test_store_module.py.
local t = require "selfmon.testing"
local internal = require "selfmon.internal"
local lfs = require "lfs"

local root, number = nil, 0

-- Runs a body as an inspection.
local function run(body)
  number = number + 1
  local name = ("case%d"):format(number)
  local f = assert(io.open(("%s/demo/%s.lua"):format(root, name), "w"))
  f:write('local store = require "selfmon.store"\nlocal cjson = require "cjson"\nmonitor{ title = "x" }\nfunction run()\n',
    body, "\nend\n")
  f:close()
  return t.run(("demo/%s.run"):format(name))
end

local function ok(body)
  local r = run(body)
  assert.are.equal("ok", r.outcome, r.error)
  return r
end

setup(function()
  root = os.tmpname()
  os.remove(root)
  assert(lfs.mkdir(root))
  assert(lfs.mkdir(root .. "/demo"))
end)

before_each(function() t.root(root) end)

teardown(function()
  for i = 1, number do os.remove(("%s/demo/case%d.lua"):format(root, i)) end
  os.remove(root .. "/demo")
  os.remove(root)
end)

describe("selfmon.store", function()
  it("keeps values from run to run, exactly", function()
    ok [[
      assert(store.get "v" == nil and select("#", store.get "v") == 1)
      assert(store.set("v", { big = 9007199254740993, f = 0.1, s = "a\0b", list = { 1, 2 }, null = cjson.null }) == true)
      assert(store.set("no", false))
    ]]
    ok [[
      local v = store.get "v"
      assert(v.big == 9007199254740993 and math.type(v.big) == "integer")
      assert(v.f == 0.1 and v.s == "a\0b" and #v.list == 2 and v.null == cjson.null)
      assert(store.get "no" == false)
      assert(store.delete "v" == true and store.delete "v" == false and store.get "v" == nil)
    ]]
  end)

  it("counts in one step", function()
    ok [[
      assert(store.incr "n" == 1)
      assert(store.incr("n", 41) == 42 and math.type(store.get "n") == "integer")
      assert(store.incr("n", -0.5) == 41.5)
      store.set("m", math.maxinteger)
      local v, message, code = store.incr "m"
      assert(v == nil and message:find("beyond", 1, true) and code == "value", message)
      store.set("t", "7")
      v, message, code = store.incr "t"
      assert(v == nil and message == 'key "t": it holds something else than a number' and code == "value", message)
    ]]
  end)

  it("lists keys by prefix, sorted", function()
    ok [[
      for _, k in ipairs { "b/2", "a", "b/1", "c" } do store.set(k, 1) end
      assert(table.concat(store.keys(), " ") == "a b/1 b/2 c")
      assert(table.concat(store.keys "b/", " ") == "b/1 b/2")
      assert(table.concat(store.keys{ prefix = "b/", scope = "other" }, " ") == "")
    ]]
  end)

  it("has shared scopes beside the inspection's own", function()
    ok [[ store.set("k", "own"); store.set("k", "shared", { scope = "shop/eu-1" }) ]]
    ok [[ assert(store.get "k" == "own" and store.get("k", { scope = "shop/eu-1" }) == "shared") ]]
    assert.are.equal("shared", t.store(nil, "shop/eu-1").k)
  end)

  it("forgets when the time is over", function()
    if not t.clock then return pending("the testing module has no clock") end
    t.clock "2026-03-01T12:00:00Z"
    ok [[ store.set("k", 1, { ttl = "1h" }); store.incr("n", 1, { ttl = 60 }); store.set("stays", 1) ]]
    t.advance "59s"
    ok [[ assert(store.incr("n", 1, { ttl = "1h" }) == 2) ]]
    t.advance "1s"
    ok [[ assert(store.incr "n" == 1 and store.get "k" == 1) ]]
    t.advance "1h"
    ok [[ assert(store.get "k" == nil and table.concat(store.keys(), " ") == "n stays") ]]
  end)

  it("has a quota that says so", function()
    local r = ok [[
      for i = 1, 1000 do assert(store.set("k" .. i, i)) end
      local v, message, code = store.set("one more", 1)
      assert(v == nil and code == "quota" and message:find("1000 keys", 1, true), message)
      assert(store.set("k7", 8))
      v, message, code = store.set("k8", ("x"):rep(70000))
      assert(v == nil and code == "too_large" and message:find("65536", 1, true), message)
    ]]
    assert.is_truthy(r.log:find("store.set: this inspection holds 1000 keys", 1, true), r.log)
  end)

  it("raises for a wrong call, at the script's line", function()
    for call, sentence in pairs {
      ["store.get()"] = "store.get: key: expected a string, got nil",
      ["store.get(7)"] = "store.get: key: expected a string, got number",
      ["store:get('k')"] = "store.get: key: expected a string, got table; write store.get(key), with a dot",
      ["store.get('')"] = "store.get: key: expected a text, got an empty one",
      ["store.get(('k'):rep(257))"] = "store.get: key: 257 bytes, but the most is 256",
      ["store.get('\\xff')"] = "store.get: key: expected UTF-8 text",
      ["store.set('k')"] = "store.set: value: expected a value, got nil; store.delete removes a key",
      ["store.set('k', print)"] = "store.set: value: ",
      ["store.set('k', 0/0)"] = "store.set: value: ",
      ["store.set('k', 1, 5)"] = "store.set: options: expected a table such as {scope = \"shop\"}, got number",
      ["store.set('k', 1, {tll = 5})"] = "store.set: unknown option \"tll\"; did you mean \"ttl\"?",
      ["store.set('k', 1, {ttl = 0})"] = "store.set: option \"ttl\": expected more than 0 s",
      ["store.set('k', 1, {ttl = 'soon'})"] = "store.set: option \"ttl\": ",
      ["store.get('k', {ttl = 5})"] = "store.get: unknown option \"ttl\"",
      ["store.get('k', {scope = 'a b'})"] = "store.get: option \"scope\": expected a name of letters",
      ["store.incr('k', {})"] = "store.incr: by: expected a number, got table; write store.incr(key, 1, {…})",
      ["store.incr('k', '1')"] = "store.incr: by: expected a number, got string",
      ["store.incr('k', 1/0)"] = "store.incr: by: expected a finite number",
      ["store.keys(5)"] = "store.keys: options: expected a table",
    } do
      local r = run("return " .. call)
      assert.are.equal("failed", r.outcome, call)
      assert.is_truthy(r.error:find(sentence, 1, true), call .. ": " .. r.error)
      assert.is_truthy(r.error:find("case" .. number .. ".lua:5:", 1, true), r.error)
    end
  end)

  it("may not be called while a script loads", function()
    local loaded, err = internal.load('require "selfmon.store".get "k"\nmonitor{ title = "x" }\nfunction run() end', "x.lua")
    assert.is_nil(loaded)
    assert.is_truthy(err:find("store.get cannot be called while a script is loading", 1, true), err)
  end)

  it("answers nil, message, code where there is no daemon", function()
    local v, message, code = require "selfmon.store".get "k"
    assert.is_nil(v)
    assert.is_truthy(message:find("in the run of an inspection only", 1, true))
    assert.are.equal("unavailable", code)
  end)
end)

describe("t.store", function()
  it("presets and reads back", function()
    t.store { offset = 10, list = { 1, 2 } }
    ok [[ assert(store.get "offset" == 10 and #store.get "list" == 2); store.set("offset", 20) ]]
    assert.are.equal(20, t.store().offset)
  end)

  it("is empty in the next test", function()
    assert.is_nil(next(t.store()))
  end)

  it("can fail", function()
    t.store_fails()
    local r = ok [[
      local v, message, code = store.set("k", 1)
      assert(v == nil and code == "full" and store.get "k" == nil)
    ]]
    assert.is_truthy(r.log:find("the store is full", 1, true))
  end)
end)
