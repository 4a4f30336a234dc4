-- kit.doc: the command `doc`: the table of the API in the terminal.
local api = require "kit.api"
local files = require "kit.files"

local M = {}

local WIDTH = 100

-- Paragraphs of a text, wrapped to the terminal; lines that begin with blanks or a dash stay as they are.
local function wrap(text, indent)
  local lines, line = {}, nil
  local function flush()
    if line then lines[#lines + 1] = line end
    line = nil
  end
  for one in (api.clean(text) .. "\n"):gmatch "(.-)\n" do
    if one == "" or one:find "^%s" then
      flush()
      lines[#lines + 1] = one == "" and "" or indent .. one
    else
      for word in one:gmatch "%S+" do
        if line and (utf8.len(line) or #line) + 1 + (utf8.len(word) or #word) > WIDTH then flush() end
        line = line and line .. " " .. word or indent .. word
      end
    end
  end
  flush()
  return table.concat(lines, "\n")
end

local function first_sentence(text)
  text = api.clean(text):gsub("\n", " ")
  local sentence = text:match "^(.-[^.]%.)%s+%u" or text
  return (sentence:gsub("[.:]$", ""))
end

local painted = false
local function bold(text) return painted and "\27[1m" .. text .. "\27[0m" or text end

-- Rows of { left, right } with the second column aligned; long right sides wrap below themselves.
local function rows(list, indent)
  local width = 0
  for _, row in ipairs(list) do
    local n = utf8.len(row[1]) or #row[1]
    if n > width and n <= 34 then width = n end
  end
  for _, row in ipairs(list) do
    local pad = (" "):rep(math.max(0, width - (utf8.len(row[1]) or #row[1])))
    local text = wrap(row[2] or "", (" "):rep(#indent + width + 2)):gsub("^%s+", "")
    print(((indent .. row[1] .. pad .. "  " .. text):gsub("%s+$", "")))
  end
end

-- Parameters, results and fields: a name that may be left out ends in ?, the type stands behind the text.
local function named(list)
  local out = {}
  for _, one in ipairs(list) do
    local name, type = one[1]:gsub("%?$", ""), one[2]
    local needed = type:gsub("%?$", ""):gsub("|nil$", "")
    if needed ~= type or one[1]:find "%?$" then name = name .. "?" end
    out[#out + 1] = { name, (one[3] and one[3] ~= "" and one[3] .. " " or "") .. "(" .. needed .. ")" }
  end
  return out
end

local function show_example(fn)
  local example = api.example(fn)
  if example ~= "" then print("\nExample\n" .. ("\n" .. example):gsub("\n([^\n])", "\n  %1"):sub(2)) end
end

local function one_line(text, taken)
  text = first_sentence(text)
  if utf8.len(text) + taken <= WIDTH then return text end
  return text:sub(1, WIDTH - taken):gsub("[%s%p]*%s%S*$", "") .. " …"
end

local function show_function(fn)
  print(bold(api.call(fn)))
  print(wrap(fn.doc, "  "))
  if fn.permission then print(("\n  Needs a permission, in the example %s (see `selfmon-lua doc permissions`)"):format(fn.permission)) end
  if fn.params[1] then
    print "\nParameters"
    rows(named(fn.params), "  ")
  end
  if fn.returns[1] then
    print "\nAnswers"
    rows(named(fn.returns), "  ")
  end
  show_example(fn)
end

local function show_type(type, module)
  print(bold(type.name))
  if type.doc then print(wrap(type.doc, "  ")) end
  if type.alias then print("  " .. type.alias) end
  if type.fields[1] then
    print "\nFields"
    rows(named(type.fields), "  ")
  end
  local methods = {}
  for _, fn in ipairs(module.all) do
    if fn.owner == type then methods[#methods + 1] = { api.call(fn), first_sentence(fn.doc) } end
  end
  if methods[1] then
    print "\nMethods"
    rows(methods, "  ")
  end
end

local function show_module(module)
  print(bold(module.globals and "globals" or module.module))
  print(wrap(module.doc, "  "))
  local functions, types = {}, {}
  for _, fn in ipairs(module.all) do functions[#functions + 1] = { api.call(fn), first_sentence(fn.doc) } end
  for _, type in ipairs(module.types) do types[#types + 1] = { type.name, type.doc and first_sentence(type.doc) or "" } end
  if functions[1] then
    print "\nFunctions"
    rows(functions, "  ")
  end
  if module.values[1] then
    print "\nValues"
    rows(named(module.values), "  ")
  end
  if types[1] then
    print "\nTypes"
    rows(types, "  ")
  end
end

local function show_all(modules, topics)
  local list = {}
  for _, module in ipairs(modules) do
    list[#list + 1] = { module.globals and "globals" or module.module, one_line(module.doc, 24) }
  end
  print "Modules"
  rows(list, "  ")
  list = {}
  for _, topic in ipairs(topics) do list[#list + 1] = { topic.name, topic.title } end
  print "\nTopics"
  rows(list, "  ")
  print "\n`selfmon-lua doc NAME` shows a module, a function (http.get), a type (selfmon.Event) or a topic."
end

-- All that can be asked for: { { name =, kind =, value =, module = }, … }; a name may occur more than once.
local function index(modules, topics)
  local list = {}
  local function add(name, kind, value, module)
    list[#list + 1] = { name = name, kind = kind, value = value, module = module }
  end
  for _, module in ipairs(modules) do
    add(module.globals and "globals" or module.module, "module", module, module)
    if module.short ~= "" and module.short ~= module.module then add(module.short, "module", module, module) end
    for _, fn in ipairs(module.all) do
      if fn.name ~= "()" then add(fn.full, "function", fn, module) end
      if fn.owner then add((fn.full:gsub(":", ".")), "function", fn, module) end
      if not fn.owner and not module.globals and fn.name ~= "()" then
        add(module.module .. "." .. fn.name, "function", fn, module)
      end
    end
    for _, type in ipairs(module.types) do
      add(type.name, "type", type, module)
      local last = type.name:match "[^.]+$"
      if last ~= type.name then add(last, "type", type, module) end
    end
  end
  for _, topic in ipairs(topics) do add(topic.name, "topic", topic) end
  return list
end

-- Levenshtein's distance, as far as hints need it.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local corner
    corner, row[0] = row[0], i
    for j = 1, #b do
      local up = row[j]
      row[j] = math.min(up + 1, row[j - 1] + 1, corner + (a:byte(i) == b:byte(j) and 0 or 1))
      corner = up
    end
  end
  return row[#b]
end

local function nearest(word, list)
  local best, best_name = math.max(1, #word // 3) + 1, nil
  for _, one in ipairs(list) do
    local d = distance(word:lower(), one.name:lower())
    if d < best then best, best_name = d, one.name end
  end
  return best_name
end

-- Exact names first, then any case, then the last part of a name: `report`, `get`.
local function find(word, list)
  local function matching(fits)
    local found, seen = {}, {}
    for _, one in ipairs(list) do
      if not seen[one.value] and fits(one) then
        seen[one.value] = true
        found[#found + 1] = one
      end
    end
    return found[1] and found
  end
  local lower = word:lower():gsub("%(%)?$", "")
  return matching(function(one) return one.name == word end)
    or matching(function(one) return one.name:lower() == lower end)
    or matching(function(one) return one.kind == "function" and one.name:lower():match "[^.:]+$" == lower end)
    or {}
end

-- What is written as JSON: the table's own fields, without what the loader added.
local function plain(one)
  local function functions(list)
    local out = {}
    for _, fn in ipairs(list) do
      out[#out + 1] = { name = fn.full, call = api.call(fn), doc = api.clean(fn.doc), params = fn.params,
        returns = fn.returns, permission = fn.permission, example = api.example(fn) }
    end
    return out
  end
  if one.kind == "function" then return functions { one.value }[1] end
  if one.kind == "topic" then return one.value end
  local value, module = one.value, one.module
  local methods = {}
  for _, fn in ipairs(module.all) do
    if one.kind == "module" or fn.owner == value then methods[#methods + 1] = fn end
  end
  if one.kind == "type" then
    return { name = value.name, doc = value.doc, alias = value.alias, fields = value.fields, methods = functions(methods) }
  end
  local types = {}
  for _, type in ipairs(value.types) do types[#types + 1] = plain { kind = "type", value = type, module = module } end
  return { name = value.module, since = value.since, doc = api.clean(value.doc), page = value.page,
    values = value.values, types = types, functions = functions(methods) }
end

local function print_json(value)
  local cjson = require "cjson"
  local lists = { values = true, types = true, functions = true, params = true, returns = true, fields = true,
    methods = true }
  local function mark(t)
    for key, v in pairs(t) do
      if type(v) == "table" then
        if lists[key] then setmetatable(v, cjson.array_mt) end
        mark(v)
      end
    end
  end
  mark(value)
  print(cjson.encode(value))
end

--- The command. `args`: rest, json, color, names. Exit code 0, or 64 for an unknown name.
function M.main(args)
  local modules, topics = api.modules(), api.topics()
  local word = args.rest[1]
  painted = args.color
  if args.names then -- for completion
    local seen = {}
    for _, one in ipairs(index(modules, topics)) do
      if not seen[one.name] then print(one.name) end
      seen[one.name] = true
    end
    return 0
  end
  if args.rest[2] then return files.fail(64, "doc: expected one name, got " .. #args.rest) end
  if not word then
    if args.json then
      local list = {}
      for _, module in ipairs(modules) do list[#list + 1] = plain { kind = "module", value = module, module = module } end
      print_json(list)
    else
      show_all(modules, topics)
    end
    return 0
  end
  local list = index(modules, topics)
  local found = find(word, list)
  if not found[1] then
    local hint = nearest(word, list)
    return files.fail(64, ("doc: nothing is called %s%s (see `selfmon-lua doc`)"):format(word,
      hint and ("; did you mean %s?"):format(hint) or ""))
  end
  if args.json then
    if not found[2] then
      print_json(plain(found[1]))
    else
      local all = {}
      for i, one in ipairs(found) do all[i] = plain(one) end
      print_json(all)
    end
    return 0
  end
  for i, one in ipairs(found) do
    if i > 1 then print("\n" .. ("-"):rep(40) .. "\n") end
    if one.kind == "function" then
      show_function(one.value)
      local spec = one.name == "monitor" and "monitor.Spec"
      for _, type in ipairs(spec and one.module.types or {}) do
        if type.name == spec then
          print "\nKeys"
          rows(named(type.fields), "  ")
        end
      end
    elseif one.kind == "module" then
      show_module(one.value)
    elseif one.kind == "type" then
      show_type(one.value, one.module)
    else
      print(bold(one.value.name) .. ": " .. one.value.title .. "\n\n" .. one.value.text)
    end
  end
  return 0
end

return M
