-- Targets as people write them: "db.example:5432", "[::1]:22", "10.0.0.1".
local M = {}

--- host, port of a target; `default` is the port of one without. Raises for what is none.
function M.split(text, default)
  local host, port = text:match "^%[([%x:.%%%w]+)%]:?(%d*)$"
  if not host then host, port = text:match "^([^:%s]+):?(%d*)$" end
  if not host and text:find "^[%x:.]+$" and text:find ":.*:" then host, port = text, "" end
  port = tonumber(port) or default
  if not host or not port or port < 1 or port > 65535 then
    error(("%q is no target: write host:port, with an IPv6 address in brackets"):format(text), 0)
  end
  return host, math.tointeger(port)
end

--- "1.25 s", "3.2 ms", "0.05 ms"
function M.seconds(s)
  if s >= 1 then return ("%.2f s"):format(s) end
  return (s < 0.001 and "%.2f ms" or "%.1f ms"):format(s * 1000)
end

return M
