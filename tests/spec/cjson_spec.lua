-- cjson and cjson.safe: lua-cjson behind the guard. Every row where bare lua-cjson 2.1.0 is wrong or
-- unsafe has its sentence here.
local cjson = require "cjson"
local safe = require "cjson.safe"

local function refused(f, value, words)
  local ok, err = pcall(f, value)
  assert.is_false(ok)
  assert.is_truthy(tostring(err):find(words, 1, true), "got: " .. tostring(err))
end

describe("cjson.encode", function()
  for _, row in ipairs {
    { "2^53 as integer", 1 << 53, "9007199254740992" },
    { "2^53 as float", 2.0 ^ 53, "9007199254740992" },
    { "the largest integer", math.maxinteger, "9223372036854775807" },
    { "the smallest integer", math.mininteger, "-9223372036854775808" },
    { "milliseconds", 1790000000123, "1790000000123" },
    { "microseconds", 1790000000123456, "1790000000123456" },
    { "nanoseconds", 1790000000123456789, "1790000000123456789" },
    { "14 digits", 99999999999999, "99999999999999" },
    { "15 digits", 999999999999999, "999999999999999" },
    { "epoch with microseconds", 1790000000.123456, "1790000000.123456" },
    { "a third", 1 / 3, "0.3333333333333333" },
    { "0.1 + 0.2", 0.1 + 0.2, "0.30000000000000004" },
    { "a short float", 0.5, "0.5" },
    { "an integral float", 3.0, "3" },
    { "an empty table", {}, "{}" },
    { "a list", { 1, 2, 3 }, "[1,2,3]" },
    { "a hole within the ratio", { 1, nil, 3 }, "[1,null,3]" },
    { "number keys beside text keys", { [5] = true }, "[null,null,null,null,true]" },
    { "null", cjson.null, "null" },
    { "nil", nil, "null" },
    { "an empty array", cjson.empty_array, "[]" },
    { "an empty array inside", { a = cjson.empty_array }, '{"a":[]}' },
    { "a slash", "a/b", '"a\\/b"' },
    { "control bytes", "\0\1\b\t\n\f\r\127\"\\", '"\\u0000\\u0001\\b\\t\\n\\f\\r\\u007f\\"\\\\"' },
    { "other letters", "Zürich 東京 🙂", '"Zürich 東京 🙂"' },
  } do
    it("writes " .. row[1], function()
      assert.are.equal(row[3], cjson.encode(row[2]))
      -- beside an array marker the own writer does the same
      local marked = cjson.encode { cjson.empty_array, row[2] == nil and cjson.null or row[2] }
      assert.are.equal("[[]," .. row[3] .. "]", marked)
    end)
  end

  it("writes a table marked by array_mt as an array", function()
    assert.are.equal("[]", cjson.encode(setmetatable({}, cjson.array_mt)))
    assert.are.equal("[1,null,3]", cjson.encode(setmetatable({ 1, nil, 3 }, cjson.array_mt)))
    refused(cjson.encode, setmetatable({ x = 1 }, cjson.array_mt), "array_mt")
  end)

  it("ignores other metatables", function()
    local poison = setmetatable({ 1 }, { __index = error, __len = error, __pairs = error })
    assert.are.equal("[1]", cjson.encode(poison))
  end)

  it("writes keys that are numbers as text", function()
    assert.are.equal('{"1.5":1}', cjson.encode { [1.5] = 1 })
    assert.are.equal('{"-9007199254740993":1}', cjson.encode { [-9007199254740993] = 1 })
  end)

  it("refuses what has no form, and says where", function()
    refused(cjson.encode, { a = { 1, print } }, "a[2]: a function has no form in JSON")
    refused(cjson.encode, { [true] = 1 }, "a key must be a string or a number, got a boolean")
    refused(cjson.encode, { a = 0 / 0 }, "a: NaN is no JSON number")
    refused(cjson.encode, { a = math.huge }, "a: an infinite number is no JSON number")
    refused(cjson.encode, { items = { "ok", "\xff" } }, "items[2]: text that is not valid UTF-8")
    refused(cjson.encode, { ["\xc0\x80"] = 1 }, "not valid UTF-8")
    refused(cjson.encode, "\xed\xa0\x80", "not valid UTF-8")
    refused(cjson.encode, { 1, [1000] = 2 }, "excessively sparse array: 2 elements, the last at 1000")
  end)

  it("refuses cycles and depth", function()
    local loop = { a = {} }
    loop.a.b = loop
    refused(cjson.encode, loop, "a.b: a table that contains itself")
    local deep = 1
    for _ = 1, 64 do deep = { deep } end
    assert.are.equal(("["):rep(64) .. "1" .. ("]"):rep(64), cjson.encode(deep))
    refused(cjson.encode, { deep }, "more than 64 levels deep")
  end)

  it("refuses more than 8 MiB, also when a small table is met again and again", function()
    refused(cjson.encode, ("x"):rep((8 << 20) + 1), "more than 8388608 bytes")
    refused(cjson.encode, ("\1"):rep(2 << 20), "more than 8388608 bytes")
    assert.are.equal((8 << 20) - 8, #cjson.encode(("x"):rep((8 << 20) - 10)))
    local tree = { "0123456789" }
    for _ = 1, 40 do tree = { tree, tree } end
    refused(cjson.encode, tree, "more than 8388608 bytes")
  end)

  it("wants one argument", function()
    refused(function() cjson.encode() end, nil, "expected 1 argument")
    refused(function() cjson.encode(1, 2) end, nil, "expected 1 argument")
  end)
end)

describe("cjson.decode", function()
  for _, row in ipairs {
    { "1", 1, "integer" }, { "1.0", 1, "integer" }, { "-7", -7, "integer" }, { "1e3", 1000, "integer" },
    { "0.5", 0.5, "float" }, { "1e300", 1e300, "float" },
    { "9007199254740993", 9007199254740993, "integer" },
    { "9223372036854775807", math.maxinteger, "integer" },
    { "-9223372036854775808", math.mininteger, "integer" },
    { "9223372036854775808", 9223372036854775808.0, "float" },
    { "-9223372036854775809", -9223372036854775809.0, "float" },
    { "123456789012345678901234567890", 123456789012345678901234567890.0, "float" },
    { "0.30000000000000004", 0.1 + 0.2, "float" },
    { "1790000000.123456", 1790000000.123456, "float" },
  } do
    it("reads " .. row[1], function()
      local v = cjson.decode(row[1])
      assert.are.equal(row[2], v)
      assert.are.equal(row[3], math.type(v))
      -- in a text that jansson must read, too
      local list = cjson.decode('[1234567890123456789,{"a":' .. row[1] .. "}]")
      assert.are.equal(1234567890123456789, list[1])
      assert.are.equal(row[2], list[2].a)
      assert.are.equal(row[3], math.type(list[2].a))
    end)
  end

  for _, text in ipairs {
    "", " ", "{", "[1,]", "[1 2]", "{} x", "{\"a\":1,}", "NaN", "nan", "Infinity", "-Infinity", "0x10", "01", "+1", "1.",
    ".5", "1e", "-", "1e400", "-1e400", "[1e999]", "tru", "\"\\ud800\"", "\"\\x\"", "\"a", "\"\xff\"",
    "\"\xc0\x80\"", "[\xff]", "\"a\1b\"", "\"a\nb\"", "'a'", "[1,2", "]", "1 1", "{}\0", "4\0x",
  } do
    it("refuses " .. text:gsub("[^ -~]", function(c) return ("\\x%02x"):format(c:byte()) end), function()
      assert.is_false((pcall(cjson.decode, text)))
      local v, err, code = safe.decode(text)
      assert.is_nil(v)
      assert.is_string(err)
      assert.are.equal("invalid", code)
      assert.is_false((pcall(cjson.decode, "[1234567890123456789," .. text .. "]")))
    end)
  end

  it("keeps null, nested values and the last of two equal names", function()
    local v = cjson.decode '{"a":[null,true,{"b":"\\u00e9\\n"}],"x":1,"x":2}'
    assert.are.equal(cjson.null, v.a[1])
    assert.is_true(v.a[2])
    assert.are.equal("é\n", v.a[3].b)
    assert.are.equal(2, v.x)
    local wide = cjson.decode '{"a":[null,true,"\\u0000x"],"n":9223372036854775807,"x":1,"x":2}'
    assert.are.equal(cjson.null, wide.a[1])
    assert.are.equal("\0x", wide.a[3])
    assert.are.equal(2, wide.x)
  end)

  it("bounds depth, length and the number of values", function()
    assert.is_table(cjson.decode(("["):rep(64) .. ("]"):rep(64)))
    refused(cjson.decode, ("["):rep(65) .. ("]"):rep(65), "more than 64 levels deep")
    refused(cjson.decode, ("["):rep(1000000), "more than 64 levels deep")
    refused(cjson.decode, (" "):rep((8 << 20) + 1), "at most 8388608")
    refused(cjson.decode, "[" .. ("1,"):rep(1000001) .. "1]", "at most 1000000")
  end)

  it("says where", function()
    refused(cjson.decode, '{"a": 01}', "cjson.decode: character 7: malformed number")
    refused(cjson.decode, '["ab\xff"]', "character 5: not valid UTF-8")
  end)
end)

describe("settings", function()
  it("have upstream's names and stay inside the guard", function()
    local j = cjson.new()
    assert.are.equal(64, j.encode_max_depth())
    assert.are.equal(2, j.encode_max_depth(2))
    refused(j.encode, { { { 1 } } }, "more than 2 levels deep")
    refused(j.encode_max_depth, 65, "from 1 to 64")
    refused(j.decode_max_depth, 1000000, "from 1 to 64")
    assert.are.equal(1, j.decode_max_depth(1))
    refused(j.decode, "[[1]]", "more than 1 levels deep")
    refused(j.decode_invalid_numbers, true, "not JSON")
    refused(j.encode_invalid_numbers, true, "not JSON")
    assert.are.equal("null", j.encode_invalid_numbers("null"))
    assert.are.equal("[null]", j.encode { 0 / 0 })
    assert.are.equal(3, j.encode_number_precision(3))
    assert.are.equal("[0.333,12345]", j.encode { 1 / 3, 12345 })
    j.encode_sparse_array(true)
    assert.are.equal('{"1000":1}', j.encode { [1000] = 1 })
    j.encode_sparse_array(false, 0)
    refused(j.encode, { [1 << 40] = 1 }, "more than 8388608 bytes")
  end)

  it("belong to one instance", function()
    local j = cjson.new()
    j.encode_max_depth(1)
    assert.are.equal("[[1]]", cjson.encode { { 1 } })
  end)
end)

describe("cjson.safe", function()
  it("answers nil, sentence, code", function()
    local v, err, code = safe.encode { a = print }
    assert.is_nil(v)
    assert.are.equal("cjson.encode: a: a function has no form in JSON", err)
    assert.are.equal("invalid", code)
    assert.are.equal("[1]", safe.encode { 1 })
    assert.are.same({ 1 }, safe.decode "[1]")
    assert.is_nil((safe.new().decode "x"))
    assert.are.equal(safe.null, cjson.null)
    assert.are.equal(safe.empty_array, cjson.empty_array)
    assert.are.equal("limit", select(3, safe.decode(("["):rep(70))))
  end)
end)

describe("both ways", function()
  it("keeps values", function()
    for _, v in ipairs { 0, -1, 1.25, 1e15, 123456789012345, 1234567890123456, 0.1, 1e-7, 5e-324,
                         1.7976931348623157e308, "", "x", true, false } do
      local back = cjson.decode(cjson.encode { v })[1]
      assert.are.equal(v, back)
    end
  end)
end)

describe("a run's memory limit", function()
  local internal = require "selfmon.internal"
  local function run(body)
    return internal.run(([[
      local cjson = require "cjson"
      monitor{ title = "m" }
      function run() %s end
    ]]):format(body), "run", {}, { file = "m.lua", memory = 2 << 20 })
  end

  for name, body in pairs {
    ["decode by jansson"] = [[cjson.decode("[1234567890123456789" .. (",1"):rep(300000) .. "]")]],
    ["decode, caught"] = [[pcall(cjson.decode, "[1234567890123456789" .. (",{}"):rep(100000) .. "]") print "on"]],
    ["decode by the safe flavour"] = [[require "cjson.safe".decode("[1" .. (",[]"):rep(100000) .. "]")]],
    ["encode by the own writer"] = [[local s = ("x"):rep(500000) cjson.encode{ cjson.empty_array, s, s, s, s }]],
  } do
    it("ends it: " .. name, function()
      local r = run(body)
      assert.are.equal("limit", r.outcome, r.error)
      assert.are.equal("", r.log)
    end)
  end
end)
