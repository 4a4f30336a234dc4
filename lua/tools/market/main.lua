-- What `market` and docs/inspections.md know of inspections: what they register, what they require.
--
-- main(facts, texts) -> text. facts.names[i] is the file of texts[i]; facts.op is "needs" (JSON: file -> the
-- modules below lib/ it requires, directly or not; only read, never run), "list" (JSON: one object for each
-- script, loaded in the sandbox: for what the program itself ships), "doc" (docs/inspections.md) or "diff"
-- (of texts[1] and texts[2]). Called by worker/toolcmd for src/cli/cmd_market.c.
local cjson = require "cjson"
local diff = require "market.diff"
local parse = require "lint.parse"
local read = require "lint.read"

local function is_script(name)
  return not name:find "^lib/" and not name:find "_spec%.lua$" and not name:find "^_" and not name:find "/_"
end

-- The modules a text names in `require "lib.…"`.
local function required(text)
  local out, tree = {}, parse(text)
  for _, call in ipairs(tree and tree.all.Call or {}) do
    local name = call.fn.tag == "Name" and not call.fn.var and call.fn.name == "require" and call.args[1]
      and read.text(call.args[1])
    if name and name:find "^lib%." then out[#out + 1] = (name:gsub("%.", "/")) .. ".lua" end
  end
  return out
end

-- file -> sorted list of the modules it needs.
local function needs(names, texts)
  local by_name, direct, out = {}, {}, {}
  for i, name in ipairs(names) do by_name[name] = texts[i] end
  local function of(name)
    direct[name] = direct[name] or required(by_name[name])
    return direct[name]
  end
  for _, name in ipairs(names) do
    local seen, list = { [name] = true }, {}
    local queue = { name }
    while #queue > 0 do
      for _, lib in ipairs(of(table.remove(queue))) do
        if by_name[lib] and not seen[lib] then
          seen[lib] = true
          list[#list + 1] = lib
          queue[#queue + 1] = lib
        end
      end
    end
    table.sort(list)
    out[name] = list
  end
  return out
end

local function array(list)
  return setmetatable(list, cjson.array_mt)
end

-- Parameters that a script's own texts ask for: "nothing to look at: set the parameter hosts".
local function asked_for(text)
  local out, tree = {}, parse(text)
  for _, node in ipairs(tree and tree.all.String or {}) do
    local name = node.value:match "set the parameters? ([%w_]+)"
    if name then out[name] = true end
  end
  return out
end

-- What each script registers: { name, file, spec, libs, inspections, asks }.
local function catalogue(names, texts)
  local internal = require "selfmon.internal"
  local libs, there, out = {}, {}, {}
  for i, name in ipairs(names) do
    there[name] = true
    if name:find "^lib/" then libs[name] = texts[i] end
  end
  local wants = needs(names, texts)
  for i, name in ipairs(names) do
    if is_script(name) then
      local loaded, err = internal.load(texts[i], { file = name, libs = libs })
      if not loaded then error(name .. ": " .. err, 0) end
      local spec = name:gsub("%.lua$", "_spec.lua")
      out[#out + 1] = { name = name:match "^(.*)%.lua$", file = name, spec = there[spec] and spec or nil,
                        libs = array(wants[name]), inspections = loaded.inspections, asks = asked_for(texts[i]) }
    end
  end
  table.sort(out, function(a, b) return a.name < b.name end)
  return out
end

-- A default as a person writes it.
local function shown(v)
  if v == nil or v == cjson.null then return "" end
  if type(v) ~= "table" then return tostring(v) end
  local n, parts = #v, {}
  for _, one in ipairs(v) do parts[#parts + 1] = shown(one) end
  if n > 0 then return table.concat(parts, ", ") end
  for key, one in pairs(v) do parts[#parts + 1] = ("%s = %s"):format(key, shown(one)) end
  table.sort(parts)
  return table.concat(parts, ", ")
end

local function first_sentence(doc)
  local text = doc:gsub("%s+", " "):gsub("^ ", "")
  return (text:match "^(.-[.:])%f[%s%z]" or text):gsub(":$", "")
end

local function summary(entry)
  local out = { name = entry.name, file = entry.file, inspections = array {}, params = array {},
                permissions = array {}, tags = array {}, libs = entry.libs, spec = entry.spec or cjson.null }
  local seen = {}
  for _, i in ipairs(entry.inspections) do
    out.title = out.title or i.title
    out.checks = out.checks or first_sentence(i.doc)
    table.insert(out.inspections, entry.name .. "." .. i.fn)
    for _, p in ipairs(i.permissions) do table.insert(out.permissions, p) end
    for _, t in ipairs(i.tags) do table.insert(out.tags, t) end
    for _, p in ipairs(i.params) do
      if not seen[p.name] and (p.required or entry.asks[p.name]) then
        seen[p.name] = true
        table.insert(out.params, p.name)
      end
    end
  end
  return out
end

local function cell(text)
  return (text:gsub("%s*\n%s*", " "):gsub("|", "\\|"))
end

local HEAD = [[
# Inspections that come with the program

Generated from the scripts by `selfmon-lua market doc`. Each is a small script to read, to run as it is, or to change:

```sh
selfmon-lua market list
selfmon-lua market install host/disk tls/certificate
selfmon-lua test inspections/
```

`install` copies script, spec and the modules it requires into your folder `inspections`; `market upgrade` brings newer
versions later and leaves what you changed alone. What an inspection is to look at is set by its parameters, in the
configuration, on the platform or in your copy; without that it says in its log what is missing, and reports nothing.
Permissions are granted in `selfmon.conf.lua` (`grant`).
]]

local function doc(entries)
  local out = { HEAD, "| name | what it checks | tags |", "|---|---|---|" }
  for _, e in ipairs(entries) do
    local s = summary(e)
    out[#out + 1] = ("| [%s](#%s) | %s | %s |"):format(e.name, e.name:lower():gsub("[^%w_-]", ""), cell(s.title),
      table.concat(s.tags, ", "))
  end
  for _, e in ipairs(entries) do
    out[#out + 1] = ("\n## %s"):format(e.name)
    for _, i in ipairs(e.inspections) do
      out[#out + 1] = ("\n**%s** (`%s.%s`)\n"):format(i.title, e.name, i.fn)
      out[#out + 1] = i.doc .. (i.doc ~= "" and "\n" or "")
      local how = {}
      how[#how + 1] = #i.schedule > 0 and "runs " .. "`" .. table.concat(i.schedule, "`, `") .. "`"
        or "runs on demand"
      how[#how + 1] = ("timeout %g s"):format(i.timeout)
      if #i.tags > 0 then how[#how + 1] = "tags " .. table.concat(i.tags, ", ") end
      out[#out + 1] = "- " .. table.concat(how, "; ")
      if #i.permissions > 0 then
        out[#out + 1] = "- needs the permission `" .. table.concat(i.permissions, "`, `") .. "`"
      end
      if #e.libs > 0 then out[#out + 1] = "- uses `" .. table.concat(e.libs, "`, `") .. "`" end
      if #i.params > 0 then
        out[#out + 1] = "\n| parameter | type | default | |\n|---|---|---|---|"
        for _, p in ipairs(i.params) do
          local rule = {}
          if p.required then rule[#rule + 1] = "required" end
          if p.enum then rule[#rule + 1] = "one of " .. shown(p.enum) end
          if p.min then rule[#rule + 1] = "from " .. shown(p.min) end
          if p.max then rule[#rule + 1] = "to " .. shown(p.max) end
          local text = p.doc or ""
          if #rule > 0 then text = text .. (text ~= "" and "; " or "") .. table.concat(rule, " ") end
          local default = shown(p.default)
          out[#out + 1] = ("| `%s` | %s | %s | %s |"):format(p.name,
            p.items and ("%s of %s"):format(p.type, p.items) or p.type,
            default ~= "" and "`" .. cell(default) .. "`" or "", cell(text))
        end
      end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

local OPS = {
  needs = function(facts, texts)
    local out = needs(facts.names, texts)
    for _, list in pairs(out) do array(list) end
    return cjson.encode(out)
  end,
  list = function(facts, texts)
    local out = array {}
    for _, e in ipairs(catalogue(facts.names, texts)) do table.insert(out, summary(e)) end
    return cjson.encode(out)
  end,
  doc = function(facts, texts) return doc(catalogue(facts.names, texts)) end,
  diff = function(facts, texts) return diff(texts[1], texts[2], facts.names[1], facts.names[2]) end,
}

return { main = function(facts, texts) return OPS[facts.op](facts, texts) end }
