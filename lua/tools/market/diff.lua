-- diff(a, b, name_a, name_b) -> the unified difference of two texts, "" when there is none.
--
-- Myers' greedy algorithm; texts that differ in more than MAX lines are shown as one removed and one added
-- block, so that it ends soon whatever it is given. Pure.
local MAX, CONTEXT = 1500, 3

local function lines(text)
  local out = {}
  for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch "(.-)\n" do out[#out + 1] = line end
  if text == "" then out = {} end
  return out
end

-- The edits from a to b: list of { " " or "-" or "+", line, number in a, number in b }.
local function edits(a, b)
  local n, m = #a, #b
  local v, trace, found = { [1] = 0 }, {}, nil
  for d = 0, math.min(n + m, MAX) do
    local copy = {}
    for k = -d - 1, d + 1 do copy[k] = v[k] end
    trace[d] = copy
    for k = -d, d, 2 do
      local x
      if k == -d or (k ~= d and v[k - 1] < v[k + 1]) then x = v[k + 1] else x = v[k - 1] + 1 end
      local y = x - k
      while x < n and y < m and a[x + 1] == b[y + 1] do x, y = x + 1, y + 1 end
      v[k] = x
      if x >= n and y >= m then
        found = d
        break
      end
    end
    if found then break end
  end
  local out = {}
  if not found then
    for i = 1, n do out[#out + 1] = { "-", a[i], i, 0 } end
    for j = 1, m do out[#out + 1] = { "+", b[j], n, j } end
    return out
  end
  local x, y = n, m
  for d = found, 0, -1 do
    local w, k = trace[d], x - y
    local prev = (k == -d or (k ~= d and w[k - 1] < w[k + 1])) and k + 1 or k - 1
    local px = w[prev] or 0
    local py = px - prev
    while x > px and y > py and x > 0 and y > 0 do
      out[#out + 1] = { " ", a[x], x, y }
      x, y = x - 1, y - 1
    end
    if d > 0 then
      if x == px then
        out[#out + 1] = { "+", b[y], x, y }
      else
        out[#out + 1] = { "-", a[x], x, y }
      end
      x, y = px, py
    end
  end
  for i = 1, #out // 2 do out[i], out[#out + 1 - i] = out[#out + 1 - i], out[i] end
  return out
end

return function(a, b, name_a, name_b)
  if a == b then return "" end
  local list, keep = edits(lines(a), lines(b)), {}
  for i, e in ipairs(list) do
    if e[1] ~= " " then
      for k = math.max(1, i - CONTEXT), math.min(#list, i + CONTEXT) do keep[k] = true end
    end
  end
  local out, i = { "--- " .. name_a, "+++ " .. name_b }, 1
  while i <= #list do
    if keep[i] then
      local from, body, in_a, in_b = i, {}, 0, 0
      local first_a, first_b
      while keep[i] do
        local e = list[i]
        if e[1] ~= "+" then
          in_a, first_a = in_a + 1, first_a or e[3]
        end
        if e[1] ~= "-" then
          in_b, first_b = in_b + 1, first_b or e[4]
        end
        body[#body + 1] = e[1] .. e[2]
        i = i + 1
      end
      first_a = first_a or list[from][3]
      first_b = first_b or list[from][4]
      out[#out + 1] = ("@@ -%d,%d +%d,%d @@"):format(first_a, in_a, first_b, in_b)
      table.move(body, 1, #body, #out + 1, out)
    else
      i = i + 1
    end
  end
  if #out == 2 then out[#out + 1] = "\\ they differ in the end of the last line" end
  return table.concat(out, "\n") .. "\n"
end
