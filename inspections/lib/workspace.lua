-- workspace: asking the account's workspace, for the inspections below workspace/.
--
-- Without a workspace (node local) there is nothing to look at. What was not answered, or only in part, makes the
-- run fail, after what was seen is reported: an open problem must not recover because nobody could see it.
local dql = require "selfmon.dql"
local log = require "selfmon.log"
local store = require "selfmon.store"

local M = {}

-- A condition such as `host` IN ["a", "b"]; nil for an empty list.
function M.among(tag, values)
  if not values or #values == 0 then return nil end
  local quoted = {}
  for i, v in ipairs(values) do
    quoted[i] = '"' .. tostring(v):gsub("%c", " "):gsub('[\\"]', "\\%0") .. '"'
  end
  return ("`%s` IN [%s]"):format(tag, table.concat(quoted, ", "))
end

-- " { a, b }" of the conditions given, or nothing.
function M.where(...)
  local list = {}
  for i = 1, select("#", ...) do
    local condition = select(i, ...)
    if condition then list[#list + 1] = condition end
  end
  return #list > 0 and " { " .. table.concat(list, " AND ") .. " }" or ""
end

--- Asks all queries in one call. Answers a list of series for each (empty when there is no data, and for a query
--- of `optional` that failed), and whether parts are missing; nil without a workspace.
function M.ask(queries, optional)
  local results, message, code = dql.all(queries)
  if not results and code == "unavailable" then
    log.info("this account has no workspace: nothing to look at")
    return nil
  elseif not results then
    error("the workspace cannot be asked: " .. message, 0)
  end
  local out, partial = {}, false
  for i, result in ipairs(results) do
    if result.error and result.code == "unavailable" then
      log.info("this account has no workspace: nothing to look at")
      return nil
    elseif result.error and not (optional and optional[i]) then
      error(("the workspace did not answer: %s (%s)"):format(result.error, queries[i].query), 0)
    elseif result.error then
      log.warn("a query for details failed", { query = queries[i].query, error = result.error })
    elseif not result.complete then
      partial = true
    end
    out[i] = result.series or {}
  end
  return out, partial
end

--- Whether there is anything to look at. No data is fine where none was ever seen and nothing was named.
function M.any(n, what, named)
  if n > 0 then
    if not store.get "seen" then store.set("seen", true) end
    return true
  end
  if named and #named > 0 then
    error(("the workspace has no %s of %s"):format(what, table.concat(named, ", ")), 0)
  elseif store.get "seen" then
    error(("the workspace has no %s any more"):format(what), 0)
  end
  log.info(("the workspace has no %s: nothing to look at"):format(what))
  return false
end

--- Reports, and then says what was not seen: names that were asked for and have no data, or parts that are missing.
function M.report(events, partial, unseen)
  EventReporter():report(events)
  if partial then error("the workspace answered only a part of the data", 0) end
  if unseen and #unseen > 0 then error("no data of " .. table.concat(unseen, ", "), 0) end
end

--- Those of `named` that are no key of `seen`.
function M.missing(named, seen)
  local list = {}
  for _, name in ipairs(named or {}) do
    if not seen[name] then list[#list + 1] = name end
  end
  return list
end

--- A text of the data in a message: one line, not long, without what Markdown would take for its own.
function M.text(value, max)
  local text = tostring(value):gsub("[%c`*_%[%]<>|]", " "):gsub(" +", " ")
  max = max or 160
  if #text > max then text = text:sub(1, utf8.offset(text, 0, max) - 1) .. "…" end
  return text
end

return M
