-- What the declared event policy makes of what the runs of one test reported: the store's own decisions
-- (selfmon.internal.decide), kept from run to run, as if each event were delivered at once.
local internal = require "selfmon.internal"

local M = {}

local RANK = { ok = 0, info = 1, warning = 2, error = 3, critical = 4 }
local NAME = { [0] = "ok", "info", "warning", "error", "critical" }
local TOP = 10

local histories = {} -- by function id: { dims = {key = dim}, order = {dim, …}, window = {from, let_out, digest} }

function M.reset()
  histories = {}
end

local function key_of(tags)
  local parts = {}
  for name, value in pairs(tags or {}) do parts[#parts + 1] = ("%q=%q"):format(name, value) end
  table.sort(parts)
  return table.concat(parts, ",")
end

local function copy(event, more)
  local new = {}
  for k, v in pairs(event) do new[k] = v end
  for k, v in pairs(more) do new[k] = v end
  return new
end

-- Which budgets still have room; a window that is over begins again.
local function room_of(h, policy, now)
  local room = { dimensions = true, events = true }
  if policy.max_events then
    local per = policy.max_events.per
    per = type(per) == "string" and require "selfmon.time".duration(per) or per
    if not h.window.from or h.window.from > now or h.window.from + per <= now then
      h.window.from, h.window.let_out = now, 0
    end
    room.events = h.window.let_out < (policy.max_events["1"] or policy.max_events[1])
  end
  if policy.max_dimensions then
    local open = 0
    for _, dim in ipairs(h.order) do open = open + (dim.sent > 0 and 1 or 0) end
    room.dimensions = open < policy.max_dimensions
  end
  return room
end

local function dim_of(h, event)
  local key = key_of(event.dimension_tags)
  local dim = h.dims[key]
  if not dim then
    dim = { status = 0, sent = -1, streak = 0 }
    h.dims[key] = dim
    h.order[#h.order + 1] = dim
  end
  return dim
end

-- One step for a dimension; `status` nil: it was not reported.
local function step(h, policy, dim, status, now, event, sent, held)
  local bounded = policy and (policy.max_dimensions or policy.max_events)
  local problem = status and RANK[status] > 0
  local room = bounded and problem and room_of(h, policy, now) or nil
  local send, rule, count, of = internal.decide(policy, dim, status, now, room)
  if send then
    sent[#sent + 1] = copy(event, { rule = rule })
    if problem then h.window.let_out = (h.window.let_out or 0) + 1 end
    if not problem then dim.sent = -1 end -- delivered: there is no more to remember
  elseif status or rule == "confirm" then
    held[#held + 1] = copy(event, { rule = rule, count = of > 0 and count or nil, of = of > 0 and of or nil })
  end
  if problem and not dim.since then dim.since = now end
  if dim.status == 0 and dim.streak == 0 then dim.since = nil end
  return send
end

local function how_long(s)
  if s < 60 then return ("%d s"):format(s) end
  if s < 3600 then return ("%d min %d s"):format(s // 60, s % 60) end
  if s < 86400 then return ("%d h %d min"):format(s // 3600, s % 3600 // 60) end
  return ("%d d %d h"):format(s // 86400, s % 86400 // 3600)
end

local function recover(h, policy, now, sent, held)
  for _, dim in ipairs(h.order) do
    if not dim.spoke and (dim.status > 0 or dim.streak > 0) then
      local since = math.floor(dim.since or now)
      local message = ("No longer reported. It began at %s and lasted %s."):format(os.date("!%Y-%m-%dT%H:%M:%SZ", since),
        how_long(math.floor(now) - since))
      local event = copy(dim.event, { status = "ok", message = message })
      event.id = nil
      step(h, policy, dim, nil, now, event, sent, held)
    end
  end
end

-- One digest a window while something is held back by a budget; an `ok` when nothing is any more.
local function digest(h, policy, id, title, now, sent)
  local over = {}
  for _, dim in ipairs(h.order) do
    if dim.over and dim.status > 0 then over[#over + 1] = dim end
  end
  table.sort(over, function(a, b)
    if a.status ~= b.status then return a.status > b.status end
    return (a.since or 0) < (b.since or 0)
  end)
  local told = h.digest or 0
  local event = { dimension_tags = { selfmon_digest = id }, rule = "digest" }
  if #over > 0 then
    local worst = over[1].status
    local windowed = policy.max_events and (h.told_at or -1) < (h.window.from or 0)
    if not (told == 0 or worst > told or windowed) then return end
    local lines = { ("%d %s not sent one by one (events.max_dimensions, max_events):\n"):format(#over,
      #over == 1 and "problem was" or "problems were") }
    for i = 1, math.min(#over, TOP) do
      lines[#lines + 1] = ("- %s: %s"):format(NAME[over[i].status], over[i].event.title)
    end
    if #over > TOP then lines[#lines + 1] = ("- and %d more"):format(#over - TOP) end
    event.title, event.message, event.status = ("%d more: %s"):format(#over, title), table.concat(lines, "\n"), NAME[worst]
    h.digest, h.told_at, h.digest_title = worst, now, event.title
    sent[#sent + 1] = event
  elseif told > 0 then
    event.title, event.message, event.status, event.rule = h.digest_title, "No longer reported.", "ok", "recovered"
    h.digest = 0
    sent[#sent + 1] = event
  end
end

--- Adds to the result of a run: `sent`, what would be sent (each event with the `rule` that let it out), and
--- `held`, what was held back (with the rule, and `count` of `of` runs for confirm). `spec` is what the
--- script registered; `id` names the history.
function M.judge(result, spec, id, now)
  local policy = spec.events
  if policy and next(policy) == nil then policy = nil end
  local h = histories[id]
  if not h then
    h = { dims = {}, order = {}, window = {} }
    histories[id] = h
  end
  local sent, held = {}, {}
  for _, dim in ipairs(h.order) do dim.counted, dim.spoke = false, false end
  for _, event in ipairs(result.events) do
    local dim = dim_of(h, event)
    dim.event = event
    step(h, policy, dim, event.status, now, event, sent, held)
    dim.spoke = true
  end
  if policy and result.outcome == "ok" then
    if policy.recover then recover(h, policy, now, sent, held) end
    if policy.max_dimensions or policy.max_events then digest(h, policy, id, spec.title, now, sent) end
  end
  result.sent, result.held = sent, held
end

return M
