-- limits: a number against two limits, above or below which it is a warning or critical.
local M = {}

--- "critical", "warning" or nil, and the limit that was passed. A limit that is NaN counts as none.
function M.judge(value, warning, critical, below)
  for _, l in ipairs{ { "critical", critical }, { "warning", warning } } do
    local level, limit = l[1], l[2]
    if limit and limit == limit and (below and value < limit or not below and value > limit) then return level, limit end
  end
end

--- A number without needless digits.
function M.show(value, unit)
  local text = math.type(value) == "integer" and ("%d"):format(value) or ("%.6g"):format(value)
  return unit and unit ~= "" and text .. " " .. unit or text
end

return M
