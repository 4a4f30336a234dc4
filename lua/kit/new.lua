-- kit.new: the command `new`: an inspection and its spec from a template, below the inspections' folder.
local embedded = require "kit.embedded"
local files = require "kit.files"

local M = {}

-- "http, tcp, …": the templates there are.
local function kinds()
  local list = {}
  for _, kind in ipairs { "http", "tcp", "exec", "dql", "host" } do
    if embedded.get("templates/" .. kind .. ".lua") then list[#list + 1] = kind end
  end
  return list
end

-- nil, or what is wrong with a name.
local function wrong_name(name)
  if name == "" or name:sub(1, 1) == "/" or name:sub(-1) == "/" then
    return "expected a name such as shop/checkout, got " .. ("%q"):format(name)
  end
  for part in name:gmatch "[^/]*" do
    if not part:find "^[%w_-][%w_.-]*$" then
      return ("%s: each part of a name begins with a letter, a digit, _ or - and goes on with these and dots; %q does not")
        :format(name, part)
    end
  end
  local last = name:match "[^/]+$"
  if name:find "^lib/" then return name .. ": lib/ is for shared modules, not for inspections" end
  if last:sub(1, 1) == "_" then return name .. ": a file whose name begins with _ is no inspection" end
  if last:find "_spec$" then return name .. ": a name that ends in _spec is that of a spec, which is written too" end
end

-- "shop/check-out" -> "Check out"
local function title_of(name)
  local words = name:match "[^/]+$":gsub("[_.-]+", " "):gsub("^%s+", "")
  return (words:gsub("^%l", string.upper))
end

--- The texts of the template `kind` for the inspection `name`: script and spec.
function M.texts(kind, name)
  local values = { NAME = name, ID = name .. ".run", TITLE = title_of(name) }
  local function fill(text) return (text:gsub("@(%u+)@", values)) end
  return fill(embedded.get("templates/" .. kind .. ".lua")), fill(embedded.get("templates/" .. kind .. "_spec.lua"))
end

--- The command. `args`: rest, from, root (as a person would write it).
function M.main(args)
  local name, kind, known = args.rest[1], args.from or "http", kinds()
  if #args.rest ~= 1 then return files.fail(64, "new: expected one name, as in `selfmon-lua new shop/checkout`") end
  name = name:gsub("%.lua$", "")
  local below = args.root .. "/"
  if name:sub(1, #below) == below then name = name:sub(#below + 1) end
  local found = false
  for _, one in ipairs(known) do found = found or one == kind end
  if not found then return files.fail(64, ("--from: expected one of %s; got %s"):format(table.concat(known, ", "), kind)) end
  local wrong = wrong_name(name)
  if wrong then return files.fail(64, "new: " .. wrong) end

  local script, spec = args.root .. "/" .. name .. ".lua", args.root .. "/" .. name .. "_spec.lua"
  for _, path in ipairs { script, spec } do
    if files.kind(path) then return files.fail(1, path .. " is there already; nothing was written") end
  end
  local text, spec_text = M.texts(kind, name)
  local ok, err = files.create(script, text)
  if ok then ok, err = files.create(spec, spec_text) end
  if not ok then return files.fail(1, err) end

  print(("wrote %s, the inspection %s.run, and its spec %s"):format(script, name, spec))
  print "\nNext:"
  local permission = text:match 'permissions = { "([^"]+)" }'
  if permission then
    print(("  allow it, in selfmon.conf.lua:  grant = { [%q] = { %q } },"):format(name .. ".run", permission))
  end
  print("  selfmon-lua test " .. spec)
  print("  selfmon-lua run --once --dry-run " .. script)
  return 0
end

return M
