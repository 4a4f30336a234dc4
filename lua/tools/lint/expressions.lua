-- The half of the parser that reads expressions and keeps scopes: a class whose objects hold the tokens
-- (`t`), the present one (`at`), the function and the scope it stands in, and the nodes made so far. Its
-- other half, and what the nodes are: lint/parse.lua.
local DEPTH = 220

local BINARY = { -- left and right priority, as lparser.c has them
  ["+"] = { 10, 10 }, ["-"] = { 10, 10 }, ["*"] = { 11, 11 }, ["%"] = { 11, 11 },
  ["^"] = { 14, 13 }, ["/"] = { 11, 11 }, ["//"] = { 11, 11 },
  ["&"] = { 6, 6 }, ["|"] = { 4, 4 }, ["~"] = { 5, 5 }, ["<<"] = { 7, 7 }, [">>"] = { 7, 7 },
  [".."] = { 9, 8 }, ["=="] = { 3, 3 }, ["<"] = { 3, 3 }, ["<="] = { 3, 3 }, ["~="] = { 3, 3 },
  [">"] = { 3, 3 }, [">="] = { 3, 3 }, ["and"] = { 2, 2 }, ["or"] = { 1, 1 },
}
local UNARY = { ["not"] = true, ["-"] = true, ["#"] = true, ["~"] = true }
local UNARY_PRIORITY = 12
local CONSTANT = { ["nil"] = "Nil", ["true"] = "True", ["false"] = "False" }

local P = {}
P.__index = P

P.STOP = {} -- what is raised when the text is no Lua

local function fail()
  error(P.STOP, 0)
end
P.fail = fail

