-- selfmon.exec_nagios: what a monitoring plugin says, by the Monitoring Plugins guidelines: one line of
-- text, more lines after it, and performance data behind a `|`. Called by exec.nagios.
local M = {}

local STATUS = { [0] = "ok", "warning", "critical", "unknown" }

-- "10" "10:" "~:10" "10:20" "@10:20": where an alert is raised. nil for an empty or wrong one.
local function range(text)
  local inside, body = text:match "^(@?)(.*)$"
  local low, high = body:match "^([^:]*):([^:]*)$"
  if not low then low, high = "0", body end
  if low == "" and high == "" or body == "" then return nil end
  low = low == "~" and -math.huge or low == "" and 0 or tonumber(low)
  high = high == "" and math.huge or tonumber(high)
  if not low or not high then return nil end
  return { text = text, low = low + 0.0, high = high + 0.0, inside = inside == "@" }
end

-- "12.5ms": value and unit. "U" is a value that could not be determined. nil: not a value.
local function quantity(text)
  if text == "U" then return nil, "", true end
  for _, pattern in ipairs { "^([-+]?%d+%.?%d*[eE][-+]?%d+)(.*)$", "^([-+]?%d+%.?%d*)(.*)$", "^([-+]?%.%d+)(.*)$" } do
    local number, unit = text:match(pattern)
    -- Some plugins print numbers with a decimal comma.
    local more = unit and not number:find("[.eE]") and unit:match "^,%d+"
    if more then number, unit = number .. "." .. more:sub(2), unit:sub(#more + 1) end
    if number and tonumber(number) and not unit:find "[%d;'\"=]" then return tonumber(number), unit, true end
  end
  return nil, nil, false
end

-- One `label=value[unit];warn;crit;min;max` at `at`; answers it, or nil, and where the next one begins.
local function item(text, at)
  local label, from
  if text:sub(at, at) == "'" then
    local i = at + 1
    while true do
      local quote = text:find("'", i, true)
      if not quote then break end
      if text:sub(quote + 1, quote + 1) ~= "'" then
        label, from = text:sub(at + 1, quote - 1):gsub("''", "'"), quote + 1
        break
      end
      i = quote + 2
    end
  else
    label, from = text:match("^([^=%s]+)()", at)
  end
  local stop = text:find("%s", from or at) or #text + 1
  local value = from and text:sub(from, stop - 1):match "^=(.*)$"
  if not value or label == "" then return nil, stop end
  local parts = {}
  for part in (value .. ";"):gmatch "([^;]*);" do parts[#parts + 1] = part end
  local number, unit, known = quantity(parts[1])
  if not known then return nil, stop end
  return { label = label, value = number, unit = unit, warn = range(parts[2] or ""), crit = range(parts[3] or ""),
           min = tonumber(parts[4] or ""), max = tonumber(parts[5] or "") }, stop
end

--- Performance data: a list of {label, value, unit, warn, crit, min, max}, and a list of what is none.
function M.perfdata(text)
  local list, bad, at = {}, {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return list, bad end
    local one, stop = item(text, at)
    if one then list[#list + 1] = one else bad[#bad + 1] = text:sub(at, stop - 1) end
    at = stop
  end
end

local function trim(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

-- The first line, the lines after it, and the performance data, which may begin in each of the two.
local function split(output)
  local lines = {}
  for line in (output:gsub("\r", "") .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  local first, perf = (lines[1] or ""):match "^([^|]*)|?(.*)$"
  local long, data = {}, { perf }
  local in_data = false
  for i = 2, #lines do
    local line = lines[i]
    if in_data then
      data[#data + 1] = line
    elseif line:find("|", 1, true) then
      local text, rest = line:match "^([^|]*)|(.*)$"
      long[#long + 1], data[#data + 1], in_data = text, rest, true
    else
      long[#long + 1] = line
    end
  end
  return trim(first), trim(table.concat(long, "\n")), table.concat(data, " ")
end

--- Reads the result of exec.run: adds status, text, long_text and perfdata.
function M.read(r)
  local text, long, data = split(r.stdout)
  if text == "" and long == "" then text = trim(r.stderr):match "^[^\n]*" end
  if r.signal then text = trim(("ended by signal %d %s"):format(r.signal, text)) end
  r.status = STATUS[r.code] or "unknown"
  r.text = text ~= "" and text or "(no output)"
  r.long_text = long
  r.perfdata, r.bad_perfdata = M.perfdata(data)
  return r
end

return M
