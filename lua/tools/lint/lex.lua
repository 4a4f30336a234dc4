-- Cuts a Lua 5.4 text into tokens, as Lua's own lexer does, and keeps the comments apart.
--
-- lex(text) -> { kind = {}, value = {}, line = {}, col = {}, comments = { { line =, text = }, … } } or
-- nil. Kinds: "name", "word", "number", "string", "op", "end". Lists run in parallel; the last token is
-- "end". It gives up (nil) on a text that Lua will not compile either: the compiler says why. Pure.
local find, sub, byte = string.find, string.sub, string.byte

local WORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return
  then true until while]]):gmatch "%a+" do
  WORDS[word] = true
end

local OPS = {}
for op in ("... .. == <= >= ~= << >> // ::"):gmatch "%S+" do OPS[op] = true end
local SINGLE = "^[%+%-%*/%%%^#&~|<>=%(%){}%[%];:,%.]"

local ESCAPES = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v",
                  ["\\"] = "\\", ['"'] = '"', ["'"] = "'" }

local MAX_TOKENS = 2000000

-- The byte order mark and a first line that begins with `#`.
local function head(text)
  local at = sub(text, 1, 3) == "\239\187\191" and 4 or 1
  if sub(text, at, at) == "#" then at = find(text, "\n", at, true) or #text + 1 end
  return at
end

-- Where the lines begin: \n, \r, \r\n and \n\r are one line end.
local function line_starts(text)
  local starts, n, at = { 1 }, 1, 1
  while true do
    local p = find(text, "[\r\n]", at)
    if not p then return starts end
    local a, b = byte(text, p, p + 1)
    at = p + ((b == 10 or b == 13) and a ~= b and 2 or 1)
    n = n + 1
    starts[n] = at
  end
end

-- A quoted string that begins at `at` -> its bytes, where it ends; nil when it does not.
local function quoted(text, at)
  local quote = sub(text, at, at)
  local parts, from = {}, at + 1
  local stop = "[\\\r\n" .. quote .. "]"
  while true do
    local p = find(text, stop, from)
    if not p then return nil end
    parts[#parts + 1] = sub(text, from, p - 1)
    local c = sub(text, p, p)
    if c == quote then return table.concat(parts), p + 1 end
    if c ~= "\\" then return nil end
    local e = sub(text, p + 1, p + 1)
    if ESCAPES[e] then
      parts[#parts + 1], from = ESCAPES[e], p + 2
    elseif e == "\n" or e == "\r" then
      local pair = sub(text, p + 2, p + 2)
      parts[#parts + 1] = "\n"
      from = p + ((pair == "\n" or pair == "\r") and pair ~= e and 3 or 2)
    elseif e == "z" then
      from = find(text, "[^ \t\v\f\r\n]", p + 2) or #text + 1
    elseif e == "x" then
      local hex = text:match("^%x%x", p + 2)
      if not hex then return nil end
      parts[#parts + 1], from = string.char(tonumber(hex, 16)), p + 4
    elseif e == "u" then
      local hex = text:match("^{(%x+)}", p + 2)
      local code = hex and #hex <= 8 and tonumber(hex, 16)
      if not code or code > 0x7fffffff then return nil end
      parts[#parts + 1], from = utf8.char(code), p + 4 + #hex
    else
      local digits = text:match("^%d%d?%d?", p + 1)
      if not digits or tonumber(digits) > 255 then return nil end
      parts[#parts + 1], from = string.char(math.tointeger(tonumber(digits))), p + 1 + #digits
    end
  end
end

-- A long bracket that opens at `at` -> its bytes, where it ends; nil when there is none, false when it
-- has no end.
local function long(text, at)
  local equals = text:match("^%[(=*)%[", at)
  if not equals then return nil end
  local from = at + #equals + 2
  local a, b = find(text, "]" .. equals .. "]", from, true)
  if not a then return false end
  local body = sub(text, from, a - 1):gsub("\r\n?", "\n")
  return body:gsub("^\n", "", 1), b + 1
end

-- As llex.c read_numeral: everything that could belong to a numeral.
local function number(text, at)
  local expo, p = "[Ee]", at
  if find(text, "^0[xX]", at) then expo, p = "[Pp]", at + 2 end
  while true do
    if find(text, "^" .. expo, p) then
      p = p + 1
      if find(text, "^[+-]", p) then p = p + 1 end
    elseif find(text, "^[%x%.]", p) then
      p = p + 1
    else
      break
    end
  end
  if find(text, "^[%a_]", p) then p = p + 1 end
  return tonumber(sub(text, at, p - 1)), p
end

return function(text)
  local kind, value, line, col, comments = {}, {}, {}, {}, {}
  local starts, row = line_starts(text), 1
  local at, n, size = head(text), 0, #text

  local function place(p)
    while starts[row + 1] and starts[row + 1] <= p do row = row + 1 end
    return row, p - starts[row] + 1
  end
  local function add(k, v, p)
    n = n + 1
    kind[n], value[n] = k, v
    line[n], col[n] = place(p)
  end

  while true do
    at = find(text, "[^ \t\v\f\r\n]", at)
    if not at then break end
    local p, c = at, sub(text, at, at)
    if find(c, "[%a_]") then
      local _, e = find(text, "^[%w_]+", at)
      local word = sub(text, at, e)
      at = e + 1
      add(WORDS[word] and "word" or "name", word, p)
    elseif c == "-" and sub(text, at + 1, at + 1) == "-" then
      local body, after = long(text, at + 2)
      if body == false then return nil end
      if not body then
        after = find(text, "[\r\n]", at) or size + 1
        body = sub(text, at + 2, after - 1)
      end
      comments[#comments + 1] = { line = place(at), text = body }
      at = after
    elseif c == '"' or c == "'" then
      local body, after = quoted(text, at)
      if not body then return nil end
      at = after
      add("string", body, p)
    elseif find(c, "%d") or find(text, "^%.%d", at) then
      local v, after = number(text, at)
      if not v then return nil end
      at = after
      add("number", v, p)
    else
      local body, after = nil, nil
      if c == "[" then body, after = long(text, at) end
      if body == false then return nil end
      if body then
        at = after
        add("string", body, p)
      else
        local op = OPS[sub(text, at, at + 2)] and 3 or OPS[sub(text, at, at + 1)] and 2 or 1
        if op == 1 and not find(c, SINGLE) then return nil end
        at = at + op
        add("op", sub(text, p, at - 1), p)
      end
    end
    if n > MAX_TOKENS then return nil end
  end
  add("end", "end of file", size + 1)
  return { kind = kind, value = value, line = line, col = col, comments = comments }
end
