-- kit.api: the table of the API (lua/api/*.lua, one plain table for each module), read and put in order.
--
-- A file of lua/api returns
--   module     "selfmon.http"; since; doc (one paragraph)
--   page       the page that describes it, "docs/modules/http.md" unless given
--   globals    true: its functions are globals; like = "cjson": functions not listed are those of that file
--   values     { { "null", "userdata", "what it is" }, … }: what is no function
--   types      { { name =, doc =, fields = { { "code", "integer?", "…" }, … }, extends = another, methods = { function, … } },
--                { name =, doc =, alias = '"ok"|"warning"' } }
--   functions  { { name =, doc =, params = { { "url", "string", "…" } }, returns = { { "ok", "boolean", "…" } },
--                  example = [[ Lua, as in an inspection function ]], … }, … }; the name "()" is the module itself
-- A function may also have: permission ("exec:/path", asked for by the example too), setup (Lua for the test of
-- the example, with t = selfmon.testing), script (the example is a whole script), spec (it belongs into a spec),
-- discard (its result may be ignored). A parameter whose name ends in ? may be left out.
local embedded = require "kit.embedded"

local M = {}

local function load_file(name)
  return assert(load(assert(embedded.get(name), name .. ": not there"), "=lua/" .. name, "t", { ipairs = ipairs, pairs = pairs, table = table }))()
end

-- What a script calls it: "http" of "selfmon.http", "cjson.safe", "" of the globals.
local function short(module)
  return module.globals and "" or (module.module:gsub("^selfmon%.", ""))
end

local function add_function(module, fn, owner)
  local copy = {}
  for key, value in pairs(fn) do copy[key] = value end
  copy.module, copy.owner = module, owner
  copy.params, copy.returns = fn.params or {}, fn.returns or {}
  if owner then
    copy.full = (owner.name:match "[^.]+$") .. ":" .. fn.name
  elseif fn.name == "()" then
    copy.full = module.short
  else
    copy.full = (module.short == "" and "" or module.short .. ".") .. fn.name
  end
  module.all[#module.all + 1] = copy
  return copy
end

local function finish(module, by_name)
  module.short = short(module)
  module.page = module.page or "docs/modules/" .. module.module:gsub("^selfmon%.", "") .. ".md"
  module.values, module.types, module.all = module.values or {}, module.types or {}, {}
  module.functions = module.functions or {}
  local known = {}
  for _, fn in ipairs(module.functions) do
    known[fn.name] = true
    add_function(module, fn)
  end
  local like = by_name[module.like]
  for _, fn in ipairs(like and like.functions or {}) do
    if not known[fn.name] then add_function(module, fn) end
  end
  if like and #module.values == 0 then module.values = like.values or {} end
  for _, type in ipairs(module.types) do
    type.fields = type.fields or {}
    for _, fn in ipairs(type.methods or {}) do add_function(module, fn, type) end
  end
end

--- All modules, the globals first, then by name. Of each: the file's table, and `short` ("http"), `page`, `all`
--- (its functions and methods, each with `full` such as "http.get" or "Result:json").
function M.modules()
  local list, by_name = {}, {}
  for _, name in ipairs(embedded.names "api/") do
    if name:match "^api/[%w_]+%.lua$" and name ~= "api/topics.lua" then
      local module = load_file(name)
      module.file = "lua/" .. name
      list[#list + 1] = module
      by_name[module.module] = module
    end
  end
  for _, module in ipairs(list) do finish(module, by_name) end
  table.sort(list, function(a, b)
    if (a.globals or false) ~= (b.globals or false) then return a.globals or false end
    return a.module < b.module
  end)
  return list
end

--- What is no function but has a page of its own in `selfmon-lua doc`: { { name =, title =, text = }, … }.
function M.topics()
  return load_file "api/topics.lua"
end

--- "get(url [, opts])": a function's call as a person would write it.
function M.call(fn)
  local words = {}
  for i, param in ipairs(fn.params) do
    local name, optional = param[1]:gsub("%?$", "")
    local comma = i > 1 and ", " or ""
    words[#words + 1] = optional > 0 and ("%s[%s%s]"):format(i > 1 and " " or "", comma, name) or comma .. name
  end
  return fn.full .. "(" .. table.concat(words) .. ")"
end

local function without_margin(text)
  local margin
  text = text:gsub("^[ \t]*\n", ""):gsub("%s+$", "")
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local blank = line:match "^ *"
    if line:find "%S" and (not margin or #blank < margin) then margin = #blank end
  end
  return (("\n" .. text):gsub("\n" .. (" "):rep(margin or 0), "\n"):sub(2))
end

--- The example with the line that requires its module, unless it has one.
function M.example(fn)
  local text = without_margin(fn.example or "")
  local module = fn.module
  if module.globals or fn.script or fn.spec or text:find("require", 1, true) then return text end
  local name = module.short == "testing" and "t" or module.short:gsub("%..*", "")
  return ("local %s = require %q\n%s"):format(name, module.module, text)
end

--- The example as a whole script, as a test runs it.
function M.script(fn)
  if fn.script then return M.example(fn) end
  local wants = fn.permission and (", permissions = { %q }"):format(fn.permission) or ""
  return ("monitor{ title = \"example\"%s }\nfunction run(params, ctx)\n%s\nend\n"):format(wants, M.example(fn))
end

--- A text without margin, as paragraphs on one line each where lines only wrap.
function M.clean(text)
  return without_margin(text or "")
end

return M
