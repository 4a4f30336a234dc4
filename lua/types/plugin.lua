-- Plugin of lua-language-server: lets the editor read `monitor<…>` as `monitor{…}`, one character for one, so
-- that every position stays true. Named by "runtime.plugin" in .luarc.json; written by `selfmon-lua types`.
--
-- It cuts the text into tokens as Lua does, so that strings, comments, `a < b` and `>=` are left alone. The
-- program itself does the same before it compiles a script; what it would refuse is left for it to explain.

-- Behind a string or long bracket that begins at `at`; nil when it does not end.
local function behind_string(text, at)
  local quote = text:sub(at, at)
  if quote == "[" then
    local level = text:match("^%[(=*)%[", at)
    local _, last = text:find("]" .. level .. "]", at, true)
    return last and last + 1
  end
  local i = at + 1
  while true do
    i = text:find("[\\\n" .. quote .. "]", i)
    if not i then return nil end
    local c = text:sub(i, i)
    if c == quote then return i + 1 end
    if c == "\n" then return nil end
    local _, blank = text:find("^z%s*", i + 1) -- \z skips white space, line ends too
    i = blank and blank + 1 or i + 2
  end
end

local OPERATORS = { "^%.%.%.", "^%.%.", "^==", "^~=", "^<=", "^>=", "^<<", "^>>", "^//", "^::" }

-- The token at or behind `at`: kind ("name" "string" "number" "op", nil at the end or where the text is broken),
-- first and last character.
local function token(text, at)
  while true do
    at = text:find("%S", at)
    if not at then return nil end
    if text:sub(at, at + 1) ~= "--" then break end
    if text:find("^%[=*%[", at + 2) then
      at = behind_string(text, at + 2)
      if not at then return nil end
    else
      at = text:find("\n", at, true)
      if not at then return nil end
    end
  end
  local _, last = text:find("^[%a_][%w_]*", at)
  if last then return "name", at, last end
  if text:find("^['\"]", at) or text:find("^%[=*%[", at) then
    local behind = behind_string(text, at)
    if not behind then return nil end
    return "string", at, behind - 1
  end
  if text:find("^%.?%d", at) then
    local i = at
    while true do -- as Lua reads a numeral: digits, letters, dots, and a sign behind an exponent
      _, last = text:find("^[eEpP][+-]", i)
      if not last then _, last = text:find("^[%w_.]", i) end
      if not last then break end
      i = last + 1
    end
    return "number", at, i - 1
  end
  for _, pattern in ipairs(OPERATORS) do
    _, last = text:find(pattern, at)
    if last then return "op", at, last end
  end
  return "op", at, at
end

local VALUE = { ["and"] = true, ["or"] = true, ["not"] = true, ["nil"] = true, ["true"] = true, ["false"] = true }
local WORD = {}
for word in ([[break do else elseif end for function goto if in local repeat return then until while]]):gmatch "%a+" do
  WORD[word] = true
end
local CLOSES = { [")"] = "(", ["]"] = "[", ["}"] = "{" }

-- Behind `monitor` at `at`: where its `<` stands, when NAME and = follow it.
local function attribute_at(text, at)
  local _, open, open_end = token(text, at)
  if not open or text:sub(open, open_end) ~= "<" then return nil end
  local kind, first, last = token(text, open + 1)
  if kind ~= "name" or VALUE[text:sub(first, last)] or WORD[text:sub(first, last)] then return nil end
  local _, equals, equals_end = token(text, last + 1)
  if not equals or text:sub(equals, equals_end) ~= "=" then return nil end
  return open
end

--- Positions of the brackets to replace: { { open, close }, … }.
local function attributes(text)
  local found, stack, before = {}, {}, nil
  local at = text:find("^\239\187\191") and 4 or 1
  if text:find("^#", at) then at = text:find("\n", at, true) or #text + 1 end
  while true do
    local kind, first, last = token(text, at)
    if not kind then return found end
    local word, top = text:sub(first, last), stack[#stack]
    at = last + 1
    if top and top.open == "<" and word == ">" then
      stack[#stack] = nil
      found[#found + 1] = { top.at, first }
    elseif top and top.open == "<" and (kind == "name" and WORD[word] or CLOSES[word]) then
      return found
    elseif kind == "name" and word == "monitor" and before ~= "." and before ~= ":" and before ~= "function" then
      local open = attribute_at(text, at)
      if open then
        stack[#stack + 1] = { open = "<", at = open }
        at = open + 1
      end
    elseif kind == "op" and (word == "(" or word == "[" or word == "{") then
      stack[#stack + 1] = { open = word, at = first }
    elseif kind == "op" and CLOSES[word] then
      if not top or top.open ~= CLOSES[word] then return found end
      stack[#stack] = nil
    end
    before = word
  end
end

--- What lua-language-server calls for each text: nil, or the differences it should read.
function OnSetText(_, text)
  if not text:find("monitor", 1, true) then return nil end
  local diffs = {}
  for _, pair in ipairs(attributes(text)) do
    diffs[#diffs + 1] = { start = pair[1], finish = pair[1], text = "{" }
    diffs[#diffs + 1] = { start = pair[2], finish = pair[2], text = "}" }
  end
  table.sort(diffs, function(a, b) return a.start < b.start end)
  return #diffs > 0 and diffs or nil
end
