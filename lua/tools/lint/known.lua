-- What scripts may use: globals of the sandbox, modules, keys of tables, functions with a time limit.
-- tests/spec/lint_spec.lua compares these lists with what the program accepts.
local M = {}

local function set(words)
  local out, list = {}, {}
  for word in words:gmatch "%S+" do
    out[word] = true
    list[#list + 1] = word
  end
  out[1] = list -- the names in their order, for hints
  return out
end

M.globals = set [[_G _VERSION assert collectgarbage coroutine error EventReporter getmetatable ipairs load
  math monitor next os pairs pcall print rawequal rawget rawlen rawset require select setmetatable string
  table tonumber tostring type utf8 xpcall]]

M.os = set "time date clock difftime"

M.monitor = set [[title doc schedule timezone timeout params account api_key_id api_key node category tags
  permissions limits events overlap missed first_run retry was name run]]
M.tables = { -- of monitor
  limits = set "memory cpu events log http",
  events = set "recover on_change confirm remind max_dimensions max_events",
}
M.param = set "type default required min max enum items order doc"
M.param_types = set "string number integer boolean list table duration any"

M.event = set "title message status dimension_tags"
M.event_required = { "title", "message", "status" }
M.statuses = set "info warning error critical ok"

-- Functions that wait for the world: where their options stand, or `list`: one table of such. `default`
-- is the limit without `timeout`, in seconds.
M.timed = {
  ["selfmon.http.get"] = { opts = 2, default = 10 },
  ["selfmon.http.post"] = { opts = 2, default = 10 },
  ["selfmon.http.put"] = { opts = 2, default = 10 },
  ["selfmon.http.patch"] = { opts = 2, default = 10 },
  ["selfmon.http.delete"] = { opts = 2, default = 10 },
  ["selfmon.http.head"] = { opts = 2, default = 10 },
  ["selfmon.http.request"] = { opts = 1, default = 10 },
  ["selfmon.http.all"] = { list = 1, default = 10 },
}

-- Options of a call, where the module takes a table of them.
local http = set [[method headers query body json form timeout follow verify auth ca cert proxy max_body]]
local http_url = set [[method headers query body json form timeout follow verify auth ca cert proxy max_body
  url]]
M.options = {}
for name, how in pairs(M.timed) do
  M.options[name] = { at = how.opts or how.list, list = how.list ~= nil,
                      names = (how.list or name == "selfmon.http.request") and http_url or http }
end

-- Which permission a call needs: from its first argument, or from a field of its options.
M.permissions = {
  ["selfmon.secret"] = { kind = "secret", arg = 1 },
  ["selfmon.host.file.stat"] = { kind = "file", arg = 1 },
  ["selfmon.host.file.read"] = { kind = "file", arg = 1 },
  ["selfmon.host.file.tail"] = { kind = "file", arg = 1 },
  ["selfmon.host.file.list"] = { kind = "file", arg = 1, below = true },
  ["selfmon.exec.run"] = { kind = "exec", arg = 1, field = "cmd" },
  ["selfmon.exec.nagios"] = { kind = "exec", arg = 1, field = "cmd" },
  -- Needed only with one of these options.
  ["selfmon.host.processes"] = { kind = "processes", arg = 1, value = "cmdline", with = { "cmdline", "match" } },
}

-- Names of the options of a type of the API ("selfmon.exec.Options", "selfmon.net.Target[]") -> set, list;
-- nil when it is no table with named fields.
local function options_of(kind, types)
  for word in (kind or ""):gmatch "[%w_.]+%[?%]?" do
    local t = types[(word:gsub("%[%]$", ""))]
    if t and #t.fields > 0 then
      local names, plain = {}, true
      for _, f in ipairs(t.fields) do
        names[#names + 1] = f[1]
        plain = plain and f[1]:find "^[%a_][%w_]*$" ~= nil
      end
      if plain then return set(table.concat(names, " ")), word:find "%[%]$" ~= nil end
    end
  end
end

--- Adds what the table of the API says of functions that are not listed above: their options, whether there
--- is a `timeout` among them, the permission they need. `modules` as kit.api has them.
function M.learn(modules)
  local types = {}
  for _, module in ipairs(modules) do
    for _, t in ipairs(module.types) do types[t.name] = t end
  end
  for _, module in ipairs(modules) do
    for _, fn in ipairs(module.globals and {} or module.functions) do
      local name = fn.name == "()" and module.module or module.module .. "." .. fn.name
      for i, param in ipairs(fn.params or {}) do
        local names, list = options_of(param[2], types)
        if names and not M.options[name] then M.options[name] = { at = i, list = list, names = names } end
        if names and names.timeout and not M.timed[name] then
          M.timed[name] = { opts = not list and i or nil, list = list and i or nil }
        end
      end
      local kind = fn.permission and fn.permission:match "^(%l+):"
      if kind and not M.permissions[name] then M.permissions[name] = { kind = kind, arg = 1 } end
    end
  end
end

return M
