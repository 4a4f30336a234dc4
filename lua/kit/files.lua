-- kit.files: reading and writing of the author's commands: never over what is there, unless asked.
local disk = require "kit.disk"

local M = { kind = disk.kind }

--- Says `selfmon-lua: sentence` on standard error; answers the exit code.
function M.fail(code, sentence)
  io.stderr:write("selfmon-lua: ", sentence, "\n")
  return code
end

--- The text of a file; nil and a sentence.
function M.read(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local text
  text, err = f:read "a"
  f:close()
  return text, text and nil or path .. ": " .. tostring(err)
end

--- Makes a directory and those above it. True; nil and a sentence.
function M.make_dir(path)
  local at = path:sub(1, 1) == "/" and "/" or ""
  for part in path:gmatch "[^/]+" do
    at = at .. part
    local kind = disk.kind(at)
    if not kind then
      local ok, err = disk.mkdir(at)
      if not ok and disk.kind(at) ~= "directory" then return nil, err end
    elseif kind ~= "directory" then
      return nil, at .. " is not a directory"
    end
    at = at .. "/"
  end
  return true
end

--- Writes a new file and the directories above it; never over what is there. True; nil and a sentence.
function M.create(path, text)
  local above = path:match "^(.*)/[^/]*$"
  if above and above ~= "" then
    local ok, err = M.make_dir(above)
    if not ok then return nil, err end
  end
  return disk.create(path, text)
end

--- Writes a whole file, replacing it at once. True; nil and a sentence.
function M.write(path, text)
  local new = path .. ".new"
  local f, err = io.open(new, "wb")
  if not f then return nil, err end
  local ok
  ok, err = f:write(text)
  local closed, why = f:close()
  if not ok or not closed then
    os.remove(new)
    return nil, ("%s: %s"):format(path, err or why)
  end
  ok, err = os.rename(new, path)
  if not ok then
    os.remove(new)
    return nil, err
  end
  return true
end

return M
