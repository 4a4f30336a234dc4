-- newcomers: kinds of errors that were not there before. Texts that differ in numbers, ids and quoted names only
-- are one kind.
local workspace = require "lib.workspace"

local M = {}

local HOUR = 3600

local function cut(text, max)
  return #text > max and text:sub(1, utf8.offset(text, 0, max) - 1) .. "…" or text
end

--- The kind of a message.
function M.kind(text)
  text = tostring(text):sub(1, 1000)
  text = text:gsub("https?://[^%s\"']+", "URL"):gsub('"[^"\n]*"', '"…"'):gsub("'[^'\n]*'", "'…'")
  text = text:gsub("%x%x%x%x%x%x%x%x[%x-]*", "ID"):gsub("0[xX]%x+", "ID"):gsub("%d+", "N"):gsub("%s+", " ")
  return cut(text, 200)
end

-- By group and kind: { count=, example= }.
local function collect(list, tag)
  local kinds = {}
  for _, series in ipairs(list) do
    local tags, n = series.tags, 0
    for _, count in ipairs((series:points "n")) do n = n + count end
    local message = tags.error_message ~= "" and tags.error_message or tags.resource or "without a message"
    local group, text = tags[tag] or "?", (tags.error_type or "error") .. ": " .. message
    local kind = M.kind(text)
    kinds[group] = kinds[group] or {}
    local entry = kinds[group][kind] or { kind = kind, count = 0, example = text }
    kinds[group][kind], entry.count = entry, entry.count + n
  end
  return kinds
end

--- Asks `query` for the last hour and for the time before, and answers an event for each group (a value of `tag`)
--- with kinds that are new; and whether parts are missing. nil without a workspace.
function M.events(query, tag, before, least)
  local answers, partial = workspace.ask {
    { query = query, since = HOUR, slimit = 1000 },
    { query = query, since = HOUR + before, until_ = HOUR, slimit = 1000 },
  }
  if not answers then return nil end
  local known, events = collect(answers[2], tag), {}
  for group, kinds in pairs(collect(answers[1], tag)) do
    local new, total, lines = {}, 0, {}
    for kind, entry in pairs(kinds) do
      if entry.count >= least and not (known[group] and known[group][kind]) then
        new[#new + 1], total = entry, total + entry.count
      end
    end
    table.sort(new, function(a, b)
      if a.count ~= b.count then return a.count > b.count end
      return a.kind < b.kind
    end)
    for i = 1, math.min(10, #new) do lines[i] = ("- %d × %s"):format(new[i].count, workspace.text(new[i].example)) end
    if #new > 10 then lines[11] = ("- and %d kinds more"):format(#new - 10) end
    events[#events + 1] = #new > 0 and {
      title = ("%s: %d new %s of errors"):format(group, #new, #new == 1 and "kind" or "kinds"), status = "error",
      message = ("**%s** had **%d errors** in the last hour of kinds that were not there in the %.0f hours before:\n\n%s")
        :format(group, total, before / HOUR, table.concat(lines, "\n")),
      dimension_tags = { [tag] = group },
    } or nil
  end
  table.sort(events, function(a, b) return a.title < b.title end)
  return events, partial
end

return M
