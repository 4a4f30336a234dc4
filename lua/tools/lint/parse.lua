-- Reads a Lua 5.4 text, `monitor<…>` included, into a tree with scopes resolved.
--
-- parse(text) -> tree or nil (Lua will not compile it either), comments. The tree is the main function;
-- tree.all[TAG] lists every node of a tag in the order of the text, which is what most rules want. Nodes
-- have tag, line, col and `func`, the function they stand in.
--
--   Name {name, var}            var: {name, line, col, func, init, nth, sets}, nil for a global
--   Index {obj, key, dot}       key is an expression; dot: written as .name
--   Call {fn, args}  Invoke {obj, name, args}      nodes of a `monitor<…>` are Calls
--   Table {fields = {{key, value, line, col, name}}, by = {name = field}}; name: key, when it is a text
--   String, Number {value}  True False Nil Vararg  Function {params, body}  Binary {op, left, right}
--   Unary {op, value}  Paren {value}
--   Local {vars, values}  Assign {targets, values}  and statements that hold blocks
--
-- Nesting is bounded, a little above Lua's own 200 levels, so no text makes it overflow. Pure.
local P = require "lint.expressions"
local lex = require "lint.lex"

local BLOCK_END = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true }

function P:block()
  local out = {}
  self:open()
  while not (self.t.kind[self.at] == "end" or (self.t.kind[self.at] == "word"
    and BLOCK_END[self.t.value[self.at]])) do
    if self:is "return" then
      out[#out + 1] = self:statement()
      break
    end
    out[#out + 1] = self:statement()
  end
  self:close()
  return out
end

function P:local_statement(at)
  if self:accept "function" then
    local p = self.at
    local name = self:name()
    local var = self:declare(name, p)
    local f = self:body(at + 1)
    var.init, f.names = f, var
    return self:here("LocalFunction", { var = var, value = f }, at)
  end
  local names = {}
  repeat
    local p = self.at
    names[#names + 1] = { self:name(), p }
    if self:accept "<" then
      local attribute = self:name()
      if attribute ~= "const" and attribute ~= "close" then P.fail() end
      self:expect ">"
    end
  until not self:accept ","
  local values, vars = {}, {}
  if self:accept "=" then values = self:list() end
  for i, pair in ipairs(names) do
    local init, nth = values[i], 1
    if not init and #values > 0 then init, nth = values[#values], i - #values + 1 end
    vars[i] = self:declare(pair[1], pair[2], init, nth)
    if values[i] then values[i].named = pair[1] end
  end
  return self:here("Local", { vars = vars, values = values }, at)
end

function P:function_statement(at)
  local p = self.at
  local target = self:named(p)
  local method = false
  if target.var then target.var.reads = target.var.reads - 1 end
  while not method and (self:is "." or self:is ":") do
    method = self:is ":"
    self.at = self.at + 1
    p = self.at
    local key = self:here("String", { value = self:name(), is_key = true }, p)
    target = self:here("Index", { obj = target, key = key, dot = true }, p)
  end
  if target.tag == "Name" then
    target.is_target = true
    if target.var then target.var.sets = target.var.sets + 1 end
  end
  local f = self:body(at, method)
  return self:here("Assign", { targets = { target }, values = { f }, is_function = true }, at)
end

function P:for_statement(at)
  local names = {}
  repeat
    local p = self.at
    names[#names + 1] = { self:name(), p }
  until not self:accept ","
  local values
  if #names == 1 and self:accept "=" then
    values = self:list()
    if #values < 2 or #values > 3 then P.fail() end
  else
    self:expect "in"
    values = self:list()
  end
  self:expect "do"
  self:open()
  local vars = {}
  for i, pair in ipairs(names) do
    vars[i] = self:declare(pair[1], pair[2])
    vars[i].loop = values
  end
  local body = self:block()
  self:close()
  self:expect "end"
  return self:here("For", { vars = vars, values = values, body = body }, at)
end

function P:if_statement(at)
  local branches, otherwise = {}, nil
  repeat
    local test = self:expr()
    self:expect "then"
    branches[#branches + 1] = { test = test, body = self:block() }
  until not self:accept "elseif"
  if self:accept "else" then otherwise = self:block() end
  self:expect "end"
  return self:here("If", { branches = branches, otherwise = otherwise }, at)
end

-- The condition of `until` sees the names of the block.
function P:repeat_statement(at)
  self:enter()
  self:open()
  local body = {}
  while not self:is "until" do
    if self.t.kind[self.at] == "end" then P.fail() end
    body[#body + 1] = self:statement()
  end
  self:expect "until"
  local test = self:expr()
  self:close()
  self:leave()
  return self:here("Repeat", { body = body, test = test }, at)
end

function P:expression_statement(at)
  local e = self:suffixed()
  if not self:is "=" and not self:is "," then
    if e.tag ~= "Call" and e.tag ~= "Invoke" then P.fail() end
    e.statement = true
    return e
  end
  local targets = { e }
  while self:accept "," do targets[#targets + 1] = self:suffixed() end
  self:expect "="
  local values = self:list()
  for i, target in ipairs(targets) do
    if target.tag == "Name" then
      target.is_target = true
      if target.var then
        target.var.sets = target.var.sets + 1
        target.var.reads = target.var.reads - 1
      end
      if values[i] then values[i].named = target.name end
    elseif target.tag == "Index" then
      target.is_target = true
      if values[i] and target.key.tag == "String" then values[i].named = target.key.value end
    else
      P.fail()
    end
  end
  return self:here("Assign", { targets = targets, values = values }, at)
end

local KEYWORD = {
  ["local"] = P.local_statement,
  ["function"] = P.function_statement,
  ["for"] = P.for_statement,
  ["if"] = P.if_statement,
  ["repeat"] = P.repeat_statement,
  ["while"] = function(self, at)
    local test = self:expr()
    self:expect "do"
    local body = self:block()
    self:expect "end"
    return self:here("While", { test = test, body = body }, at)
  end,
  ["do"] = function(self, at)
    local body = self:block()
    self:expect "end"
    return self:here("Do", { body = body }, at)
  end,
  ["return"] = function(self, at)
    local values = {}
    local k, v = self.t.kind[self.at], self.t.value[self.at]
    if not (k == "end" or (k == "word" and BLOCK_END[v]) or (k == "op" and v == ";")) then
      values = self:list()
    end
    self:accept ";"
    return self:here("Return", { values = values }, at)
  end,
  ["goto"] = function(self, at) return self:here("Goto", { name = self:name() }, at) end,
  ["break"] = function(self, at) return self:here("Break", {}, at) end,
}

function P:statement()
  self:enter()
  local at, out = self.at, nil
  local k, v = self.t.kind[at], self.t.value[at]
  if k == "word" and KEYWORD[v] then
    self.at = at + 1
    out = KEYWORD[v](self, at)
  elseif self:accept ";" then
    out = self:here("Empty", {}, at)
  elseif self:accept "::" then
    out = self:here("Label", { name = self:name() }, at)
    self:expect "::"
  else
    out = self:expression_statement(at)
  end
  self:leave()
  return out
end

return function(text)
  local t = lex(text)
  if not t then return nil, {} end
  local p = setmetatable({ t = t, at = 1, depth = 0, all = {}, no_gt = false }, P)
  local ok, err = pcall(function()
    local main = p:here("Function", { params = {}, main = true, vararg = true })
    p.func = main
    p:open()
    main.body = p:block()
    if t.kind[p.at] ~= "end" then P.fail() end
    main.all = setmetatable(p.all, { __index = function() return {} end })
    p.tree = main
  end)
  if not ok and err ~= P.STOP then error(err, 0) end
  return p.tree, t.comments
end
