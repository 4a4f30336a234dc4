-- What an expression of the tree means, as far as the text alone tells. Pure.
local M = {}

-- Damerau-Levenshtein distance (neighbours swapped count once); case does not count.
local function distance(a, b)
  local before, prev = {}, {}
  for j = 0, #b do prev[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local x, y = a:byte(i), b:byte(j)
      local d = math.min(prev[j] + 1, row[j - 1] + 1, prev[j - 1] + (x == y and 0 or 1))
      if i > 1 and j > 1 and x == b:byte(j - 1) and a:byte(i - 1) == y then d = math.min(d, before[j - 2] + 1) end
      row[j] = d
    end
    before, prev = prev, row
  end
  return prev[#b]
end

--- The nearest of `names` (a list) to `word`, as base/str.c finds it for the program's own hints; nil when
--- none is near.
function M.nearest(word, names)
  if #word == 0 or #word > 64 then return nil end
  local limit, best = math.max(1, math.min(3, #word // 3)), nil
  for _, name in ipairs(names) do
    if #name > 0 and #name <= 64 and math.abs(#name - #word) <= limit then
      local d = distance(word:lower(), name:lower())
      if d <= limit and d < #name and d < #word then
        best, limit = name, d - 1
        if d == 0 then break end
      end
    end
  end
  return best
end

function M.hint(word, names)
  local near = M.nearest(word, names)
  return near and ('; did you mean "%s"?'):format(near) or ""
end

--- The value a name has all the time: the initialiser of a local that is never set again.
function M.value(e, seen)
  seen = (seen or 0) + 1
  if seen > 20 then return e end
  if e.tag == "Paren" then return M.value(e.value, seen) end
  if e.tag == "Name" and e.var and e.var.init and e.var.sets == 0 and e.var.nth == 1 then
    return M.value(e.var.init, seen)
  end
  return e
end

-- Names that stand for each other (b = a .. a, c = b .. b, …) must not make a short text a long search.
local PARTS = 200

local function text_of(e, budget)
  e = M.value(e)
  budget.n = budget.n - 1
  if budget.n < 0 then return nil end
  if e.tag == "String" then return e.value end
  if e.tag == "Binary" and e.op == ".." then
    local left = text_of(e.left, budget)
    local right = left and text_of(e.right, budget)
    return right and left .. right
  end
end

--- A constant text, else nil.
function M.text(e)
  return text_of(e, { n = PARTS })
end

--- The literal parts of a text that is put together, in order.
function M.parts(e, out, depth)
  out, depth = out or {}, (depth or 0) + 1
  if depth > PARTS or #out >= PARTS then return out end
  e = M.value(e)
  if e.tag == "String" then
    out[#out + 1] = e
  elseif e.tag == "Binary" and (e.op == ".." or e.op == "or" or e.op == "and") then
    if e.op ~= "and" then M.parts(e.left, out, depth) end
    M.parts(e.right, out, depth)
  elseif e.tag == "Invoke" and e.name == "format" then
    M.parts(e.obj, out, depth)
  elseif e.tag == "Call" and M.callee(e) == "string.format" and e.args[1] then
    M.parts(e.args[1], out, depth)
  else
    out[#out + 1] = { tag = "Hole", line = e.line, col = e.col }
  end
  return out
end

--- The expressions one of which is the value: of `c and a or b` these are a and b.
function M.leaves(e, out, depth)
  out, depth = out or {}, (depth or 0) + 1
  if depth > PARTS or #out >= PARTS then return out end
  e = M.value(e)
  if e.tag == "Binary" and e.op == "or" then
    M.leaves(e.left, out, depth)
    M.leaves(e.right, out, depth)
  elseif e.tag == "Binary" and e.op == "and" then
    M.leaves(e.right, out, depth)
  else
    out[#out + 1] = e
  end
  return out
end

--- "selfmon.http" for what holds that module, "selfmon.http.get" for its function, "string.format" for
--- Lua's own; nil for everything else.
function M.path(e, depth)
  depth = (depth or 0) + 1
  if depth > 20 then return nil end
  e = M.value(e)
  if e.tag == "Call" and e.fn.tag == "Name" and not e.fn.var and e.fn.name == "require" and e.args[1] then
    return M.text(e.args[1])
  elseif e.tag == "Name" and not e.var then
    return e.name
  elseif e.tag == "Index" and e.key.tag == "String" then
    local of = M.path(e.obj, depth)
    return of and of .. "." .. e.key.value
  end
end

function M.callee(call)
  return M.path(call.fn)
end

--- The table literal that a value is; nil when the text does not tell. Second: a local that holds it.
function M.table(e)
  local var = e.tag == "Name" and e.var or nil
  local v = M.value(e)
  if v.tag == "Table" then return v, var end
end

--- All fields have names that stand in the text, so what is not there is not there.
function M.closed(t)
  for _, f in ipairs(t.fields) do
    if not f.name then return false end
  end
  return true
end

function M.is_monitor(call)
  return call.fn.tag == "Name" and not call.fn.var and call.fn.name == "monitor"
end

--- Tests `pattern` as the program does: * stays within a part of a path, ** does not, ? is one byte.
--- Its time is the product of both lengths, whatever they hold.
function M.glob(pattern, text)
  if #pattern > 1000 or #text > 4000 then return false end
  local set, n = { [0] = true }, #text
  local i = 1
  while i <= #pattern do
    local c, next_set = pattern:sub(i, i), {}
    if c == "*" then
      local cross = pattern:sub(i + 1, i + 1) == "*"
      local on = false
      for k = 0, n do
        on = set[k] or (on and (cross or text:sub(k, k) ~= "/"))
        next_set[k] = on or nil
      end
      if cross then i = i + 1 end
    else
      for k = 1, n do
        local t = text:sub(k, k)
        next_set[k] = set[k - 1] and (t == c or (c == "?" and t ~= "/")) or nil
      end
    end
    set, i = next_set, i + 1
  end
  return set[n] == true
end

return M
