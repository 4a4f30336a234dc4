-- selfmon.dql in a test: answers by the query's text. A query without a fake fails run and spec.
local cjson = require "cjson"

local M = { api = {} }

local fakes, asked -- of the current test

function M.reset()
  fakes, asked = {}, {}
end
M.reset()

local KNOWN = { series = true, rows = true, complete = true, cost = true, error = true, code = true }

-- Does the pattern, where * stands for any text, fit the whole of q?
local function fits(pattern, q)
  if pattern == q then return true end
  if not pattern:find("*", 1, true) then return false end
  return q:find("^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$") ~= nil
end

local function ms(t)
  return math.tointeger(math.floor(t * 1000 + 0.5))
end

local function array(list)
  return setmetatable(list, cjson.array_mt)
end

local function or_null(v)
  return v == nil and cjson.null or v
end

-- As the platform sends it: times in ms, columns beside values.
local function wire_series(s, i)
  if type(s) ~= "table" then error(("t.dql: series[%d]: expected a table, got %s"):format(i, type(s)), 0) end
  local columns, values = s.columns or { "time", "value" }, {}
  for k, row in ipairs(s.values or {}) do
    local copy = {}
    for c = 1, #columns do copy[c] = or_null(row[c]) end
    if columns[1] == "time" and type(copy[1]) == "number" then copy[1] = ms(copy[1]) end
    values[k] = array(copy)
  end
  local units = {}
  for c = 1, #columns do units[c] = or_null(s.units and s.units[c]) end
  return { name = s.name or "", tags = s.tags, columns = array(columns), units = array(units), values = array(values) }
end

-- Rows as one series: the time first, then the other columns by name.
local function series_of_rows(rows)
  local seen, columns = {}, {}
  for _, row in ipairs(rows) do
    for key in pairs(row) do
      if not seen[key] and key ~= "time" then columns[#columns + 1] = key end
      seen[key] = true
    end
  end
  table.sort(columns)
  if seen.time then table.insert(columns, 1, "time") end
  local values = {}
  for i, row in ipairs(rows) do
    values[i] = {}
    for c, key in ipairs(columns) do values[i][c] = or_null(row[key]) end
  end
  return { columns = columns, values = values }
end

local function wire(answer)
  if answer.error then return { error = answer.error, code = answer.code or "refused" } end
  local list = answer.series
  if answer.rows and #answer.rows > 0 then list = { series_of_rows(answer.rows) } end
  local series = {}
  for i, s in ipairs(list or {}) do series[i] = wire_series(s, i) end
  return { series = #series > 0 and array(series) or cjson.null, complete = answer.complete ~= false,
           cost = answer.cost or "1ms" }
end

local function check(answer, q)
  if type(answer) ~= "table" then
    error(("the fake answer to the query %q must be a table, got %s"):format(q, type(answer)), 0)
  end
  for key in pairs(answer) do
    if not KNOWN[key] then
      error(("t.dql: unknown field %s in the answer to %q; known are series, rows, complete, cost, error, code")
        :format(tostring(key), q), 0)
    end
  end
  return answer
end

local function answer_to(query)
  for _, fake in ipairs(fakes) do
    if fits(fake.pattern, query.q) then
      local answer = fake.answer
      if type(answer) == "function" then answer = answer(query) end
      return wire(check(answer, query.q))
    end
  end
end

function M.ask(args, _, where)
  local results = {}
  for i, given in ipairs(args.queries) do
    local query = { since = given.from_ms and given.from_ms / 1000, until_ = given.to_ms and given.to_ms / 1000 }
    for key, value in pairs(given) do
      if key ~= "from_ms" and key ~= "to_ms" then query[key] = value end
    end
    asked[#asked + 1] = query
    local result = answer_to(query)
    if not result then
      return nil, ("unfaked query %s%s; add t.dql(%q, {…})"):format(query.q,
        where and where ~= "" and " (" .. where .. ")" or "", query.q), "unfaked"
    end
    results[i] = result
  end
  return true, cjson.encode(array(results))
end

--- Answers a query from now on in this test. `text` is the query's text; a * stands for any text. `answer` is
--- { series = { { name=, tags=, columns=, units=, values = { { time, value }, … } }, … } } (columns are time and
--- value unless told; times are seconds), { rows = { { time=, column=, tag= }, … } }, {} for no data,
--- { error=, code= }, or a function(query) that returns one: query has q, since, until_, interval, limit ….
function M.api.dql(text, answer)
  if type(text) ~= "string" then
    error(("t.dql: expected the text of a query, got %s"):format(type(text)), 2)
  end
  if type(answer) ~= "table" and type(answer) ~= "function" then
    error(("t.dql: expected an answer (table or function) for %q, got %s"):format(text, type(answer)), 2)
  end
  if type(answer) == "table" then check(answer, text) end
  table.insert(fakes, 1, { pattern = text, answer = answer })
end

--- Queries that the runs of this test made, in order: { q=, since=, until_=, … }.
function M.api.queries()
  return asked
end

return M
