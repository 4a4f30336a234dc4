-- Parameters: declared by example or in full, converted from what a form sends, checked before the run.
local internal = require "selfmon.internal"
local cjson = require "cjson"
local t = require "selfmon.testing"

local function script(params)
  return "monitor{ title = 'T', params = " .. params .. " }\nfunction run(params) for k, v in pairs(params) do print(k, v) end end"
end

local function schema(params)
  local loaded, err = internal.load(script(params), "p.lua")
  return loaded and loaded.inspections[1].params, err
end

local function by_name(list)
  local out = {}
  for _, p in ipairs(list) do out[p.name] = p end
  return out
end

-- The value the script gets when the platform sends v for a parameter declared as `decl`.
local function value(decl, v)
  local s = assert(schema("{ p = " .. decl .. " }"))
  local values, err = internal.resolve(s, { p = v })
  if not values then return nil, err end
  return values.p
end

local function refused(params, ...)
  local s, err = schema(params)
  assert.is_nil(s, params)
  for _, words in ipairs { "p.lua:1:", ... } do assert.is_truthy(err:find(words, 1, true), params .. ": " .. err) end
end

describe("a declaration by example", function()
  it("has the type of the default", function()
    local p = by_name(assert(schema "{ s = 'x', n = 90, f = 0.5, b = true, l = {'a','b'}, e = {}, tb = { a = 1 } }"))
    local types = { s = "string", n = "number", f = "number", b = "boolean", l = "list", e = "list", tb = "table" }
    for name, type in pairs(types) do assert.are.equal(type, p[name].type, name) end
  end)

  it("is the default of a run", function()
    local s = assert(schema "{ threshold = 90, hosts = {'a','b'}, strict = true }")
    assert.are.same({ threshold = 90, hosts = { "a", "b" }, strict = true }, internal.resolve(s, {}))
  end)

  it("is a default value when its type key names no known type", function()
    local p = by_name(assert(schema "{ a = { type = 'A', ttl = 60 }, b = { type = 5 }, c = { type = 'number', default = 1 } }"))
    assert.are.equal("table", p.a.type)
    assert.are.same({ type = "A", ttl = 60 }, p.a.default)
    assert.are.equal("table", p.b.type)
    assert.are.equal("number", p.c.type)
  end)

  it("refuses what is no value", function()
    refused("{ a = print }", "params.a", "function")
    refused("{ 1, 2 }", "params", "named parameters")
    refused("{ ['a b'] = 1 }", '"a b" cannot be the name of a parameter')
    refused("{ a = 0/0 }", "params.a")
    refused("(function() local a = {} a.a = a return a end)()", "contains itself")
  end)
end)

