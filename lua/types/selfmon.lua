-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon

---All modules of the host in one table, for those who like explicit imports: `local s = require "selfmon"`,
---then `s.http.get(…)`.
---@class selfmon
---@field http selfmon.http
---@field net selfmon.net
---@field host selfmon.host
---@field time selfmon.time
---@field log selfmon.log
---@field dql selfmon.dql
---@field exec selfmon.exec
---@field crypto selfmon.crypto
---@field secret selfmon.secret
---@field cjson cjson
---@field stats selfmon.stats
---@field markdown selfmon.markdown
---@field store selfmon.store
---@field exec selfmon.exec
---@field monitor fun(spec: monitor.Spec) the global
---@field EventReporter fun(): selfmon.Reporter the global
local M = {}

return M
