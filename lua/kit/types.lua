-- kit.types: the command `types`: LuaLS stubs, the plugin and .luarc.json, so that an editor knows the API.
local embedded = require "kit.embedded"
local files = require "kit.files"
local stubs = require "kit.stubs"

local M = {}

--- Writes stubs and plugin into `dir`. Answers how many files; nil and a sentence.
function M.write(dir)
  local list = stubs.all()
  list[#list + 1] = { name = "plugin.lua", text = stubs.MARK .. embedded.get "types/plugin.lua" }
  for _, file in ipairs(list) do
    local path = dir .. "/" .. file.name
    local there = files.read(path)
    if there and there:sub(1, #stubs.MARK) ~= stubs.MARK then
      return nil, path .. " was not made by `selfmon-lua types`: it is left alone; name another directory"
    end
  end
  local ok, err = files.make_dir(dir)
  if not ok then return nil, err end
  for _, file in ipairs(list) do
    ok, err = files.write(dir .. "/" .. file.name, file.text)
    if not ok then return nil, err end
  end
  return #list
end

--- .luarc.json for stubs in `dir`, as the editor's folder sees it.
function M.luarc(dir)
  return (embedded.get("templates/luarc.json"):gsub("%.luals", (dir:gsub("%%", "%%%%"))))
end

function M.main(args)
  local dir = args.rest[1] or ".luals"
  if args.rest[2] then return files.fail(64, "types: expected one directory, got " .. #args.rest) end
  local count, err = M.write(dir)
  if not count then return files.fail(1, err) end
  print(("%s: %d files for lua-language-server"):format(dir, count))
  if args.rest[1] then
    print("\nIn .luarc.json of the folder your editor opens:\n\n" .. M.luarc(dir))
  elseif files.read ".luarc.json" then
    print ".luarc.json is there already and is left as it is"
  else
    local ok
    ok, err = files.write(".luarc.json", M.luarc ".luals")
    if not ok then return files.fail(1, err) end
    print ".luarc.json names them; the plugin must be allowed once: your editor asks"
  end
  return 0
end

return M
