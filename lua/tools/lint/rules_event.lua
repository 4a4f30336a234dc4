-- Rules about events: fields, status, dimensions, Markdown, and the reporter itself.
local known = require "lint.known"
local markdown = require "selfmon.markdown"
local read = require "lint.read"

-- `EventReporter()`, or a local that holds one.
local function is_reporter(e)
  e = read.value(e)
  return e.tag == "Call" and e.fn.tag == "Name" and not e.fn.var and e.fn.name == "EventReporter"
end

local function looks_like_event(t)
  local n = 0
  for name in pairs(known.event) do
    if t.by[name] then n = n + 1 end
  end
  return n >= 3 or (n == 2 and t.by.status and t.by.dimension_tags ~= nil)
end

-- The tables of a file that are events: { table, sure, whole }. sure: given to `report`; whole: as it is
-- written, nothing is added later.
local function events(file)
  if file.events then return file.events end
  local out, seen, lists = {}, {}, {}
  local function add(t, sure, whole)
    if seen[t] then return end
    seen[t] = true
    out[#out + 1] = { table = t, sure = sure, whole = whole }
  end
  local function reported(arg)
    local t, var = nil, nil
    if arg then t, var = read.table(arg) end
    if t and #t.fields > 0 and not t.fields[1].key then
      for _, f in ipairs(t.fields) do
        local one, held = read.table(f.value)
        if not f.key and one then add(one, true, not held) end
      end
    elseif t and (next(t.by) or not var) and #t.fields > 0 then
      add(t, true, not var)
    end
    if arg and arg.tag == "Name" and arg.var then lists[arg.var] = true end
  end
  for _, call in ipairs(file.tree.all.Invoke) do
    if call.name == "report" then reported(call.args[1]) end
  end
  for _, call in ipairs(file.tree.all.Call) do -- a slip of its own (SM024)
    local fn = call.fn
    if fn.tag == "Index" and fn.dot and fn.key.value == "report" and is_reporter(fn.obj) then
      reported(call.args[1])
    end
  end
  for _, node in ipairs(file.tree.all.Assign) do -- events[#events + 1] = {…}
    for i, target in ipairs(node.targets) do
      local value = node.values[i]
      if target.tag == "Index" and target.obj.tag == "Name" and lists[target.obj.var or false]
        and target.key.tag ~= "String" and value and value.tag == "Table" then
        add(value, true, true)
      end
    end
  end
  for _, call in ipairs(file.tree.all.Call) do -- table.insert(events, {…})
    local list, value = call.args[1], call.args[#call.args]
    if list and list.tag == "Name" and lists[list.var or false] and value.tag == "Table"
      and read.callee(call) == "table.insert" then
      add(value, true, true)
    end
  end
  for _, t in ipairs(file.tree.all.Table) do
    if looks_like_event(t) then add(t, false, false) end
  end
  file.events = out
  return out
end

-- ---- dimension values without bound ----

local KEYS = {}
for word in ([[timestamp time ts date datetime now message msg text error err reason body output stdout
  stderr uuid request_id trace_id span_id run_id random nonce ms latency elapsed duration seconds
  response_time pid line]]):gmatch "%S+" do
  KEYS[word] = true
end

-- Names of values that differ each time, as fields of anything and as locals.
local FIELDS = {}
for word in ([[timestamp ts message msg err body stdout stderr output uuid request_id trace_id run_id ms
  latency elapsed timings total ttfb slot deadline days_left pid]]):gmatch "%S+" do
  FIELDS[word] = true
end

local CALLS = {
  ["os.time"] = "the time", ["os.date"] = "the time", ["os.clock"] = "the time",
  ["math.random"] = "a random number", ["selfmon.time.now"] = "the time",
  ["selfmon.time.monotonic"] = "the time", ["selfmon.time.format"] = "the time",
  ["selfmon.crypto.uuid"] = "a random id", ["selfmon.crypto.random"] = "random bytes",
}

local THROUGH = { tostring = true, tonumber = true, ["string.format"] = true, ["string.lower"] = true,
                  ["string.upper"] = true, ["string.sub"] = true, ["math.floor"] = true,
                  ["math.tointeger"] = true, ["string.rep"] = true, ["selfmon.crypto.sha256"] = true,
                  ["selfmon.crypto.md5"] = true, ["selfmon.crypto.sha1"] = true }
local THROUGH_METHOD = { format = true, lower = true, upper = true, sub = true }

-- What of a value has no bound: a phrase, or nil.
local function unbounded(e, params, budget)
  budget.n = budget.n - 1
  if budget.n < 0 then return nil end
  for _, leaf in ipairs(read.leaves(e)) do
    local found
    if leaf.tag == "Call" then
      local name = read.callee(leaf)
      found = name and CALLS[name]
      if name and THROUGH[name] then
        for _, arg in ipairs(leaf.args) do found = found or unbounded(arg, params, budget) end
      end
    elseif leaf.tag == "Invoke" and THROUGH_METHOD[leaf.name] then
      found = unbounded(leaf.obj, params, budget)
      for _, arg in ipairs(leaf.args) do found = found or unbounded(arg, params, budget) end
    elseif leaf.tag == "Binary" and not (leaf.op:find "[=<>~]" and #leaf.op <= 2 and leaf.op ~= "<<"
      and leaf.op ~= ">>" and leaf.op ~= "~") then
      found = unbounded(leaf.left, params, budget) or unbounded(leaf.right, params, budget)
    elseif leaf.tag == "Index" and leaf.key.tag == "String" then
      local of_params = leaf.obj.tag == "Name" and leaf.obj.var and params[leaf.obj.var]
      if leaf.obj.tag == "Index" and leaf.obj.key.tag == "String" and leaf.obj.key.value == "timings" then
        found = '"timings"'
      elseif FIELDS[leaf.key.value] and not of_params then
        found = ('"%s"'):format(leaf.key.value)
      end
    elseif leaf.tag == "Name" and leaf.var and not leaf.var.loop and FIELDS[leaf.name] then
      found = ('"%s"'):format(leaf.name)
    end
    if found then return found end
  end
end

local function constant(e)
  for _, leaf in ipairs(read.leaves(e)) do
    if leaf.tag ~= "String" and leaf.tag ~= "Number" and leaf.tag ~= "True" and leaf.tag ~= "False"
      and leaf.tag ~= "Nil" then
      return false
    end
  end
  return true
end

-- ---- Markdown ----

-- A message as one text, with a 0 for what is not in the script, without its margin.
local function message(e)
  local parts, margin = {}, nil
  for i, part in ipairs(read.parts(e)) do
    parts[i] = part.tag == "String" and part.value or "0"
  end
  local text, first = "\n" .. table.concat(parts), true
  for line in text:gmatch "\n([^\n]*)" do
    local blank = #line:match "^[ \t]*"
    -- A first line right behind its quote has no margin.
    if blank < #line and not (first and blank == 0) then margin = math.min(margin or 40, blank) end
    first = false
  end
  return (text:gsub("\n" .. ("[ \t]"):rep(margin or 0), "\n"):sub(2))
end

-- What a bot shows as a heap of signs: list of sentences, one for each kind.
local function not_shown(text)
  local out, seen = {}, {}
  if #text > 65536 then return out end
  for _, bot in ipairs { "dingtalk", "lark", "wecom" } do
    local _, notes = markdown.portable(text, bot)
    for _, note in ipairs(notes) do
      if note.harm == "lost" and not seen[note.what] then
        seen[note.what] = true
        out[#out + 1] = note.sentence
      end
    end
  end
  return out
end

return {
  {
    id = "SM020", level = "error", title = "unknown or missing field of an event",
    why = "`report` takes `title`, `message`, `status` and `dimension_tags`, and raises for anything else.",
    check = function(file, say)
      for _, e in ipairs(events(file)) do
        local t = e.table
        for _, f in ipairs(e.sure and t.fields or {}) do
          if f.name and not known.event[f.name] then
            say(f, 'report: unknown field "%s"%s', f.name, read.hint(f.name, known.event[1]))
          end
        end
        if e.sure and e.whole and read.closed(t) then
          for _, name in ipairs(known.event_required) do
            if not t.by[name] then say(t, 'report: the field "%s" is missing', name) end
          end
        end
      end
    end,
  },
  {
    id = "SM021", level = "error", title = "unknown status",
    why = "A status is one of `info`, `warning`, `error`, `critical`, `ok`.",
    check = function(file, say)
      for _, e in ipairs(events(file)) do
        local f = e.table.by.status
        for _, leaf in ipairs(f and read.leaves(f.value) or {}) do
          local text = leaf.tag == "String" and leaf.value
          if text and not known.statuses[text] then
            local near = ({ crit = "critical", warn = "warning", err = "error", fatal = "critical",
              unknown = "error", okay = "ok", good = "ok" })[text:lower()]
              or (known.statuses[text:lower()] and text:lower()) or read.nearest(text, known.statuses[1])
            say(leaf, 'unknown status "%s"%s', text, near and ('; did you mean "%s"?'):format(near)
              or ": expected one of info, warning, error, critical, ok")
          end
        end
      end
    end,
  },
  {
    id = "SM022", level = "warning", title = "dimension value without bound",
    why = "Each value of a dimension is a thing of its own, with its own state and its own recovery. A time, a "
      .. "message, a measured value or a random id makes a new one in each run. Put it in the message.",
    check = function(file, say)
      local params = {}
      for _, fn in ipairs(file.tree.all.Function) do
        for _, var in ipairs(fn.params) do params[var] = var.name == "params" or nil end
      end
      for _, e in ipairs(events(file)) do
        local f = e.table.by.dimension_tags
        local tags = f and read.table(f.value)
        for _, tag in ipairs(tags and tags.fields or {}) do
          local what = unbounded(tag.value, params, { n = 500 })
          local v = read.value(tag.value)
          local given = v.tag == "Index" and v.obj.tag == "Name" and v.obj.var and params[v.obj.var]
          if what then
            say(tag, 'the dimension "%s" holds %s, which differs from run to run', tag.name or "?", what)
          elseif tag.name and KEYS[tag.name] and not constant(tag.value) and not given then
            say(tag, 'the dimension "%s" seems to differ from run to run', tag.name)
          end
        end
      end
    end,
  },
  {
    id = "SM023", level = "warning", title = "Markdown that the bots cannot show",
    why = "Robots of DingTalk, Lark and WeCom show bold text, links and short lines. A table, an image, a heading or "
      .. "HTML arrives as a heap of signs on at least one of them.",
    check = function(file, say)
      for _, e in ipairs(events(file)) do
        local f = e.table.by.message
        for _, sentence in ipairs(f and not_shown(message(f.value)) or {}) do
          say(f, "in the message: %s", sentence)
        end
      end
    end,
  },
  {
    id = "SM024", level = "error", title = "dot for colon, or colon for dot",
    why = "`reporter:report{…}` and `res:json()` are methods; functions of a module are called with a dot.",
    check = function(file, say)
      for _, call in ipairs(file.tree.all.Call) do
        local fn = call.fn
        if fn.tag == "Index" and fn.dot and fn.key.value == "report" and is_reporter(fn.obj) then
          say(fn, "report is a method: write reporter:report{…} with a colon")
        elseif fn.tag == "Index" and fn.dot and (fn.key.value == "json" or fn.key.value == "raise_for_status") then
          local of = read.value(fn.obj)
          local name = of.tag == "Call" and read.callee(of)
          if name and known.timed[name] and name:find "^selfmon%.http%." then
            say(fn, "%s is a method: write res:%s() with a colon", fn.key.value, fn.key.value)
          end
        end
      end
      for _, call in ipairs(file.tree.all.Invoke) do
        local of = read.path(call.obj)
        if of and (of:find "^selfmon%." or of == "cjson" or of == "cjson.safe")
          and of:find "^[%a.]+$" and file.modules[of] then
          say(call, "%s is a function: write %s.%s(…) with a dot", call.name, of:match "[^.]+$", call.name)
        end
      end
    end,
  },
  {
    id = "SM025", level = "error", title = "`EventReporter` in the main chunk",
    why = "A reporter belongs to a run; make it inside the inspection function.",
    check = function(file, say)
      for _, call in ipairs(file.tree.all.Call) do
        if call.func.main and is_reporter(call) then
          say(call, "EventReporter must be constructed inside the inspection function")
        end
      end
    end,
  },
}
