-- `selfmon-lua lint`: judges scripts by their text and by what loading them told.
--
-- lint(facts, texts) -> list of { rule, level, file, line, col, message }, sorted. facts.files[i] is
-- { name, wanted, error = { line, message }, inspections = { { id, fn, line, params, permissions,
-- schedules, never, period, timeout, notes, key } } } of texts[i]. Called by worker/toolcmd in a plain
-- interpreter; src/cli/cmd_lint.c gathers the facts.
local cjson = require "cjson"
local known = require "lint.known"
local parse = require "lint.parse"
local read = require "lint.read"

local M = {}

known.learn(require "kit.api".modules())

local PER_RULE = 50 -- findings of one rule in one file; then one that says so

M.rules = {
  { id = "SM001", level = "error", title = "the file does not load",
    why = "The sandbox's own sentence: syntax, a key of `monitor` that is wrong, an error of the main chunk." },
  { id = "SM002", level = "warning", title = "unknown rule in `-- selfmon: ignore`",
    why = "A misspelt id silences nothing." },
}
for _, part in ipairs { "monitor", "event", "code", "world" } do
  for _, rule in ipairs(require("lint.rules_" .. part)) do M.rules[#M.rules + 1] = rule end
end

local ids, by_id = {}, {}
for i, rule in ipairs(M.rules) do
  ids[i] = rule.id
  by_id[rule.id] = rule
end

-- Modules of scripts: what `require` answers, and their members.
local modules, module_names = {}, {}
for name in pairs(package.preload) do
  if (name:find "^selfmon%f[%z.]" or name:find "^cjson%f[%z.]") and not name:find "^selfmon%.internal"
    and not name:find "^selfmon%.testing" then
    modules[name] = true
    module_names[#module_names + 1] = name
  end
end
table.sort(module_names)

local members_of = { os = known.os }
for _, name in ipairs { "string", "table", "math", "utf8", "coroutine" } do
  members_of[name] = {}
  for key in pairs(_G[name]) do members_of[name][key] = true end
end
members_of.string.dump = nil

-- The members of a module or of a table in it ("selfmon.host.file"); nil when it has no fixed ones.
local function members(path)
  local found = members_of[path]
  if found ~= nil then return found or nil end
  found = false
  if modules[path] and path ~= "selfmon" then
    local ok, module = pcall(require, path)
    if ok and type(module) == "table" then found = module end
  elseif path == "selfmon" then
    found = { monitor = true, EventReporter = true }
    for name in pairs(modules) do found[name:match "^selfmon%.(.+)$" or name] = true end
  elseif not path:find "[^%w_.]" then
    local up, last = path:match "^(.*)%.([^.]+)$"
    local owner = up and modules[up] and members(up)
    local sub = owner and up ~= "selfmon" and rawget(owner, last)
    if type(sub) == "table" then found = sub end
  end
  members_of[path] = found
  return found or nil
end

-- line -> set of silenced ids; says what is no rule.
local function ignores(comments, say)
  local out = {}
  for _, c in ipairs(comments) do
    local rest = c.text:match "^%-*%s*selfmon:%s*ignore%f[^%w](.*)$"
    if rest then
      local any = false
      for word in rest:gmatch "[%w_]+" do
        if by_id[word] then
          any = true
          for line = c.line, c.line + 1 do
            out[line] = out[line] or {}
            out[line][word] = true
          end
        elseif word:find "^%a+%d+$" or not any then
          say(c.line, 'there is no rule "%s"%s', word, read.hint(word:upper(), ids))
          any = true
        else
          break -- the reason, in words
        end
      end
      if not any then say(c.line, "it names no rule: write -- selfmon: ignore SM011") end
    end
  end
  return out
end

-- Bytes that are no UTF-8 cannot stand in JSON.
local function clean(text)
  return utf8.len(text) and text or text:gsub("[\128-\255]", "?")
end

local FULL = {}

local function judge(file, findings)
  local silenced = {}
  local function sayer(rule)
    local n = 0
    return function(where, message, ...)
      local line = type(where) == "table" and where.line or where
      local col = type(where) == "table" and where.col or nil
      if silenced[line] and silenced[line][rule.id] then return end
      n = n + 1
      if n > PER_RULE then
        message = "and more of this kind"
      elseif select("#", ...) > 0 then
        message = message:format(...)
      end
      findings[#findings + 1] = { rule = rule.id, level = rule.level, file = file.name, line = line,
                                  col = col, message = clean(message) }
      if n > PER_RULE then error(FULL, 0) end
    end
  end
  local function run(rule, fn)
    local ok, err = xpcall(fn, function(e) return e == FULL and e or debug.traceback(tostring(e)) end)
    if not ok and err ~= FULL then
      error(("rule %s in %s: %s"):format(rule.id, file.name, err), 0)
    end
  end
  local say = sayer(by_id.SM002)
  run(by_id.SM002, function() silenced = ignores(file.comments, say) end)
  if file.error then
    findings[#findings + 1] = { rule = "SM001", level = "error", file = file.name, line = file.error.line,
                                message = clean(file.error.message) }
  end
  for _, rule in ipairs(file.tree and M.rules or {}) do
    if rule.check then
      local told = sayer(rule)
      run(rule, function() rule.check(file, told) end)
    end
  end
end

-- The load error says in other words what a rule has found in the same place.
local function drop_doubles(findings, files)
  local at, out = {}, {}
  for _, f in ipairs(findings) do
    if f.level == "error" and f.rule ~= "SM001" then
      at[f.file .. ":" .. f.line] = true
      local file = files[f.file]
      for _, call in ipairs(file.tree.all.Call) do
        local t = read.is_monitor(call) and call.args[1]
        if t and f.rule == "SM015" and call.line <= f.line then at[f.file .. ":" .. call.line] = true end
      end
    end
  end
  for _, f in ipairs(findings) do
    if f.rule ~= "SM001" or not at[f.file .. ":" .. (f.line or 0)] then out[#out + 1] = f end
  end
  return out
end

-- Where `monitor` stands in its line.
local function columns(file)
  local out = {}
  for _, call in ipairs(file.tree and file.tree.all.Call or {}) do
    if read.is_monitor(call) then out[call.line] = call.col end
  end
  return out
end

function M.lint(facts, texts)
  local files, list, findings, libs, lib_globals = {}, {}, {}, {}, {}
  for i, file in ipairs(facts.files) do
    file.inspections = file.inspections or {}
    file.tree, file.comments = parse(texts[i])
    file.others, file.libs, file.lib_globals = files, libs, lib_globals
    file.modules, file.module_names, file.members = modules, module_names, members
    file.columns = columns(file)
    files[file.name], list[i] = file, file
    if file.name:find "^lib/" then
      libs[#libs + 1] = file.name
      for _, n in ipairs(file.tree and file.tree.all.Name or {}) do
        if n.is_target and not n.var then lib_globals[n.name] = true end
      end
    end
  end
  for _, file in ipairs(list) do
    if file.wanted then judge(file, findings) end
  end
  findings = drop_doubles(findings, files)
  for _, f in ipairs(findings) do
    f.line = f.line or 0
    f.col = f.col or files[f.file].columns[f.line] or 1
  end
  table.sort(findings, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    if a.line ~= b.line then return a.line < b.line end
    if a.col ~= b.col then return a.col < b.col end
    if a.rule ~= b.rule then return a.rule < b.rule end
    return a.message < b.message
  end)
  return findings
end

-- The table of docs/lint.md.
local function table_of_rules()
  local out = { "| rule | level | what | why |", "|---|---|---|---|" }
  for _, r in ipairs(M.rules) do
    out[#out + 1] = ("| %s | %s | %s | %s |"):format(r.id, r.level, r.title, r.why)
  end
  return table.concat(out, "\n") .. "\n"
end

--- For the command: the findings as JSON; with facts.rules ("text" or "json") the rules instead.
function M.main(facts, texts)
  if facts.rules == "text" then return table_of_rules() end
  local list = {}
  if facts.rules then
    for i, r in ipairs(M.rules) do list[i] = { rule = r.id, level = r.level, title = r.title, why = r.why } end
  else
    list = M.lint(facts, texts)
  end
  return #list > 0 and cjson.encode(list) or "[]"
end

M.members = members

return M
