-- `monitor`: its three spellings, its keys, and what loading a script may do (seen from outside, through
-- selfmon.internal as a worker loads scripts).
local internal = require "selfmon.internal"

local function load(text, file)
  local loaded, err, line = internal.load(text, file or "demo/x.lua")
  return loaded, err or "", line
end

local function spec_of(keys)
  local loaded, err = load("monitor{ title = 'T', " .. keys .. " }\nfunction run() end")
  assert.is_table(loaded, err)
  return loaded.inspections[1]
end

local function refused(text, ...)
  local loaded, err, line = load(text)
  assert.is_nil(loaded, text)
  for _, words in ipairs { ... } do
    assert.is_truthy(err:find(words, 1, true), ("%s\nexpected: %s\ngot: %s"):format(text, words, err))
  end
  return line, err
end

local function key_refused(keys, ...)
  return refused("monitor{ title = 'T', " .. keys .. " }\nfunction run() end", ...)
end

describe("the spellings", function()
  for name, text in pairs {
    attribute = 'monitor<title = "Shop", tags = {"a", "b"}>\nfunction run(params) end',
    statement = 'monitor{ title = "Shop", tags = {"a", "b"} }\nfunction run(params) end',
    expression = 'monitor{ title = "Shop", tags = {"a", "b"}, run = function(params) end }',
    ["statement in brackets"] = 'monitor({ title = "Shop", tags = {"a", "b"} })\nfunction run(params) end',
  } do
    it("mean the same: " .. name, function()
      local loaded, err = load(text)
      assert.is_table(loaded, err)
      assert.are.equal(1, #loaded.inspections)
      local i = loaded.inspections[1]
      assert.are.equal("run", i.fn)
      assert.are.equal("Shop", i.title)
      assert.are.same({ "a", "b" }, i.tags)
      assert.are.equal(1, i.line)
      assert.are.equal("ok", internal.run(text, "run", {}).outcome)
    end)
  end

  it("take the name of the function that follows", function()
    local loaded = assert(load 'monitor{ title = "a" }\nfunction probe() end\nmonitor<title = "b">\nfunction other() end')
    assert.are.equal("probe", loaded.inspections[1].fn)
    assert.are.equal("other", loaded.inspections[2].fn)
    assert.are.equal(3, loaded.inspections[2].line)
  end)

  it("let an expression choose its name; without one it is run", function()
    local loaded = assert(load [[
      for _, n in ipairs{ "one", "two" } do monitor{ title = n, name = n, run = function() print(n) end } end
      monitor{ title = "three", run = print }
    ]])
    assert.are.same({ "one", "two", "run" }, { loaded.inspections[1].fn, loaded.inspections[2].fn, loaded.inspections[3].fn })
    local r = internal.run("for _, n in ipairs{'one','two'} do monitor{ title = n, name = n, run = function() print(n) end } end", "two", {})
    assert.is_truthy(r.log:find("two", 1, true))
  end)

  it("allow blanks and comments between monitor, < and the function", function()
    for _, text in ipairs {
      "monitor <title = 'T'>\n\n-- why\n--[[ more ]]\nfunction run() end",
      "monitor -- x\n<\n title = 'T'\n>\nfunction --[==[ ] ]==] run --\n () end",
      "#!/usr/bin/env selfmon-lua\nmonitor<title = 'T'>\nfunction run() end",
      "\xef\xbb\xbfmonitor<title = 'T'> function run() end",
    } do
      local loaded, err = load(text)
      assert.is_table(loaded, text .. ": " .. err)
    end
  end)

  it("refuse a name twice, naming the line of the first", function()
    refused("monitor{ title = 'a' }\nfunction run() end\nmonitor{ title = 'b' }\nfunction run() end",
      'demo/x.lua:3:', 'the name "run" is taken by the inspection in line 1')
  end)
end)

describe("what follows monitor", function()
  for name, row in pairs {
    ["a local function"] = { "local function run() end", "local function run" },
    ["a method"] = { "local M = {}\nfunction M.run() end", "found" },
    ["M.run"] = { "function M.run() end", "function M.run" },
    ["another statement"] = { "x = 1\nfunction run() end", "found `x`" },
    ["the end of the file"] = { "", "found the end of the file" },
    ["a semicolon"] = { ";\nfunction run() end", "found `;`" },
    ["an assignment of a function"] = { "run = function() end", "found `run`" },
  } do
    it("must be function NAME(, and the error shows both cures: " .. name, function()
      for _, opening in ipairs { "monitor{ title = 'T' }\n", "monitor<title = 'T'>\n" } do
        refused(opening .. row[1], "demo/x.lua:1:", "must follow directly", row[2], "`function run(params)`",
          "not `local function` or `function M.run`", "`name =`", "`run =`")
      end
    end)
  end

  it("must not begin with (, and the error says where ; goes", function()
    refused("monitor{ title = 'T' }\n(print)('x')\nfunction run() end", "demo/x.lua:1:", "put `;` after `monitor{…}`")
  end)

  it("must still be a function when the file has run", function()
    refused("monitor{ title = 'T' }\nfunction run() end\nrun = nil", 'the global "run" is nil, not a function')
  end)
end)

describe("the attribute", function()
  it("keeps every line and column", function()
    local text = "monitor<title = 'T',\n  doc = [[\n]]>\nfunction run()\n  error 'here'\nend"
    assert.is_truthy(internal.run(text, "run", {}, "demo/x.lua").error:find("inspections/demo/x.lua:5: here", 1, true))
  end)

  it("takes any expression without a > at depth 0", function()
    for _, value in ipairs { "'a > b'", "[[ > ]]", "(3 > 2) and 'x' or 'y'", "{ (3 > 2), f = function() return 1 > 0 end }",
                             "#{1, 2} .. ''", "not nil and 'x'", "1 << 2", "8 >> 1", "3 >= 2", "1 ~= 2", "7 // 2",
                             "'x' --[[ > ]]", "-- >\n'x'" } do
      local key = value:find "^[{138]" and "params = { a = 1 }, title = 'T', doc = tostring(" .. value .. ")"
        or "title = tostring(" .. value .. ")"
      local loaded, err = load("monitor<" .. key .. ">\nfunction run() end")
      assert.is_table(loaded, key .. ": " .. err)
    end
    assert.are.equal("y", load("monitor<title = 1 >= 2 and 'x' or 'y'>\nfunction run() end").inspections[1].title)
    assert.are.equal("T", load("monitor<title = (2 > 1) and 'T'>\nfunction run() end").inspections[1].title)
  end)

  it("says when it is not closed, with the line where it opened", function()
    for _, text in ipairs { "\nmonitor<title = 'T'\nfunction run() end", "\nmonitor<title = 'T',", "\nmonitor<title = 'T' }",
                            "\nmonitor<title = 'T', doc = { 'x'", "\nmonitor<title = 'T'\nlocal x = 1",
                            "\nmonitor<title = 'T', run = function() end>", "\nmonitor<title = if x>" } do
      refused(text, "demo/x.lua:2: monitor< opened in line 2 is not closed by >")
    end
    refused("monitor<title = 'T', run = function() end>", "in parentheses")
    local loaded, err = load "monitor<title = 'T', run = (function() end)>"
    assert.is_table(loaded, err)
  end)

  it("leaves a comparison with something called monitor alone", function()
    local loaded, err = load [[
      local title, monitors = 2, 1
      local function f(monitor) return monitor < title, monitor <= title, monitor < (title), not (monitor<title) == true end
      assert(f(1))
      monitor{ title = "T" }
      function run() end
    ]]
    assert.is_table(loaded, err)
  end)

  it("is not found in strings and comments", function()
    local loaded, err = load [==[
      -- monitor<title = "no">
      --[[ monitor<title = "no"> ]]
      local s = "monitor<title = 'no'>" .. [[monitor<title = 'no'>]]
      assert(s == "monitor<title = 'no'>monitor<title = 'no'>")
      monitor<title = "yes">
      function run() end
    ]==]
    assert.is_table(loaded, err)
    assert.are.equal("yes", loaded.inspections[1].title)
  end)
end)

describe("the table", function()
  it("has defaults", function()
    local i = spec_of ""
    for key, value in pairs { doc = "", timeout = 30, account = "default", category = "general", overlap = "skip",
                              missed = "last", first_run = true, retry = true } do
      assert.are.equal(value, i[key], key)
    end
    for _, key in ipairs { "params", "tags", "permissions", "was", "limits" } do
      assert.are.same({}, i[key], key)
    end
    for _, key in ipairs { "schedule", "timezone", "api_key_id", "api_key", "node", "events" } do
      assert.is_true(i[key] == nil or next(i[key]) == nil, key)
    end
  end)

  it("keeps what was given", function()
    local i = spec_of [[ doc = "d", schedule = {"* * * * *", "@hourly"}, timezone = "Europe/Berlin", timeout = "2m",
      account = "ops", api_key_id = "ak", api_key = "sk", node = "cn1", category = "c", tags = {"x"},
      permissions = {"secret:shop"}, limits = { memory = "16MiB", cpu = "2s", events = 10, log = "64KiB", http = 5 },
      overlap = "queue", missed = "all", first_run = false, retry = false, was = {"demo/old.run"} ]]
    assert.are.same({ "* * * * *", "@hourly" }, i.schedule)
    assert.are.equal(120, i.timeout)
    assert.are.same({ memory = 16 << 20, cpu = 2, events = 10, log = 64 << 10, http = 5 }, i.limits)
    for key, value in pairs { doc = "d", timezone = "Europe/Berlin", account = "ops", api_key_id = "ak", api_key = "sk",
                              node = "cn1", category = "c", overlap = "queue", missed = "all", first_run = false, retry = false } do
      assert.are.equal(value, i[key], key)
    end
    assert.are.same({ "secret:shop" }, i.permissions)
    assert.are.same({ "demo/old.run" }, i.was)
  end)

  it("takes a schedule as one text", function()
    assert.are.same({ "*/5 * * * *" }, spec_of("schedule = '*/5 * * * *'").schedule)
  end)

  it("takes a node as two URLs", function()
    local urls = { openapi = "https://a.example", openway = "https://b.example" }
    assert.are.same(urls, spec_of("node = { openapi = 'https://a.example', openway = 'https://b.example' }").node)
    key_refused("node = { openapi = 'https://a.example' }", "node.openway")
    key_refused("node = { openapi = 'x', openwy = 'y' }", "openwy", "did you mean", "openway")
  end)

  it("takes an event policy", function()
    local i = spec_of [[ events = { recover = true, on_change = true, confirm = { fail = 3, ok = 2 }, remind = "4h",
      max_dimensions = 100, max_events = { 50, per = "10m" } } ]]
    assert.is_true(i.events.recover)
    key_refused("events = { recovr = true }", "recovr", "did you mean", "recover")
    key_refused("events = { remind = '10s' }", "events.remind")
    key_refused("events = { confirm = { fail = 0 } }", "events.confirm.fail")
  end)

  it("refuses an unknown key and names the nearest known one", function()
    local line = key_refused("scedule = '* * * * *'", "demo/x.lua:1:", 'unknown key "scedule"', "did you mean", "schedule")
    assert.are.equal(1, line)
    key_refused("xyzzy = 1", 'unknown key "xyzzy"')
    key_refused("'list'", "without a name")
    key_refused("limits = { memry = 1 }", "memry", "memory")
  end)

  it("needs a title of one line and 1 to 256 characters", function()
    refused("monitor{}\nfunction run() end", "title", "1 to 256 characters")
    for value, words in pairs { ["''"] = "empty", ["'a\\nb'"] = "line", ["7"] = "expected a text", ["('x'):rep(257)"] = "257",
                                ["'\\xff'"] = "UTF-8", ["'a\\0b'"] = "control byte" } do
      refused("monitor{ title = " .. value .. " }\nfunction run() end", "title", words)
    end
    assert.is_table(load "monitor{ title = ('é'):rep(256) }\nfunction run() end")
  end)

  it("needs a timeout of 1 s to 3600 s, as seconds or a duration", function()
    for value, seconds in pairs { ["1"] = 1, ["2.5"] = 2.5, ["3600"] = 3600, ["'90s'"] = 90, ["'1h'"] = 3600, ["'1m30s'"] = 90 } do
      assert.are.equal(seconds, spec_of("timeout = " .. value).timeout)
    end
    for _, value in ipairs { "0", "0.5", "3601", "'2h'", "'soon'", "0/0", "1/0", "-1", "true", "{}" } do
      key_refused("timeout = " .. value, "timeout")
    end
  end)

  it("refuses wrong types with the key's name", function()
    for keys, words in pairs { ["doc = 1"] = "doc: expected a text", ["tags = 'x'"] = "tags: expected a list of texts",
                               ["tags = {1}"] = "tags[1]", ["schedule = 5"] = "schedule", ["schedule = {{}}"] = "schedule[1]",
                               ["overlap = 'wait'"] = "overlap: expected one of skip, queue",
                               ["missed = 'none'"] = "missed", ["first_run = 1"] = "first_run: expected true or false",
                               ["retry = 'no'"] = "retry", ["was = 'x'"] = "was", ["permissions = {true}"] = "permissions[1]",
                               ["account = {}"] = "account", ["params = 1"] = "params", ["run = 1"] = "run: expected a function",
                               ["name = 1, run = print"] = "name", ["name = 'a b', run = print"] = "name",
                               ["limits = { events = 1.5 }"] = "limits.events", ["limits = { memory = 'much' }"] = "limits.memory" } do
      key_refused(keys, words)
    end
  end)

  it("never shows an api_key in its error", function()
    local _, err = key_refused("api_key = 'very\\nsecret'", "api_key")
    assert.is_nil(err:find("secret", 1, true))
  end)
end)

describe("cleaned texts", function()
  for name, row in pairs {
    ["blank lines around go"] = { "\n\n  a\n\n", "a" },
    ["the smallest margin goes"] = { "\n    a\n      b\n\n    c\n  ", "a\n  b\n\nc" },
    ["a first line right after the quote has no say"] = { "a\n    b\n      c", "a\nb\n  c" },
    ["a first line that begins with white space has one"] = { "  a\n    b", "a\n  b" },
    ["a tab counts as one column"] = { "\n\ta\n\t\tb", "a\n\tb" },
    ["white space at the ends of lines goes"] = { "a  \nb\t", "a\nb" },
    ["nothing stays nothing"] = { " \n \n", "" },
  } do
    it("are so in doc and in a message: " .. name, function()
      assert.are.equal(row[2], spec_of("doc = " .. ("%q"):format(row[1])).doc)
      local r = internal.run("monitor{ title = 'x' }\nfunction run(p) EventReporter():report{ title = 't', status = 'ok', message = p.m } end",
        "run", { m = row[1] })
      assert.are.equal("ok", r.outcome, r.error)
      assert.are.equal(row[2] == "" and "(no message)" or row[2], r.events[1].message)
    end)
  end
end)

describe("loading", function()
  it("refuses what touches the world, with the cure", function()
    for call, name in pairs { ["require'selfmon.http'.get'http://127.0.0.1:1/'"] = "http.get",
                              ["require'selfmon.http'.all{}"] = "http.all",
                              ["require'selfmon.host'.memory()"] = "host.memory",
                              ["require'selfmon.time'.sleep(0)"] = "time.sleep" } do
      refused(call .. "\nmonitor{ title = 'T' }\nfunction run() end",
        "demo/x.lua:1:", name .. " cannot be called while a script is loading; call it inside the function")
    end
  end)

  it("refuses it in a run's main chunk too", function()
    local r = internal.run("require'selfmon.http'.get'http://127.0.0.1:1/'\nmonitor{ title = 'T' }\nfunction run() end", "run", {},
      { http = function() return { status = 200 } end })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("http.get cannot be called while a script is loading", 1, true))
  end)

  it("has 1 s of CPU", function()
    local line = refused("monitor{ title = 'T' }\nfunction run() end\nwhile true do end", "demo/x.lua:3:", "1 s of CPU",
      "put the work inside the function")
    assert.are.equal(3, line)
  end)

  it("has the memory limit", function()
    refused("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(100000) .. #t end", "memory limit of 32 MiB")
  end)

  it("shows print at load, and not at each run", function()
    local text = "print('loading')\nmonitor{ title = 'T' }\nfunction run() print('running') end"
    assert.is_truthy(load(text).log:find("loading", 1, true))
    local r = internal.run(text, "run", {})
    assert.is_nil(r.log:find("loading", 1, true))
    assert.is_truthy(r.log:find("running", 1, true))
  end)

  it("runs the main chunk first thing in every run", function()
    local r = internal.run("local n = 41\nmonitor{ title = 'T' }\nfunction run() print(n + 1) end", "run", {})
    assert.is_truthy(r.log:find("42", 1, true))
  end)

  it("refuses a file that registers nothing, but not below lib/, with _ or as a spec", function()
    refused("local x = 1", "registers no inspection")
    for _, file in ipairs { "lib/util.lua", "demo/_shared.lua", "_x.lua", "demo/shop_spec.lua" } do
      local loaded, err = load("return {}", file)
      assert.is_table(loaded, file .. ": " .. err)
      assert.are.same({}, loaded.inspections)
    end
  end)

  it("refuses monitor inside the function, EventReporter outside of it", function()
    local r = internal.run("monitor{ title = 'T' }\nfunction run() monitor{ title = 'U', run = print } end", "run", {})
    assert.is_truthy(r.error:find("monitor can only be called while a script is loading", 1, true), r.error)
    refused("local r = EventReporter()\nmonitor{ title = 'T' }\nfunction run() end", "demo/x.lua:1:",
      "EventReporter must be constructed inside the inspection function, not while the script is loading")
  end)

  it("shows a syntax error with file and line", function()
    local line = refused("monitor{ title = 'T' }\nfunction run()\n  x = = 1\nend", "inspections/demo/x.lua:3:")
    assert.are.equal(3, line)
  end)

  it("names the modules of lib/ that were required", function()
    local loaded = assert(internal.load("require 'lib.a'\nmonitor{ title = 'T' }\nfunction run() end",
      { file = "x.lua", libs = { ["lib/a.lua"] = "return require 'lib.b'", ["lib/b.lua"] = "return {}", ["lib/c.lua"] = "" } }))
    assert.are.same({ "lib/a.lua", "lib/b.lua" }, loaded.libs)
  end)
end)