describe("a full declaration", function()
  it("knows eight types", function()
    local s = assert(schema [[{ a = { type = "string" }, b = { type = "number" }, c = { type = "integer" }, d = { type = "boolean" },
      e = { type = "list" }, f = { type = "table" }, g = { type = "duration" }, h = { type = "any" } }]])
    assert.are.equal(8, #s)
  end)

  it("knows type default required min max enum items order doc, and no other key", function()
    assert(schema "{ p = { type = 'number', default = 5, min = 0, max = 10, enum = {1, 5}, order = 1, doc = 'd', required = false } }")
    assert(schema "{ p = { type = 'list', items = 'string', default = {} } }")
    refused("{ p = { type = 'number', defalt = 5 } }", 'params.p.defalt: unknown key "defalt"', "did you mean", "default")
  end)

  it("is checked as it loads", function()
    for decl, words in pairs {
      ["type = 'number', default = 'x'"] = "params.p.default: expected a number",
      ["type = 'number', default = 11, max = 10"] = "params.p.default",
      ["type = 'number', min = 'x'"] = "params.p.min",
      ["type = 'number', min = 5, max = 1"] = "min is greater than max",
      ["type = 'string', min = 1"] = "params.p.min: only a number, integer or duration",
      ["type = 'string', default = 'c', enum = {'a','b'}"] = "expected one of a, b",
      ["type = 'string', enum = {}"] = "params.p.enum",
      ["type = 'list', enum = {1}"] = "params.p.enum",
      ["type = 'string', items = 'string'"] = "only a list has items",
      ["type = 'list', items = 'words'"] = "params.p.items",
      ["type = 'list', items = 'number', default = {'x'}"] = "params.p.default",
      ["type = 'duration', default = 'soon'"] = "params.p.default",
      ["type = 'string', required = 1"] = "params.p.required: expected true or false",
      ["type = 'string', order = 'first'"] = "params.p.order",
      ["type = 'string', doc = 1"] = "params.p.doc",
    } do
      refused("{ p = { " .. decl .. " } }", words)
    end
  end)

  it("keeps its order: order first, then the names in byte order", function()
    local names = {}
    for i, p in ipairs(assert(schema [[{ b = 1, a = 1, B = 1, last = { type = "number", order = 2 }, first = { type = "number", order = 1 } }]])) do
      names[i] = p.name
    end
    assert.are.same({ "first", "last", "B", "a", "b" }, names)
  end)

  it("keeps a duration as written and gives the script seconds", function()
    local s = assert(schema "{ since = { type = 'duration', default = '15m' } }")
    assert.are.equal("15m", s[1].default)
    assert.are.equal(900, internal.resolve(s, {}).since)
  end)

  it("without a default and not required gives nil", function()
    local s = assert(schema "{ a = { type = 'string' } }")
    assert.are.same({}, internal.resolve(s, {}))
  end)

  it("that is required and not given ends the run as bad_params", function()
    local values, err = internal.resolve(assert(schema "{ url = { type = 'string', required = true } }"), {})
    assert.is_nil(values)
    assert.is_truthy(err:find("parameter url: expected a text, got nothing (it is required", 1, true), err)
  end)
end)

describe("what a form sends", function()
  for _, row in ipairs {
    { "{ type = 'number' }", "95", 95, "integer" }, { "{ type = 'number' }", " 9.5 ", 9.5, "float" },
    { "{ type = 'number' }", "9.0", 9.0, "float" }, { "{ type = 'number' }", "1e2", 100.0, "float" },
    { "{ type = 'number' }", 7, 7, "integer" }, { "{ type = 'integer' }", "7", 7, "integer" },
    { "{ type = 'integer' }", 7.0, 7, "integer" }, { "{ type = 'integer' }", "-3", -3, "integer" },
    { "90", "95", 95, "integer" }, { "0.5", "1", 1, "integer" },
    { "{ type = 'boolean' }", "true", true }, { "{ type = 'boolean' }", "False", false },
    { "{ type = 'boolean' }", "yes", true }, { "{ type = 'boolean' }", "0", false }, { "true", false, false },
    { "{ type = 'string' }", 5, "5" }, { "{ type = 'string' }", true, "true" }, { "'x'", "", "" },
    { "{ type = 'duration' }", "1h30m", 5400, "integer" }, { "{ type = 'duration' }", 90, 90, "integer" },
    { "{ type = 'duration' }", "250ms", 0.25, "float" }, { "{ type = 'duration' }", "2d", 172800, "integer" },
    { "{ type = 'any' }", "x", "x" }, { "{ type = 'any' }", true, true },
  } do
    it(("is converted: %s for %s"):format(type(row[2]) == "string" and ("%q"):format(row[2]) or tostring(row[2]), row[1]), function()
      local v, err = value(row[1], row[2])
      assert.are.equal(row[3], v, err)
      if row[4] then assert.are.equal(row[4], math.type(v)) end
    end)
  end

  for _, row in ipairs {
    { "{ type = 'list', items = 'string' }", "a, b ,c", { "a", "b", "c" } },
    { "{ type = 'list', items = 'string' }", "a\nb,c\n\n", { "a", "b,c" } },
    { "{ type = 'list', items = 'string' }", '["a","b"]', { "a", "b" } },
    { "{ type = 'list', items = 'number' }", "1,2", { 1, 2 } },
    { "{'a'}", "x,y", { "x", "y" } }, { "{80}", "81,82", { 81, 82 } }, { "{'a'}", { "z" }, { "z" } },
    { "{ type = 'table' }", '{"a":1}', { a = 1 } }, { "{ a = 1 }", { b = 2 }, { b = 2 } },
  } do
    it(("is converted: %s for %s"):format(cjson.encode(row[2]), row[1]), function()
      local v, err = value(row[1], row[2])
      assert.are.same(row[3], v, err)
    end)
  end

  it("as an empty text means the default, but not for a string", function()
    assert.are.equal(90, value("90", ""))
    assert.are.equal(90, value("90", "  "))
    assert.are.equal("", value("'x'", ""))
    assert.are.same({ "a" }, value("{'a'}", ""))
    assert.are.equal(true, value("true", ""))
  end)

  for _, row in ipairs {
    { "90", "many", "expected a number", '"many"' }, { "90", "0x10", "expected a number" }, { "90", "nan", "expected a number" },
    { "90", "1e999", "expected a number" }, { "90", {}, "expected a number" },
    { "{ type = 'number', min = 0, max = 100 }", "101", "expected a number from 0 to 100", '"101"' },
    { "{ type = 'number', min = 0 }", -1, "of at least 0", "-1" },
    { "{ type = 'integer' }", "1.5", "expected a whole number" },
    { "{ type = 'string', enum = {'fast','full'} }", "slow", "expected one of fast, full", '"slow"' },
    { "true", "maybe", "expected true or false" },
    { "{ type = 'duration' }", "soon", "a duration such as" }, { "{ type = 'duration', max = '1h' }", "2h", "of at most 1h" },
    { "{ type = 'list', items = 'number' }", "1,x", "expected a list of numbers", "item 2" },
    { "{ type = 'table' }", "x", "expected a table" }, { "'x'", {}, "expected a text" },
  } do
    it(("is bad_params with parameter, value and rule: %s for %s"):format(cjson.encode { row[2] }, row[1]), function()
      local v, err = value(row[1], row[2])
      assert.is_nil(v)
      for _, words in ipairs { "parameter p:", table.unpack(row, 3) } do
        assert.is_truthy(err:find(words, 1, true), err)
      end
    end)
  end

  it("under an unknown name is ignored", function()
    assert.are.same({ a = 1 }, internal.resolve(assert(schema "{ a = 1 }"), { a = 1, zz = 2 }))
  end)
end)

describe("a run", function()
  it("gets the values as Lua values of its own", function()
    local r = internal.run([[
      monitor{ title = "T" }
      function run(p)
        assert(math.type(p.n) == "integer" and math.type(p.f) == "float" and p.b == false and #p.l == 2 and p.t.a == "x")
        p.n = 5
        p.l[3] = "mine"
      end
    ]], "run", { n = 1, f = 0.5, b = false, l = { 1, 2 }, t = { a = "x" } })
    assert.are.equal("ok", r.outcome, r.error)
  end)

  it("whose parameters do not fit ends as bad_params and runs nothing", function()
    local root = os.tmpname()
    os.remove(root)
    local lfs = require "lfs"
    lfs.mkdir(root)
    local f = assert(io.open(root .. "/p.lua", "w"))
    f:write "monitor{ title = 'T', params = { n = 1 } }\nfunction run() EventReporter():report{ title = 't', message = 'm', status = 'ok' } end"
    f:close()
    t.root(root)
    local r = t.run("p.run", { n = "many" })
    os.remove(root .. "/p.lua")
    os.remove(root)
    assert.are.equal("bad_params", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("parameter n", 1, true), r.error)
  end)
end)
