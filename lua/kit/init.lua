-- kit.init: the command `init`: a project with a configuration, an inspection that reports something at its first
-- run, its spec, and what editors need.
local embedded = require "kit.embedded"
local files = require "kit.files"
local types = require "kit.types"

local M = {}

local FILES = {
  { "selfmon.conf.lua", "selfmon.conf.lua", "the configuration; everything in it is commented" },
  { "inspections/memory.lua", "first.lua", "an inspection, memory.run" },
  { "inspections/memory_spec.lua", "first_spec.lua", "its spec" },
  { ".luarc.json", "luarc.json", "for editors with lua-language-server" },
  { ".gitignore", "gitignore", "leaves out .selfmon, where events and state are" },
}

--- The command. `args`: rest.
function M.main(args)
  if args.rest[2] then return files.fail(64, "init: expected one directory, got " .. #args.rest) end
  local dir = args.rest[1] or "."
  local short = dir:gsub("(.)/+$", "%1")
  local function at(name) return short == "." and name or short .. "/" .. name end
  if short == "" then return files.fail(64, "init: expected a directory, got nothing") end
  for _, name in ipairs { "selfmon.conf.lua", "inspections/memory.lua" } do
    if files.kind(at(name)) then
      return files.fail(1, at(name) .. " is there already: this is a project; nothing was written. "
        .. "`selfmon-lua new NAME` adds an inspection")
    end
  end
  local wrote, kept = {}, {}
  for _, file in ipairs(FILES) do
    local path = at(file[1])
    if files.kind(path) then
      kept[#kept + 1] = path
    else
      local ok, err = files.create(path, embedded.get("templates/" .. file[2]))
      if not ok then return files.fail(1, err) end
      wrote[#wrote + 1] = { path, file[3] }
    end
  end
  local count, err = types.write(at ".luals")
  if not count then return files.fail(1, err) end

  wrote[#wrote + 1] = { at ".luals/", "what the editor knows of the API; `selfmon-lua types` renews it" }

  local width = 0
  for _, one in ipairs(wrote) do width = math.max(width, #one[1]) end
  for _, one in ipairs(wrote) do
    print((("  %-" .. width .. "s  %s"):format(one[1], one[2] or ""):gsub("%s+$", "")))
  end
  for _, path in ipairs(kept) do print("  " .. path .. " was there and is left as it is") end
  print "\nNext:"
  if short ~= "." then print("  cd " .. (short:find "[^%w_./-]" and "'" .. short:gsub("'", "'\\''") .. "'" or short)) end
  print [[
  selfmon-lua test                  runs the spec
  selfmon-lua lint                  says what is wrong or unwise in the scripts
  selfmon-lua run --once --dry-run  runs the inspection once and shows its event
  selfmon-lua run                   runs it every 5 s; change inspections/memory.lua meanwhile
  selfmon-lua new shop/checkout     another inspection]]
  return 0
end

return M
