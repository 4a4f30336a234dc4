-- EventReporter: what an event may be, which mistakes raise, and what of the world's data is repaired.
local internal = require "selfmon.internal"

local function run(body, opts, params)
  opts = opts or {}
  opts.file = "demo/r.lua"
  return internal.run("monitor{ title = 'R' }\nfunction run(params)\n" .. body .. "\nend", "run", params or {}, opts)
end

-- Runs report(EXPRESSION) and answers the outcome; line 3 of the script.
local function report(expression, opts)
  return run("EventReporter():report(" .. expression .. ")", opts)
end

local GOOD = "title = 't', message = 'm', status = 'ok'"

local function raises(expression, ...)
  local r = report(expression)
  assert.are.equal("failed", r.outcome, expression)
  assert.are.same({}, r.events, expression)
  for _, words in ipairs { "inspections/demo/r.lua:3: ", ... } do
    assert.is_truthy(r.error:find(words, 1, true), ("%s\nexpected: %s\ngot: %s"):format(expression, words, r.error))
  end
end

local function one(expression, params)
  local r = run("EventReporter():report(" .. expression .. ")", {}, params)
  assert.are.equal("ok", r.outcome, r.error)
  assert.are.equal(1, #r.events)
  return r.events[1], r.log
end

describe("EventReporter", function()
  it("is a userdata class made inside the function", function()
    local r = run("local rep = EventReporter() print(type(rep), tostring(rep), getmetatable(rep))")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("userdata\tEventReporter", 1, true), r.log)
    assert.is_truthy(r.log:find("false", 1, true), r.log)
  end)

  it("or in anything the function calls", function()
    local r = internal.run([[
      local function helper() return EventReporter() end
      monitor{ title = "R" }
      function run()
        coroutine.wrap(function() helper():report{ title = "t", message = "m", status = "ok" } end)()
        require "lib.r"()
      end
    ]], "run", {}, { file = "r.lua", libs = { ["lib/r.lua"] = [[return function() EventReporter():report{ title = "u", message = "m", status = "ok" } end]] } })
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(2, #r.events)
  end)

  it("raises in the main chunk", function()
    for _, text in ipairs { "local r = EventReporter()", "local ok, e = pcall(EventReporter) error(e, 0)", "require 'lib.r'" } do
      local loaded, err = internal.load(text .. "\nmonitor{ title = 'R' }\nfunction run() end",
        { file = "r.lua", libs = { ["lib/r.lua"] = "return EventReporter()" } })
      assert.is_nil(loaded)
      assert.is_truthy(err:find("EventReporter must be constructed inside the inspection function, not while the script is loading", 1, true), err)
      assert.is_truthy(err:find("r.lua:1:", 1, true), err)
    end
  end)

  it("belongs to its run: it has no events of another one", function()
    local r = run("local a, b = EventReporter(), EventReporter() a:report{" .. GOOD .. "} print(a, b)")
    assert.is_truthy(r.log:find("(1 events reported)", 1, true), r.log)
    assert.is_truthy(r.log:find("(0 events reported)", 1, true), r.log)
  end)

  it("takes no arguments and has no other methods", function()
    assert.are.equal("failed", run("EventReporter(1)").outcome)
    assert.are.equal("failed", run("EventReporter():send{}").outcome)
    assert.are.equal("failed", run("EventReporter().report = print").outcome)
  end)
end)

describe("reporter:report", function()
  it("answers the id of one event: event- and 32 hex of a UUIDv7", function()
    local r = run("print(EventReporter():report{" .. GOOD .. "})")
    assert.are.equal("ok", r.outcome, r.error)
    local id = r.log:match "event%-%x+"
    assert.are.equal(r.events[1].id, id)
    assert.is_truthy(id:match("^event%-" .. ("%x"):rep(12) .. "7" .. ("%x"):rep(19) .. "$"), id)
  end)

  it("answers a list of ids for a list of events", function()
    local r = run("local ids = EventReporter():report{ {" .. GOOD .. "}, {" .. GOOD .. "} } print(#ids, ids[1] ~= ids[2], type(ids[2]))")
    assert.is_truthy(r.log:find("2\ttrue\tstring", 1, true), r.log)
    assert.are.equal(2, #r.events)
    r = run("print(type(EventReporter():report{ {" .. GOOD .. "} }))")
    assert.is_truthy(r.log:find("table", 1, true), r.log)
  end)

  it("takes an empty list and reports nothing", function()
    local r = run("print(#EventReporter():report{})")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("\t0\n", 1, true), r.log)
    assert.are.same({}, r.events)
  end)

  it("keeps the order of a list", function()
    local r = run("local l = {} for i = 1, 20 do l[i] = { title = 't' .. i, message = 'm', status = 'ok' } end EventReporter():report(l)")
    for i = 1, 20 do assert.are.equal("t" .. i, r.events[i].title) end
  end)

  it("with a dot raises with the hint", function()
    local r = run("EventReporter().report{" .. GOOD .. "}")
    assert.is_truthy(r.error:find("r.lua:3: report: use reporter:report(event) with a colon", 1, true), r.error)
    r = run("EventReporter().report()")
    assert.is_truthy(r.error:find("with a colon", 1, true), r.error)
  end)

  it("takes one event or one list, nothing else", function()
    for _, x in ipairs { "", "nil", "7", "'x'", "print" } do raises(x, "expected an event or a list of events") end
    raises("{" .. GOOD .. "}, {" .. GOOD .. "}", "got more arguments")
    raises("{ [1] = {" .. GOOD .. "}, [3] = {" .. GOOD .. "} }", "without a gap")
    raises("{ {" .. GOOD .. "}, 7 }", "events[2]: expected a table, got a number")
  end)

  it("runs no metamethod of the script", function()
    local r = run([[
      local hostile = setmetatable({}, { __index = function() error "index" end, __pairs = function() error "pairs" end,
        __len = function() error "len" end, __metatable = false })
      hostile.title, hostile.message, hostile.status = "t", "m", "ok"
      EventReporter():report(hostile)
    ]])
    assert.are.equal("ok", r.outcome, r.error)
    r = run("EventReporter():report(setmetatable({}, { __index = {" .. GOOD .. "} }))")
    assert.are.equal(0, #r.events)
  end)
end)

describe("an author's mistake raises at the script's line, and nothing is reported:", function()
  for name, row in pairs {
    ["an unknown field, with the nearest name"] = { GOOD .. ", dimension_tag = {}", 'events[1].dimension_tag: unknown field "dimension_tag"; did you mean "dimension_tags"?' },
    ["a missing title"] = { "message = 'm', status = 'ok'", "events[1].title: missing" },
    ["a missing message"] = { "title = 't', status = 'ok'", "events[1].message: missing" },
    ["a missing status"] = { "title = 't', message = 'm'", "events[1].status: missing" },
    ["a title of a wrong type"] = { "title = 7, message = 'm', status = 'ok'", "events[1].title: expected a text, got a number" },
    ["a message of a wrong type"] = { "title = 't', message = {}, status = 'ok'", "events[1].message: expected a text, got a table" },
    ["a wrong status"] = { "title = 't', message = 'm', status = 'crit'", 'events[1].status: expected one of info, warning, error, critical, ok; got "crit"' },
    ["a status in capitals"] = { "title = 't', message = 'm', status = 'OK'", "events[1].status" },
    ["tags of a wrong type"] = { GOOD .. ", dimension_tags = 'x'", "events[1].dimension_tags: expected a table, got a text" },
    ["NaN in a tag"] = { GOOD .. ", dimension_tags = { a = 0/0 }", "events[1].dimension_tags.a", "NaN" },
    ["infinity in a tag"] = { GOOD .. ", dimension_tags = { a = 1/0 }", "infinity" },
    ["a tag that is a table"] = { GOOD .. ", dimension_tags = { a = {} }", "events[1].dimension_tags.a: expected a text, a number or a boolean" },
    ["a tag key that is no string"] = { GOOD .. ", dimension_tags = { 'x' }", "expected texts as tag names" },
    ["an empty tag key"] = { GOOD .. ", dimension_tags = { [''] = 1 }", "may not be empty" },
    ["an over-long tag key"] = { GOOD .. ", dimension_tags = { [('x'):rep(257)] = 1 }", "at most 256 bytes" },
    ["a tag key with control bytes"] = { GOOD .. ", dimension_tags = { ['a\\nb'] = 1 }", "control bytes" },
    ["a tag key that begins with df_"] = { GOOD .. ", dimension_tags = { df_x = 1 }", "df_ belong to the platform" },
    ["more than 32 tags"] = { GOOD .. ", dimension_tags = (function() local t = {} for i = 1, 33 do t['k' .. i] = i end return t end)()", "at most 32 tags, got 33" },
  } do
    it(name, function()
      raises("{" .. row[1] .. "}", table.unpack(row, 2))
    end)
  end

  it("in a list, with its place, and no event of the list", function()
    raises("{ {" .. GOOD .. "}, { title = 't', message = 'm', status = 'crit' }, {" .. GOOD .. "} }",
      'events[2].status: expected one of info, warning, error, critical, ok; got "crit"')
  end)

  it("and can be caught; what was reported before stays", function()
    local r = run("local rep = EventReporter() rep:report{" .. GOOD .. "} print(pcall(rep.report, rep, {})) print(pcall(rep.report, rep, { title = 1 }))")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(1, #r.events)
    assert.is_truthy(r.log:find("false\tinspections/demo/r.lua:3: events[1]", 1, true), r.log)
  end)
end)

describe("an event", function()
  it("has one of five statuses", function()
    for _, status in ipairs { "info", "warning", "error", "critical", "ok" } do
      assert.are.equal(status, one("{ title = 't', message = 'm', status = '" .. status .. "' }").status)
    end
  end)

  it("needs no tags", function()
    assert.are.same({}, one("{" .. GOOD .. "}").dimension_tags)
    assert.are.same({}, one("{" .. GOOD .. ", dimension_tags = {} }").dimension_tags)
  end)

  it("sends tag values as text", function()
    local tags = one("{" .. GOOD .. [[, dimension_tags = { s = "x", i = 7, big = math.maxinteger, f = 3.0, g = 0.1, h = 1/3,
      t = true, n = false, neg = -0.5, e = 1e300 } }]]).dimension_tags
    assert.are.same({ s = "x", i = "7", big = "9223372036854775807", f = "3", g = "0.1", h = "0.3333333333333333",
                      t = "true", n = "false", neg = "-0.5", e = tags.e }, tags)
    assert.are.equal(1e300, tonumber(tags.e))
  end)

  it("takes 32 tags and keys of 256 bytes", function()
    local tags = one("{" .. GOOD .. ", dimension_tags = (function() local t = {} for i = 1, 32 do t[('k'):rep(253) .. (100 + i)] = i end return t end)() }").dimension_tags
    local n = 0
    for _ in pairs(tags) do n = n + 1 end
    assert.are.equal(32, n)
  end)

  it("has a message of at most 64 KiB", function()
    local e = one("{ title = 't', status = 'ok', message = ('x'):rep(65536) }")
    assert.are.equal(65536, #e.message)
  end)
end)

describe("the world's data is repaired, with a line in the run log:", function()
  local function repaired(params, field, expected)
    local fields = { title = "'t'", message = "'m'", tags = "{}" }
    fields[field] = "params.v"
    local e, log = one(("{ status = 'ok', title = %s, message = %s, dimension_tags = %s }"):format(fields.title, fields.message,
      field == "tags" and "{ k = params.v }" or "{}"), { v = params })
    local got = field == "tags" and e.dimension_tags.k or e[field]
    if expected ~= nil then assert.are.equal(expected, got) end
    assert.is_truthy(log:find("note\tevents[1]." .. (field == "tags" and "dimension_tags.k" or field), 1, true), log)
    return got, e
  end

  it("line breaks and control bytes in a title become a space", function()
    assert.are.equal("a b c d", (repaired("a\nb\r\nc\td", "title")))
  end)

  it("an overlong title is cut on a character, with an ellipsis", function()
    local got = repaired(("é"):rep(300), "title")
    assert.are.equal(256, utf8.len(got))
    assert.are.equal("…", got:sub(-3))
  end)

  it("an overlong message is cut to 64 KiB", function()
    local got = repaired(("é"):rep(40000), "message")
    assert.is_true(#got <= 65536 and #got > 65500)
    assert.are.equal("…", got:sub(-3))
    assert.is_truthy(utf8.len(got))
  end)

  it("an overlong tag value is cut to 1024 bytes", function()
    local got = repaired(("é"):rep(1000), "tags")
    assert.is_true(#got <= 1024 and #got > 1010)
    assert.are.equal("…", got:sub(-3))
    assert.is_truthy(utf8.len(got))
  end)

  it("an empty title or message gets a stand-in", function()
    repaired("", "title", "(no title)")
    repaired(" \n ", "title", "(no title)")
    repaired("", "message", "(no message)")
  end)

  it("a tag with an empty value is left out", function()
    local got = repaired("", "tags")
    assert.is_nil(got)
  end)

  for field, expression in pairs { title = "title = 'a\\xffb', message = 'm'", message = "title = 't', message = 'a\\xffb'",
                                   tags = "title = 't', message = 'm', dimension_tags = { k = 'a\\xffb' }" } do
    it("invalid UTF-8 becomes U+FFFD: " .. field, function()
      local e, log = one("{ status = 'ok', " .. expression .. " }")
      assert.are.equal("a\u{FFFD}b", field == "tags" and e.dimension_tags.k or e[field])
      assert.is_truthy(log:find("invalid UTF-8 became U+FFFD", 1, true), log)
    end)
  end

  it("what is whole is left alone, without a line", function()
    local e, log = one("{ status = 'ok', title = 'Größe 東京 🙂', message = '**a** \"b\" | c', dimension_tags = { ['ü'] = ' x ' } }")
    assert.are.equal("Größe 東京 🙂", e.title)
    assert.are.equal('**a** "b" | c', e.message)
    assert.are.same({ ["ü"] = " x " }, e.dimension_tags)
    assert.is_nil(log:find("note", 1, true), log)
  end)
end)

describe("events of a run", function()
  it("reported before it failed stay reported", function()
    local r = run("EventReporter():report{" .. GOOD .. "} error 'later'")
    assert.are.equal("failed", r.outcome)
    assert.are.equal(1, #r.events)
  end)

  it("are at most 1,000; pcall does not catch the limit", function()
    local r = run("local rep = EventReporter() while true do pcall(rep.report, rep, {" .. GOOD .. "}) end")
    assert.are.equal("limit", r.outcome)
    assert.are.equal(1000, #r.events)
    assert.is_truthy(r.error:find("demo/r.lua:3: limit of 1000 events reached (1000 reported); see limits.events", 1, true), r.error)
  end)

  it("of a list beyond the limit are not half taken", function()
    local r = run("local l = {} for i = 1, 1001 do l[i] = {" .. GOOD .. "} end EventReporter():report(l)")
    assert.are.equal("limit", r.outcome)
    assert.are.same({}, r.events)
  end)
end)
