-- Rules about `monitor{…}` and what it promises: keys, schedule, parameters, permissions.
local known = require "lint.known"
local read = require "lint.read"

-- The monitor tables of a file: { call, table }.
local function monitors(file)
  local out = {}
  for _, call in ipairs(file.tree.all.Call) do
    if read.is_monitor(call) and call.args[1] then
      local t = read.table(call.args[1])
      if t then out[#out + 1] = { call = call, table = t } end
    end
  end
  return out
end

local function check_keys(say, t, names, what)
  for _, f in ipairs(t.fields) do
    if f.name and not names[f.name] then
      say(f, '%sunknown key "%s"%s', what, f.name, read.hint(f.name, names[1]))
    end
  end
end

local function check_params(say, t)
  for _, f in ipairs(t.fields) do
    local p = f.value.tag == "Table" and f.value
    local kind = p and p.by.type and read.text(p.by.type.value)
    if kind and known.param_types[kind] then
      check_keys(say, p, known.param, ('params.%s: '):format(f.name or "?"))
    elseif kind and read.closed(p) and (p.by.default or p.by.doc or p.by.required) then
      say(p.by.type, 'params.%s: unknown type "%s"%s', f.name or "?", kind,
        read.hint(kind, known.param_types[1]))
    end
  end
end

-- Functions of this file that an inspection runs: name -> Function node; dynamic: those without a name.
local function functions(file)
  if file.run_functions then return file.run_functions, file.run_dynamic end
  local named, dynamic = {}, {}
  for _, node in ipairs(file.tree.all.Assign) do
    if node.is_function and node.targets[1].tag == "Name" and not node.targets[1].var then
      named[node.targets[1].name] = node.values[1]
    end
  end
  for _, m in ipairs(monitors(file)) do
    local run, name = m.table.by.run, m.table.by.name
    if run then
      local f = read.value(run.value)
      local text = not name and "run" or read.text(name.value)
      if f.tag == "Function" and text then
        named[text] = f
      elseif f.tag == "Function" then
        dynamic[#dynamic + 1] = f
      end
    end
  end
  file.run_functions, file.run_dynamic = named, dynamic
  return named, dynamic
end

-- What a function does with its table of parameters: fields it names, and whether the table goes
-- somewhere we do not follow.
local function used_params(file, fn)
  local used, escapes = {}, false
  local var = fn.params[1]
  if not var then return used, fn.vararg end
  local direct = 0
  for _, index in ipairs(file.tree.all.Index) do
    if index.obj.tag == "Name" and index.obj.var == var then
      direct = direct + 1
      if index.key.tag == "String" then
        used[index.key.value] = used[index.key.value] or index
        if index.is_target then used[index.key.value] = index end
      else
        escapes = true
      end
    end
  end
  return used, escapes or var.reads > direct or var.sets > 0
end

local function sorted(t)
  local out = {}
  for k in pairs(t) do out[#out + 1] = k end
  table.sort(out)
  return out
end

-- A permission that only some options need: whether they are among the arguments; second: nobody knows.
local function with_option(call, need)
  local arg = call.args[need.arg]
  if not arg then return false end
  local t = read.table(arg)
  for _, name in ipairs(t and need.with or {}) do
    if t.by[name] then return true end
  end
  local known_all = t and read.closed(t)
  return not known_all, not known_all
end

-- Calls of this file and of the modules below lib/ that it requires which need a permission:
-- { kind, value (nil: not in the text), node, file, maybe }.
local function uses(file, seen, out)
  out, seen = out or {}, seen or {}
  if not file or seen[file] or not file.tree then return out end
  seen[file] = true
  for _, call in ipairs(file.tree.all.Call) do
    local name = read.callee(call)
    local need = name and known.permissions[name]
    if need and need.with then
      local used, maybe = with_option(call, need)
      if used then
        out[#out + 1] = { kind = need.kind, value = need.value, node = call, file = file, name = name, maybe = maybe }
      end
    elseif need then
      local arg, value = call.args[need.arg], nil
      local t = arg and need.field and read.table(arg)
      if t then arg = t.by[need.field] and t.by[need.field].value end
      if arg and (t or not need.field or read.value(arg).tag == "String") then value = read.text(arg) end
      if need.below and value then -- of the files in a directory
        local opts = call.args[2] and read.table(call.args[2])
        local pattern = opts and opts.by.pattern
        local names = not call.args[2] and "*" or opts and (pattern and read.text(pattern.value) or not pattern and "*")
        value = names and value .. "/" .. names or nil
      end
      out[#out + 1] = { kind = need.kind, value = value, node = call, file = file, name = name }
    elseif name and known.options[name] then
      -- A client certificate is a file, when it is a path.
      local how = known.options[name]
      local t = call.args[how.at] and read.table(call.args[how.at])
      local cert = t and not how.list and t.by.cert
      if cert then
        local path = read.text(cert.value)
        if not path or path:sub(1, 1) == "/" then
          out[#out + 1] = { kind = "file", value = path, node = cert, file = file, name = name }
        end
      end
    end
    if name == nil and call.fn.tag == "Name" and not call.fn.var and call.fn.name == "require" then
      name = "require"
    end
    if name == "require" then
      local module = call.args[1] and read.text(call.args[1])
      local lib = module and module:match "^lib%." and file.others[module:gsub("%.", "/") .. ".lua"]
      if lib then uses(lib, seen, out) end
    end
  end
  return out
end

-- What stands before the colon of a permission: set, and list for hints.
local function kinds()
  local out, list = {}, {}
  for _, need in pairs(known.permissions) do
    if not out[need.kind] then
      out[need.kind] = true
      list[#list + 1] = need.kind
    end
  end
  table.sort(list)
  return out, list
end

local function asked(file)
  local out = {}
  for _, i in ipairs(file.inspections) do
    for _, p in ipairs(i.permissions or {}) do out[p] = out[p] or i end
  end
  return out
end

return {
  {
    id = "SM010", level = "warning", title = "API key in a script",
    why = "Keys in a script end up in version control. Put them in `accounts` of selfmon.conf.lua and name the account.",
    check = function(file, say)
      for _, i in ipairs(file.inspections) do
        if i.key then
          say(i.line, "%s: api_key_id and api_key do not belong in a script; put them in accounts of "
            .. "selfmon.conf.lua and name the account here", i.id)
        end
      end
    end,
  },
  {
    id = "SM011", level = "warning", title = "no schedule",
    why = "The inspection runs on demand only. Give it a `schedule`, here or in the configuration.",
    check = function(file, say)
      for _, i in ipairs(file.inspections) do
        if i.schedules == 0 then say(i.line, "%s: it has no schedule and runs on demand only", i.id) end
      end
    end,
  },
  {
    id = "SM012", level = "warning", title = "limit above the ceiling of the configuration",
    why = "The run gets the ceiling, not what it asks for.",
    check = function(file, say)
      for _, i in ipairs(file.inspections) do
        for _, note in ipairs(i.notes or {}) do say(i.line, "%s", note) end
      end
    end,
  },
  {
    id = "SM013", level = "error", title = "schedule that never fires",
    why = "Such as `0 0 30 2 *`: no 30th of February comes. The file does not load.",
    check = function(file, say)
      local message = file.error and file.error.message
      if message and message:find "never fires" then
        say(file.error.line, "%s", message)
      end
    end,
  },
  {
    id = "SM014", level = "warning", title = "schedule shorter than the timeout",
    why = "A run that takes its full time is not over when the next is due, which is then skipped. "
      .. "Set a `timeout` (30 s without one) that fits.",
    check = function(file, say)
      for _, i in ipairs(file.inspections) do
        if i.period and i.timeout > i.period then
          say(i.line, "%s: it is due every %g s, but a run may take %g s: set a timeout of less than %g s",
            i.id, i.period, i.timeout, i.period)
        end
      end
    end,
  },
  {
    id = "SM015", level = "error", title = "unknown key in `monitor`",
    why = "In `monitor{…}`, its `limits` and `events`, and in the declaration of a parameter.",
    check = function(file, say)
      for _, m in ipairs(monitors(file)) do
        check_keys(say, m.table, known.monitor, "monitor: ")
        for key, names in pairs(known.tables) do
          local f = m.table.by[key]
          local t = f and read.table(f.value)
          if t then check_keys(say, t, names, ("monitor: %s: "):format(key)) end
        end
        local params = m.table.by.params and read.table(m.table.by.params.value)
        if params then check_params(say, params) end
      end
    end,
  },
  {
    id = "SM016", level = "warning", title = "permission asked for and not used",
    why = "What a script does not need it should not be granted.",
    check = function(file, say)
      local used, all = uses(file), asked(file)
      local known_kinds, names = kinds()
      for _, p in ipairs(sorted(all)) do
        local kind, pattern = p:match "^(%a+):(.*)$"
        local hit = false
        for _, u in ipairs(used) do
          hit = hit or (u.kind == kind and (not u.value or u.value == pattern or read.glob(pattern, u.value)))
        end
        if not known_kinds[kind] then
          say(all[p].line, '%s: no module needs the permission "%s"%s', all[p].id, p,
            read.hint(kind or p, names))
        elseif not hit then
          say(all[p].line, '%s: the permission "%s" is asked for, but nothing here uses it', all[p].id, p)
        end
      end
    end,
  },
  {
    id = "SM017", level = "warning", title = "permission used and not asked for",
    why = "`permissions` tells the operator what to grant; without it the call raises.",
    check = function(file, say)
      if #file.inspections == 0 then return end
      local all, told = asked(file), {}
      for _, u in ipairs(uses(file)) do
        local hit, any = false, false
        for p in pairs(all) do
          local kind, pattern = p:match "^(%a+):(.*)$"
          any = any or kind == u.kind
          hit = hit or (u.value and kind == u.kind and (u.value == pattern or read.glob(pattern, u.value)))
        end
        local what = u.value and ("%s:%s"):format(u.kind, u.value) or u.kind .. ":…"
        if not u.maybe and not told[what] and not (hit or (not u.value and any)) then
          told[what] = true
          say(u.file == file and u.node or file.inspections[1].line,
            '%s needs the permission "%s"%s, which `monitor` does not ask for', u.name, what,
            u.file == file and "" or " (in " .. u.file.name .. ")")
        end
      end
    end,
  },
  {
    id = "SM018", level = "warning", title = "parameter declared and not used",
    why = "Somebody will set it and wonder.",
    check = function(file, say)
      local named = functions(file)
      for _, i in ipairs(file.inspections) do
        local fn = named[i.fn]
        if fn and #(i.params or {}) > 0 then
          local used, escapes = used_params(file, fn)
          for _, name in ipairs(escapes and {} or i.params) do
            if not used[name] then say(i.line, '%s: the parameter "%s" is never used', i.id, name) end
          end
        end
      end
    end,
  },
  {
    id = "SM019", level = "error", title = "parameter used and not declared",
    why = "Only declared parameters reach the script; any other is nil.",
    check = function(file, say)
      local named, dynamic = functions(file)
      local function check(fn, params, id)
        local declared = {}
        for _, name in ipairs(params) do declared[name] = true end
        local used = used_params(file, fn)
        for _, name in ipairs(sorted(used)) do
          if not declared[name] and not used[name].is_target then
            say(used[name], '%s: the parameter "%s" is not declared%s', id, name, read.hint(name, params))
          end
        end
      end
      local union, any = {}, nil
      for _, i in ipairs(file.inspections) do
        if named[i.fn] then check(named[i.fn], i.params or {}, i.id) end
        for _, name in ipairs(i.params or {}) do union[#union + 1] = name end
        any = i.id
      end
      for _, fn in ipairs(any and dynamic or {}) do check(fn, union, any) end
    end,
  },
}