function P:node(tag, n)
  n.tag = tag
  n.func = self.func
  local list = self.all[tag]
  if not list then
    list = {}
    self.all[tag] = list
  end
  list[#list + 1] = n
  return n
end

-- A node whose place is that of the token `at` (the present one).
function P:here(tag, n, at)
  at = at or self.at
  n.line, n.col = self.t.line[at], self.t.col[at]
  return self:node(tag, n)
end

-- The present token is this operator or keyword.
function P:is(v)
  local k = self.t.kind[self.at]
  return (k == "op" or k == "word") and self.t.value[self.at] == v
end

function P:accept(v)
  if self:is(v) then
    self.at = self.at + 1
    return true
  end
end

function P:expect(v)
  if not self:accept(v) then fail() end
end

function P:name()
  if self.t.kind[self.at] ~= "name" then fail() end
  self.at = self.at + 1
  return self.t.value[self.at - 1]
end

function P:enter()
  self.depth = self.depth + 1
  if self.depth > DEPTH then fail() end
end

function P:leave()
  self.depth = self.depth - 1
end

-- ---- scopes ----

function P:open()
  self.scope = { up = self.scope, vars = {} }
end

function P:close()
  self.scope = self.scope.up
end

function P:declare(name, at, init, nth)
  local var = { name = name, line = self.t.line[at], col = self.t.col[at], func = self.func,
                init = init, nth = nth, sets = 0, reads = 0 }
  self.scope.vars[name] = var
  return var
end

function P:lookup(name)
  local s = self.scope
  while s do
    local var = s.vars[name]
    if var then return var end
    s = s.up
  end
end

-- ---- expressions ----

function P:list()
  local out = {}
  repeat out[#out + 1] = self:expr() until not self:accept ","
  return out
end

-- The fields of a table up to `close`, which is "}" or, of an attribute, ">".
function P:fields(close)
  local t = self:here("Table", { fields = {}, by = {} })
  local outer = self.no_gt
  self.no_gt = close == ">"
  while not self:is(close) do
    local f = { line = self.t.line[self.at], col = self.t.col[self.at] }
    if self:accept "[" then
      self.no_gt = false
      f.key = self:expr()
      self.no_gt = close == ">"
      self:expect "]"
      self:expect "="
    elseif self.t.kind[self.at] == "name" and self.t.kind[self.at + 1] == "op"
      and self.t.value[self.at + 1] == "=" then
      local at = self.at
      f.key = self:here("String", { value = self:name(), is_key = true }, at)
      self:expect "="
    end
    f.value = self:expr()
    if f.key and f.key.tag == "String" then
      f.name = f.key.value
      t.by[f.name] = f
      f.value.field = f.name
    end
    f.value.within = t
    t.fields[#t.fields + 1] = f
    if not self:accept "," and not self:accept ";" then break end
  end
  self.no_gt = outer
  self:expect(close)
  return t
end

function P:body(at, method)
  local f = self:here("Function", { params = {}, method = method }, at)
  local outer_func, outer_gt = self.func, self.no_gt
  self.func, self.no_gt = f, false
  self:open()
  if method then f.params[1] = self:declare("self", at) end
  self:expect "("
  if not self:is ")" then
    repeat
      if self:accept "..." then
        f.vararg = true
        break
      end
      local p = self.at
      local var = self:declare(self:name(), p)
      var.param = #f.params + 1
      f.params[#f.params + 1] = var
    until not self:accept ","
  end
  self:expect ")"
  f.body = self:block()
  self:close()
  self.func, self.no_gt = outer_func, outer_gt
  self:expect "end"
  return f
end

function P:args()
  local k = self.t.kind[self.at]
  if k == "string" then
    self.at = self.at + 1
    return { self:here("String", { value = self.t.value[self.at - 1] }, self.at - 1) }
  elseif self:accept "{" then
    return { self:fields "}" }
  end
  self:expect "("
  local outer, out = self.no_gt, {}
  self.no_gt = false
  if not self:is ")" then out = self:list() end
  self.no_gt = outer
  self:expect ")"
  return out
end

-- `monitor` `<` NAME `=`, which no Lua text contains.
function P:attribute()
  local t, at = self.t, self.at
  return t.value[at] == "monitor" and t.kind[at] == "name" and t.kind[at + 1] == "op"
    and t.value[at + 1] == "<" and t.kind[at + 2] == "name" and t.kind[at + 3] == "op"
    and t.value[at + 3] == "="
end

function P:named(at)
  local name = self:name()
  local var = self:lookup(name)
  if var then var.reads = var.reads + 1 end
  return self:here("Name", { name = name, var = var }, at)
end

function P:primary()
  local at = self.at
  if self:accept "(" then
    local outer = self.no_gt
    self.no_gt = false
    local value = self:expr()
    self.no_gt = outer
    self:expect ")"
    return self:here("Paren", { value = value }, at)
  end
  if self:attribute() then
    local fn = self:named(at)
    self:expect "<"
    return self:here("Call", { fn = fn, args = { self:fields ">" } }, at)
  end
  return self:named(at)
end

function P:suffixed()
  local e, first = self:primary(), self.at
  while true do
    local at = self.at
    if self:accept "." then
      local p = self.at
      local key = self:here("String", { value = self:name(), is_key = true }, p)
      e = self:here("Index", { obj = e, key = key, dot = true }, p)
    elseif self:accept "[" then
      local outer = self.no_gt
      self.no_gt = false
      local key = self:expr()
      self.no_gt = outer
      self:expect "]"
      e = self:here("Index", { obj = e, key = key }, at + 1)
    elseif self:accept ":" then
      local p = self.at
      local name = self:name()
      e = self:here("Invoke", { obj = e, name = name, args = self:args() }, p)
    elseif self:is "(" or self:is "{" or self.t.kind[at] == "string" then
      local args = self:args()
      local callee = e
      e = self:here("Call", { fn = callee, args = args }, at)
      e.line, e.col = callee.line, callee.col
    else
      return e
    end
    if self.at - first > 100000 then fail() end
  end
end

function P:simple()
  local t, at = self.t, self.at
  local k, v = t.kind[at], t.value[at]
  if k == "number" or k == "string" then
    self.at = at + 1
    return self:here(k == "number" and "Number" or "String", { value = v }, at)
  elseif k == "word" and CONSTANT[v] then
    self.at = at + 1
    return self:here(CONSTANT[v], {}, at)
  elseif self:accept "..." then
    return self:here("Vararg", {}, at)
  elseif self:accept "{" then
    return self:fields "}"
  elseif self:accept "function" then
    return self:body(at)
  end
  return self:suffixed()
end

function P:expr(limit)
  self:enter()
  local at, left = self.at, nil
  local v = self.t.value[at]
  local k = self.t.kind[at]
  if (k == "op" or k == "word") and UNARY[v] then
    self.at = at + 1
    local value = self:expr(UNARY_PRIORITY)
    left = self:here("Unary", { op = v, value = value }, at)
  else
    left = self:simple()
  end
  while true do
    k, v = self.t.kind[self.at], self.t.value[self.at]
    local p = (k == "op" or k == "word") and BINARY[v]
    if not p or p[1] <= (limit or 0) or (v == ">" and self.no_gt) then break end
    local op_at = self.at
    self.at = op_at + 1
    local right = self:expr(p[2])
    left = self:here("Binary", { op = v, left = left, right = right }, op_at)
  end
  self:leave()
  return left
end

return P
