return {
  module = "selfmon.dql", since = "0.1.0",
  doc = [[
Queries the data of the account's workspace (metrics, logs, traces, RUM …) in DQL or PromQL. The daemon asks the platform; the
script never sees a key. Calls block the run. They share the account's budget of calls with everything else (20 a minute unless
configured) and come last in it, so queries that wait together, also of other runs, go in one call, and equal ones once: prefer
`dql.all` to a loop. A query waits for budget until shortly before the run's deadline. Account `local`: code "unavailable".]],
  setup = [[t.dql("*", { series = { { name = "cpu", tags = { host = "web1" }, columns = { "time", "used" },
    values = { { 1700000000, 42.5 } } } } })]],
  types = {
    { name = "selfmon.dql.Options", doc = "What of the data, and how much.", fields = {
      { "since", "number|string|nil", "a duration before now (\"15m\", or seconds below ten years), or a time (seconds since 1970, ISO 8601); without it the query's own range" },
      { "until_", "number|string|nil", "the same; now unless told" },
      { "interval", "number|string|nil", "step of grouping, seconds or a duration" },
      { "tz", "string?", "IANA name of a time zone" },
      { "limit", "integer?", "rows" },
      { "offset", "integer?", "rows to leave out" },
      { "slimit", "integer?", "series" },
      { "soffset", "integer?", "series to leave out" },
      { "max_points", "integer?", "points of a series" },
      { "type", "string?", "\"dql\" (default) or \"promql\"" },
    } },
    { name = "selfmon.dql.Query", doc = "One query of `all`: the options and the text.", fields = {
      { "query", "string", "the text; may also be the element 1" },
      { "since", "number|string|nil", "as in Options, and so are the others" },
      { "until_", "number|string|nil" }, { "interval", "number|string|nil" }, { "tz", "string?" }, { "limit", "integer?" },
      { "offset", "integer?" }, { "slimit", "integer?" }, { "soffset", "integer?" }, { "max_points", "integer?" }, { "type", "string?" },
    } },
    { name = "selfmon.dql.Series", doc = "One series as the platform has it.", fields = {
      { "name", "string", "measurement" },
      { "tags", "table<string, string>", "what it is grouped by" },
      { "columns", "string[]", "names of the columns; the first is \"time\" where there is one" },
      { "units", "any[]", "of the columns; cjson.null where there is none" },
      { "values", "any[][]", "rows; times in seconds since 1970; cjson.null for no value" },
    }, methods = {
      { name = "points",
        doc = "Two plain lists: the numbers of a column (the first besides the time), and their times. What has no number is left out.",
        params = { { "column?", "string" } },
        returns = { { "values", "number[]" }, { "times", "number[]" } },
        example = [[
local res = assert(dql.query("M::cpu:(avg(usage_total) AS used) BY host", { since = "15m" }))
for _, series in ipairs(res.series) do
  local values, times = series:points "used"
  print(series.tags.host, #values, times[#times])
end]] },
    } },
    { name = "selfmon.dql.Result", doc = "The answer to a query. No data: no series, no rows.", fields = {
      { "series", "selfmon.dql.Series[]", "may be empty" },
      { "rows", "table[]", "every row of every series as a table: time (seconds), tags and columns by name; made when first asked for" },
      { "complete", "boolean", "false: the platform gave only a part" },
      { "cost", "string?", "what it took the platform, in its words" },
      { "interval", "number?", "step of grouping, seconds" },
      { "error", "string?", "in `all`: why this query has no answer" },
      { "code", "string?", "in `all`: its code" },
    } },
  },
  functions = {
    { name = "query", doc = [[Asks one query. Codes: "unavailable" (no workspace), "limit" (no budget before the run's deadline),
"timeout", "denied" (the key), "refused" (the query is wrong), "protocol", "connect", "too_large".]],
      params = { { "q", "string", "the query, at most 32 KiB" }, { "opts?", "selfmon.dql.Options" } },
      returns = { { "result", "selfmon.dql.Result?" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local dql = require "selfmon.dql"
local res, err, code = dql.query("M::cpu:(avg(usage_total) AS used) BY host", { since = "15m", interval = "1m" })
if not res then
  print("no data:", err, code)
  return
end
for _, series in ipairs(res.series) do
  local values = series:points "used"
  print(series.tags.host, #values, values[#values])
end]] },
    { name = "all", doc = [[Asks several queries in one call, at most 100; answers in their order, with { error=, code= } in the place of a
query that has no answer.]],
      params = { { "queries", "(string|selfmon.dql.Query)[]" } },
      returns = { { "results", "selfmon.dql.Result[]?" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local dql = require "selfmon.dql"
local results = dql.all{ "M::mem:(last(used_percent)) BY host", { query = "L::nginx:(count(*))", since = "1h" } } or {}
for _, res in ipairs(results) do print(res.error or #res.rows) end]] },
  },
}
