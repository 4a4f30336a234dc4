-- Rules about the Lua of a script: globals, modules, names that are nearly right.
local known = require "lint.known"
local read = require "lint.read"

-- A file that plays with its environment is not judged by names.
local function plays(file)
  for _, n in ipairs(file.tree.all.Name) do
    if n.name == "_ENV" then return true end
    if n.name == "_G" and not n.var then return true end
  end
end

-- Globals that a file sets: name -> true when its main chunk does.
local function set_by(file)
  if file.sets_globals then return file.sets_globals end
  local out = {}
  for _, n in ipairs(file.tree.all.Name) do
    if n.is_target and not n.var then out[n.name] = out[n.name] or n.func.main or false end
  end
  file.sets_globals = out
  return out
end

-- Names of locals of the file that could be meant.
local function names_near(file)
  if file.names_near then return file.names_near end
  local out, seen = {}, {}
  local function add(name)
    if not seen[name] and #out < 300 then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  for name in pairs(set_by(file)) do add(name) end
  for _, n in ipairs(file.tree.all.Name) do
    if n.var then add(n.name) end
  end
  table.sort(out)
  for _, name in ipairs(known.globals[1]) do add(name) end
  file.names_near = out
  return out
end

-- The nearest of them that is another name.
local function hint_near(word, file)
  local others = {}
  for _, name in ipairs(names_near(file)) do
    if name ~= word then others[#others + 1] = name end
  end
  return read.hint(word, others)
end

local function check_options(say, name, t, names)
  for _, f in ipairs(t.fields) do
    if f.name and not names[f.name] then
      say(f, '%s: unknown option "%s"%s', name:match "[^.]+%.[^.]+$", f.name, read.hint(f.name, names[1]))
    end
  end
end

return {
  {
    id = "SM030", level = "warning", title = "global set inside a function",
    why = "It is forgotten at the end of the run; a forgotten `local` is the usual cause.",
    check = function(file, say)
      if plays(file) then return end
      local sets = set_by(file)
      for _, n in ipairs(file.tree.all.Name) do
        if n.is_target and not n.var and not n.func.main and not sets[n.name] then
          say(n, 'the global "%s" is set here: write local %s%s', n.name, n.name,
            (hint_near(n.name, file):gsub("^; did", ", or did")))
        end
      end
    end,
  },
  {
    id = "SM031", level = "warning", title = "undefined global",
    why = "Nothing sets it, so it is nil.",
    check = function(file, say)
      if plays(file) then return end
      local sets, line = set_by(file), {}
      for _, n in ipairs(file.tree.all.Name) do
        if not n.var and not n.is_target and not known.globals[n.name] and sets[n.name] == nil
          and not file.lib_globals[n.name] and line[n.name] ~= n.line then
          line[n.name] = n.line
          say(n, 'the global "%s" is not defined%s', n.name, hint_near(n.name, file))
        end
      end
    end,
  },
  {
    id = "SM032", level = "error", title = "unknown module",
    why = "A script can require `selfmon.*`, `cjson` and the files below `lib/`.",
    check = function(file, say)
      for _, call in ipairs(file.tree.all.Call) do
        if call.fn.tag == "Name" and not call.fn.var and call.fn.name == "require" and call.args[1] then
          local name = read.text(call.args[1])
          if name and name:find "^lib%." then
            local path = name:gsub("%.", "/") .. ".lua"
            if not file.others[path] then
              say(call, 'module "%s" not found: no file %s%s', name, path, read.hint(path, file.libs))
            end
          elseif name and not file.modules[name] then
            say(call, 'module "%s" not found%s', name, read.hint(name, file.module_names))
          end
        end
      end
    end,
  },
  {
    id = "SM033", level = "error", title = "unknown function of a module",
    why = "The name is nil and calling it raises.",
    check = function(file, say)
      for _, index in ipairs(file.tree.all.Index) do
        if not index.is_target and index.key.tag == "String" then
          local of = read.path(index.obj)
          local members = of and file.members(of)
          if members and rawget(members, index.key.value) == nil then
            local names = {}
            for name in pairs(members) do
              if type(name) == "string" then names[#names + 1] = name end
            end
            table.sort(names)
            say(index, '%s has no "%s"%s', of, index.key.value, read.hint(index.key.value, names))
          end
        end
      end
    end,
  },
  {
    id = "SM034", level = "error", title = "unknown option of a call",
    why = "The call raises; the nearest right name is told.",
    check = function(file, say)
      for _, call in ipairs(file.tree.all.Call) do
        local name = read.callee(call)
        local how = name and known.options[name]
        local t = how and call.args[how.at] and read.table(call.args[how.at])
        if t and how.list then
          for _, f in ipairs(t.fields) do
            local one = not f.key and read.table(f.value)
            if one then check_options(say, name, one, how.names) end
          end
        elseif t then
          check_options(say, name, t, how.names)
        end
      end
    end,
  },
}
