-- kit.stubs: LuaLS stubs made from the table of the API: one file for each module, as text.
local api = require "kit.api"

local M = {}

--- The first lines of every file made here; `types` replaces no file that begins otherwise.
M.MARK = "-- Made by `selfmon-lua types`: do not edit.\n"

local KEYWORD = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch "%a+" do KEYWORD[word] = true end

-- Text as lines of ---.
local function comment(out, text)
  for line in (api.clean(text) .. "\n"):gmatch "(.-)\n" do
    out[#out + 1] = line == "" and "---" or "---" .. line
  end
end

local function one_line(text)
  return text and text ~= "" and " " .. text:gsub("%s+", " ") or ""
end

local function fields(out, list)
  for _, f in ipairs(list) do
    out[#out + 1] = ("---@field %s %s%s"):format(f[1]:match "^[%a_][%w_]*%??$" or ("[%q]"):format(f[1]), f[2],
      one_line(f[3]))
  end
end

-- Annotations and an empty function: `head` is "function M.get", "M.get = function" or nil for a value.
local function add_function(out, fn, head)
  out[#out + 1] = ""
  comment(out, fn.doc)
  if fn.permission then comment(out, ("\nNeeds a permission, in the example `%s`."):format(fn.permission)) end
  local example = api.example(fn)
  if example ~= "" then comment(out, "\n```lua\n" .. example .. "\n```") end
  local names = {}
  for _, p in ipairs(fn.params) do
    out[#out + 1] = ("---@param %s %s%s"):format(p[1], p[2], one_line(p[3]))
    local name = p[1]:gsub("%?$", "")
    names[#names + 1] = KEYWORD[name] and name .. "_" or name
  end
  for _, r in ipairs(fn.returns) do
    out[#out + 1] = ("---@return %s %s%s"):format(r[2], r[1], one_line(r[3]))
  end
  if fn.returns[1] and not fn.discard then out[#out + 1] = "---@nodiscard" end
  out[#out + 1] = ("%s(%s) end"):format(head, table.concat(names, ", "))
end

local function add_types(out, module)
  for _, type in ipairs(module.types) do
    out[#out + 1] = ""
    if type.doc then comment(out, type.doc) end
    if type.alias then
      out[#out + 1] = ("---@alias %s %s"):format(type.name, type.alias)
    else
      out[#out + 1] = "---@class " .. type.name .. (type.extends and ": " .. type.extends or "")
      fields(out, type.fields)
      if type.methods then
        local name = type.name:match "[^.]+$"
        out[#out + 1] = ("local %s = {}"):format(name)
        for _, fn in ipairs(module.all) do
          if fn.owner == type then add_function(out, fn, ("function %s:%s"):format(name, fn.name)) end
        end
      end
    end
  end
end

-- Is the value a table of functions, as host.file?
local function has_functions(module, name)
  for _, fn in ipairs(module.all) do
    if not fn.owner and fn.name:match "^(.*)%." == name then return true end
  end
end

local function stub(module)
  local out = { M.MARK .. "---@meta " .. (module.globals and "_" or module.module) }
  local itself
  for _, fn in ipairs(module.all) do
    if fn.name == "()" then itself = fn end
  end
  add_types(out, module)
  out[#out + 1] = ""
  if module.globals then
    for _, fn in ipairs(module.all) do
      -- LuaLS has its own of these
      if not fn.owner and fn.name ~= "print" and fn.name ~= "require" then add_function(out, fn, "function " .. fn.name) end
    end
  elseif itself then
    comment(out, module.doc)
    add_function(out, itself, "local function M")
    out[#out + 1] = "\nreturn M"
  else
    comment(out, module.doc)
    out[#out + 1] = "---@class " .. module.module
    local plain = {}
    for _, value in ipairs(module.values) do
      if not has_functions(module, value[1]) then plain[#plain + 1] = value end
    end
    fields(out, plain)
    out[#out + 1] = "local M = {}"
    local inner = {}
    for _, fn in ipairs(module.all) do
      local table_name = not fn.owner and fn.name:match "^(.*)%."
      if table_name and not inner[table_name] then
        out[#out + 1] = ("\nM.%s = {}"):format(table_name)
        inner[table_name] = true
      end
      if not fn.owner then
        add_function(out, fn, KEYWORD[fn.name] and ("M[%q] = function"):format(fn.name) or "function M." .. fn.name)
      end
    end
    out[#out + 1] = "\nreturn M"
  end
  return (table.concat(out, "\n") .. "\n"):gsub("\n\n\n+", "\n\n")
end

--- { { name = "selfmon.http.lua", text = … }, … }, the same for the same table.
function M.all()
  local list = {}
  for _, module in ipairs(api.modules()) do
    local name = module.globals and "selfmon.globals" or module.module
    list[#list + 1] = { name = name .. ".lua", text = stub(module) }
  end
  return list
end

return M
