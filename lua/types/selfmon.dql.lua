-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.dql

---What of the data, and how much.
---@class selfmon.dql.Options
---@field since number|string|nil a duration before now ("15m", or seconds below ten years), or a time (seconds since 1970, ISO 8601); without it the query's own range
---@field until_ number|string|nil the same; now unless told
---@field interval number|string|nil step of grouping, seconds or a duration
---@field tz string? IANA name of a time zone
---@field limit integer? rows
---@field offset integer? rows to leave out
---@field slimit integer? series
---@field soffset integer? series to leave out
---@field max_points integer? points of a series
---@field type string? "dql" (default) or "promql"

---One query of `all`: the options and the text.
---@class selfmon.dql.Query
---@field query string the text; may also be the element 1
---@field since number|string|nil as in Options, and so are the others
---@field until_ number|string|nil
---@field interval number|string|nil
---@field tz string?
---@field limit integer?
---@field offset integer?
---@field slimit integer?
---@field soffset integer?
---@field max_points integer?
---@field type string?

---One series as the platform has it.
---@class selfmon.dql.Series
---@field name string measurement
---@field tags table<string, string> what it is grouped by
---@field columns string[] names of the columns; the first is "time" where there is one
---@field units any[] of the columns; cjson.null where there is none
---@field values any[][] rows; times in seconds since 1970; cjson.null for no value
local Series = {}

---Two plain lists: the numbers of a column (the first besides the time), and their times. What has no number is left out.
---```lua
---local dql = require "selfmon.dql"
---local res = assert(dql.query("M::cpu:(avg(usage_total) AS used) BY host", { since = "15m" }))
---for _, series in ipairs(res.series) do
---  local values, times = series:points "used"
---  print(series.tags.host, #values, times[#times])
---end
---```
---@param column? string
---@return number[] values
---@return number[] times
---@nodiscard
function Series:points(column) end

---The answer to a query. No data: no series, no rows.
---@class selfmon.dql.Result
---@field series selfmon.dql.Series[] may be empty
---@field rows table[] every row of every series as a table: time (seconds), tags and columns by name; made when first asked for
---@field complete boolean false: the platform gave only a part
---@field cost string? what it took the platform, in its words
---@field interval number? step of grouping, seconds
---@field error string? in `all`: why this query has no answer
---@field code string? in `all`: its code

---Queries the data of the account's workspace (metrics, logs, traces, RUM …) in DQL or PromQL. The daemon asks the platform; the
---script never sees a key. Calls block the run. They share the account's budget of calls with everything else (20 a minute unless
---configured) and come last in it, so queries that wait together, also of other runs, go in one call, and equal ones once: prefer
---`dql.all` to a loop. A query waits for budget until shortly before the run's deadline. Account `local`: code "unavailable".
---@class selfmon.dql
local M = {}

---Asks one query. Codes: "unavailable" (no workspace), "limit" (no budget before the run's deadline),
---"timeout", "denied" (the key), "refused" (the query is wrong), "protocol", "connect", "too_large".
---```lua
---local dql = require "selfmon.dql"
---local res, err, code = dql.query("M::cpu:(avg(usage_total) AS used) BY host", { since = "15m", interval = "1m" })
---if not res then
---  print("no data:", err, code)
---  return
---end
---for _, series in ipairs(res.series) do
---  local values = series:points "used"
---  print(series.tags.host, #values, values[#values])
---end
---```
---@param q string the query, at most 32 KiB
---@param opts? selfmon.dql.Options
---@return selfmon.dql.Result? result
---@return string? message
---@return string? code
---@nodiscard
function M.query(q, opts) end

---Asks several queries in one call, at most 100; answers in their order, with { error=, code= } in the place of a
---query that has no answer.
---```lua
---local dql = require "selfmon.dql"
---local results = dql.all{ "M::mem:(last(used_percent)) BY host", { query = "L::nginx:(count(*))", since = "1h" } } or {}
---for _, res in ipairs(results) do print(res.error or #res.rows) end
---```
---@param queries (string|selfmon.dql.Query)[]
---@return selfmon.dql.Result[]? results
---@return string? message
---@return string? code
---@nodiscard
function M.all(queries) end

return M
