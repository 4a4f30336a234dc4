-- selfmon.markdown: writing Markdown from values, and rewriting it for the bots that show it in the end
-- (docs/modules/markdown.md). Pure. A wrong call raises at the script's line; text is never refused.
local portable = require "selfmon.markdown_portable"

local M = {}

local function show(v)
  if type(v) == "string" then return ("%q"):format(#v > 40 and v:sub(1, 40) .. "…" or v):gsub("\\\n", "\\n") end
  return type(v) == "number" and tostring(v) or type(v)
end

-- Texts, numbers and booleans are shown as they are; what else tostring knows (a secret) by its name.
local function text_of(v, what, level)
  local kind = type(v)
  if kind == "string" then return v end
  if kind == "number" or kind == "boolean" or kind == "userdata" then return tostring(v) end
  error(("%s: expected a text, number or boolean, got %s"):format(what, show(v)), level + 1)
end

local function escape_line(line)
  line = line:gsub("[\\`*_%[%]<>|~]", "\\%0")
  line = line:gsub("^(%s*)([#+%-])", "%1\\%2"):gsub("^(%s*%d+)([.)])", "%1\\%2")
  return line
end

local function escape(text)
  return (text:gsub("[^\n]+", escape_line))
end

local function one_line(text)
  return (text:gsub("[\r\n]+", " "))
end

--- The text with a backslash before everything that Markdown would take for its own.
function M.escape(text)
  return escape(text_of(text, "markdown.escape", 2))
end

--- [text](url). What is no http, https or mailto address becomes plain text.
function M.link(text, url)
  local shown = escape(one_line(text_of(text, "markdown.link: text", 2)))
  if type(url) ~= "string" then
    error(("markdown.link: url: expected a text, got %s"):format(show(url)), 2)
  end
  if not url:find "^[Hh][Tt][Tt][Pp][Ss]?://[^%s]" and not url:find "^[Mm][Aa][Ii][Ll][Tt][Oo]:[^%s]" then return shown end
  url = url:gsub("[%c%s()<>\"\\%[%]]", function(c) return ("%%%02X"):format(c:byte()) end)
  return ("[%s](%s)"):format(shown == "" and url or shown, url)
end

-- A list of the script's: how many entries, no holes.
local function entries(list, what, level)
  if type(list) ~= "table" then error(("%s: expected a list, got %s"):format(what, show(list)), level + 1) end
  local n, seen = #list, 0
  for key in next, list do
    if math.type(key) ~= "integer" or key < 1 or key > n then
      error(("%s: expected a plain list without holes, got a table with the key %s"):format(what, show(key)), level + 1)
    end
    seen = seen + 1
  end
  if seen ~= n then error(("%s: the list has holes"):format(what), level + 1) end
  return n
end

--- A list, one item per line; { ordered = true } numbers it. Items are Markdown already; a list among them
--- is a level of its own.
function M.list(items, opts)
  if opts ~= nil and type(opts) ~= "table" then
    error(("markdown.list: expected a table of options such as { ordered = true }, got %s"):format(show(opts)), 2)
  end
  for key in next, opts or {} do
    if key ~= "ordered" then error(("markdown.list: unknown option %s; known is ordered"):format(show(key)), 2) end
  end
  local ordered, out, open = opts and opts.ordered, {}, {}
  local function add(list, indent, what, level)
    if open[list] then error(what .. ": the list contains itself", level + 1) end
    open[list] = true
    local number = 0
    for i = 1, entries(list, what, level + 1) do
      local item = list[i]
      local at = ("%s[%d]"):format(what, i)
      if type(item) == "table" then
        add(item, indent .. (ordered and "   " or "  "), at, level + 1)
      else
        number = number + 1
        local mark = ordered and number .. ". " or "- "
        local text = (text_of(item, at, level + 1):match "^.*%S" or ""):gsub("\r?\n", "\n" .. indent .. (" "):rep(#mark))
        out[#out + 1] = indent .. mark .. text
      end
    end
    open[list] = nil
  end
  if type(items) ~= "table" then error(("markdown.list: expected a list, got %s"):format(show(items)), 2) end
  add(items, "", "markdown.list: items", 2)
  return table.concat(out, "\n")
end

local function cell(v, what, level)
  if v == nil or v == require "cjson".null then return "" end
  return (one_line(text_of(v, what, level + 1)):gsub("\\?|", "\\|"))
end

--- A table. Rows are lists, with `columns` the titles; or records, with `columns` their keys (or {key, title}
--- pairs). A column of numbers stands to the right. Bots show none: see portable.
function M.table(rows, columns)
  local n = entries(rows, "markdown.table: rows", 2)
  local width = entries(columns, "markdown.table: columns", 2)
  if width == 0 then error("markdown.table: columns: expected at least one", 2) end
  local keys, titles = {}, {}
  for c = 1, width do
    local column, at = columns[c], ("markdown.table: columns[%d]"):format(c)
    if type(column) == "table" then
      keys[c], titles[c] = column[1], cell(column[2] == nil and column[1] or column[2], at, 2)
    else
      keys[c], titles[c] = column, cell(column, at, 2)
    end
  end
  local lines, right = {}, {}
  for r = 1, n do
    local row, cells = rows[r], {}
    if type(row) ~= "table" then
      error(("markdown.table: rows[%d]: expected a table, got %s"):format(r, show(row)), 2)
    end
    for c = 1, width do
      local v = row[c]
      if v == nil then v = row[keys[c]] end
      cells[c] = cell(v, ("markdown.table: rows[%d], column %d"):format(r, c), 2)
      if cells[c] ~= "" then right[c] = right[c] ~= false and type(v) == "number" end
    end
    lines[r] = "| " .. table.concat(cells, " | ") .. " |"
  end
  local rule = {}
  for c = 1, width do rule[c] = right[c] and "---:" or "---" end
  table.insert(lines, 1, "| " .. table.concat(rule, " | ") .. " |")
  table.insert(lines, 1, "| " .. table.concat(titles, " | ") .. " |")
  return table.concat(lines, "\n")
end

--- The text in the Markdown that a bot shows, and a list of { line=, what=, harm=, sentence= } of what it
--- would not have shown.
function M.portable(text, target)
  if type(text) ~= "string" then
    error(("markdown.portable: expected a text, got %s"):format(show(text)), 2)
  end
  if type(target) ~= "string" or not portable.targets[target] then
    error(("markdown.portable: expected dingtalk, lark or wecom, got %s"):format(show(target)), 2)
  end
  return portable.rewrite(text, target)
end

return M
