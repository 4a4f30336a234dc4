-- selfmon.store in a test: values in a table, per scope; the inspections of one test share what has no
-- scope. It begins empty in each test. Time to live follows the test's clock when there is one.
local cjson = require "cjson"

local M = { api = {} }

local KEYS, BYTES, VALUE = 1000, 1 << 20, 64 << 10 -- as src/base/memo.h

local scopes, failure -- of the current test

function M.reset()
  scopes, failure = {}, nil
end
M.reset()

local now = require "selfmon.testing_clock".now

-- { key = { text=, expires= } } of a scope; what is over is gone.
local function memory(scope)
  local own, t = scopes[scope or ""], now()
  if not own then
    own = {}
    scopes[scope or ""] = own
  end
  for key, memo in pairs(own) do
    if memo.expires and memo.expires <= t then own[key] = nil end
  end
  return own
end

local function put(args, own, text, expires)
  local keys, bytes = 0, #args.key + #text
  for key, memo in pairs(own) do
    if key ~= args.key then keys, bytes = keys + 1, bytes + #key + #memo.text end
  end
  if keys >= KEYS then
    return nil, ("this inspection holds %d keys, the most it can; delete some, or give them a ttl"):format(keys), "quota"
  elseif bytes > BYTES then
    return nil, ("this inspection would hold %d bytes, above the %d that it may"):format(bytes, BYTES), "quota"
  end
  own[args.key] = { text = text, expires = expires }
  return true
end

local function expires_of(args)
  return args.ttl and now() + args.ttl or nil
end

local function sum(was, by)
  if math.type(was) == "integer" and math.type(by) == "integer" then
    local s = was + by
    return ((by >= 0) == (s >= was)) and s or nil
  end
  local s = was + by
  return s - s == 0 and s or nil
end

local ops = {}

function ops.get(args, own)
  local memo = own[args.key]
  if memo then return true, memo.text end
end

function ops.set(args, own, body)
  if #body > VALUE then
    return nil, ("the value is %d bytes of JSON, and the most is %d"):format(#body, VALUE), "too_large"
  end
  return put(args, own, body, expires_of(args))
end

ops["delete"] = function(args, own)
  local there = own[args.key] ~= nil
  own[args.key] = nil
  return there
end

function ops.incr(args, own)
  local memo = own[args.key]
  local was = memo and cjson.decode(memo.text) or 0
  if type(was) ~= "number" then
    return nil, ("key \"%s\": it holds something else than a number"):format(args.key), "value"
  end
  local s = sum(was, args.by)
  if not s then return nil, ("key \"%s\": the sum is beyond what a number can be"):format(args.key), "value" end
  local ok, message, code = put(args, own, cjson.encode(s), memo and memo.expires or not memo and expires_of(args) or nil)
  if not ok then return nil, message, code end
  return true, own[args.key].text
end

function ops.keys(args, own)
  local found = {}
  for key in pairs(own) do
    if key:sub(1, #args.key) == args.key then found[#found + 1] = key end
  end
  table.sort(found)
  return found
end

function M.ask(args, body)
  if failure and args.op ~= "get" and args.op ~= "keys" then return nil, failure.message, failure.code end
  return ops[args.op](args, memory(args.scope), body)
end

--- Puts values into the store that the runs of this test see (of a scope when one is named), and answers
--- everything that is there now, what runs wrote included: `t.store().offset`.
function M.api.store(values, scope)
  if values ~= nil and type(values) ~= "table" then
    error(("t.store: expected a table such as { key = value }, got %s"):format(type(values)), 2)
  end
  local own, all = memory(scope), {}
  for key, value in pairs(values or {}) do
    if type(key) ~= "string" then error(("t.store: expected names of keys, got %s"):format(tostring(key)), 2) end
    own[key] = { text = cjson.encode(value) }
  end
  for key, memo in pairs(own) do all[key] = cjson.decode(memo.text) end
  return all
end

--- Lets writing fail from now on in this test: nil, message, code, as a full disk does.
function M.api.store_fails(message, code)
  failure = { message = message or "the store is full: no space left on the file system", code = code or "full" }
end

return M
