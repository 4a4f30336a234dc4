-- json_path: one value of a decoded JSON document by its path: `data.items[0].name`, `$.a["b.c"]`, `list[-1]`,
-- `queue.#` (how many members). Numbers count from 0, from the end when negative. No wildcards, no filters.
local cjson = require "cjson"

local M = {}

-- The steps of a path, or nil and what is wrong with it.
local function steps_of(path)
  local steps, rest = {}, path:gsub("^%$%.?", "")
  while rest ~= "" do
    local index, after = rest:match "^%[(%-?%d+)%](.*)$"
    if index then
      steps[#steps + 1] = math.tointeger(tonumber(index))
    else
      local quoted
      quoted, after = rest:match '^%["([^"]*)"%](.*)$'
      if not quoted then quoted, after = rest:match "^%['([^']*)'%](.*)$" end
      if not quoted then quoted, after = rest:match "^([^%.%[%]]+)(.*)$" end
      if not quoted then return nil, ("the path `%s` cannot be read at `%s`"):format(path, rest) end
      steps[#steps + 1] = quoted
    end
    rest = after:gsub("^%.", "", 1)
    if after == "." then return nil, ("the path `%s` ends with a dot"):format(path) end
  end
  return steps
end

local function size(value)
  local n = #value
  if n > 0 then return n end
  for _ in pairs(value) do n = n + 1 end
  return n
end

--- The value at `path` (cjson.null where it is null), or nil and a sentence that says where the path ends.
function M.find(document, path)
  local steps, wrong = steps_of(path)
  if not steps then return nil, wrong end
  local value, at = document, "$"
  for _, step in ipairs(steps) do
    if type(value) ~= "table" then
      return nil, ("there is no `%s`: `%s` is %s"):format(path, at, value == cjson.null and "null" or "a " .. type(value))
    end
    if step == "#" then
      value = size(value)
    elseif math.type(step) == "integer" then
      value = value[step < 0 and #value + 1 + step or step + 1]
    else
      value = value[step]
    end
    if value == nil then return nil, ("there is no `%s`: `%s` has no member %s"):format(path, at, step) end
    at = math.type(step) == "integer" and ("%s[%d]"):format(at, step) or ("%s.%s"):format(at, step)
  end
  return value
end

--- A value as a person reads it, cut when it is long.
function M.show(value)
  if value == cjson.null then return "null" end
  local text = type(value) == "table" and cjson.encode(value) or tostring(value)
  return #text > 120 and text:sub(1, utf8.offset(text, 0, 120) - 1) .. "…" or text
end

return M
