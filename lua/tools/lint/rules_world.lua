-- Rules about the world outside: calls that may wait too long, secrets that stand in the text.
local known = require "lint.known"
local read = require "lint.read"

-- Locals that get `x.timeout = …` somewhere, and so are not judged.
local function timeout_set(file)
  if file.timeout_set then return file.timeout_set end
  local out = {}
  for _, index in ipairs(file.tree.all.Index) do
    if index.is_target and index.obj.tag == "Name" and index.obj.var
      and (index.key.tag ~= "String" or index.key.value == "timeout") then
      out[index.obj.var] = true
    end
  end
  file.timeout_set = out
  return out
end

-- ---- secrets ----

local SECRET_NAMES = {}
for word in ([[password passwd passphrase pwd secret token apikey api_key access_key accesskey secret_key
  secretkey private_key auth_token access_token refresh_token bearer credential credentials client_secret
  webhook_secret authorization x_api_key private_token x_auth_token df_api_key proxy_authorization
  cookie]]):gmatch "%S+" do
  SECRET_NAMES[word] = true
end

local function secret_name(name)
  name = name:lower():gsub("%-", "_")
  if SECRET_NAMES[name] then return true end
  for _, tail in ipairs { "_password", "_passwd", "_secret", "_token", "_api_key", "_apikey", "_secret_key" } do
    if name:sub(-#tail) == tail then return true end
  end
  return false
end

local SHAPES = {
  { "%f[%w]AKIA%u[%u%d]+", "an AWS access key", 20 },
  { "%f[%w]gh[pousr]_%w+", "a GitHub token", 36 },
  { "%f[%w]github_pat_[%w_]+", "a GitHub token", 30 },
  { "%f[%w]glpat%-[%w_-]+", "a GitLab token", 20 },
  { "%f[%w]xox[abprs]%-[%w-]+", "a Slack token", 15 },
  { "%f[%w]sk_live_%w+", "a Stripe key", 20 },
  { "%f[%w]AIza[%w_-]+", "a Google key", 35 },
  { "%f[%w]tkn_%x+", "a workspace token", 24 },
  { "%f[%w]eyJ[%w_-]+%.eyJ[%w_-]+%.[%w_-]+", "a JWT", 30 },
  { "%-%-%-%-%-BEGIN [%u ]*PRIVATE KEY%-%-%-%-%-", "a private key", 10 },
  { "[Bb]earer +[%w._~+/=-]+", "a bearer token", 20 },
  { "[Bb]asic +[%w+/]+=*", "a name and password", 16 },
  { "://[^/@%s:%%]+:[^/@%s%%]+@", "a password in an address", 8 },
  { "[?&]access_token=[%w._-]+", "a token in an address", 22 },
  { "[?&]api_?key=[%w._-]+", "a key in an address", 15 },
  { "[?&]token=[%w._-]+", "a token in an address", 15 },
  { "[?&]key=[%w._-]+", "a key in an address", 21 },
  { "[?&]secret=[%w._-]+", "a secret in an address", 16 },
  { "[?&]password=[%w._-]+", "a password in an address", 14 },
}

-- What stands for a value that somebody is to fill in, or names something.
local function placeholder(text)
  return #text < 6 or text:find "^[<%[{%$%%].*[>%]}%%]?$" or text:find "^(.)%1*$" or text:find "%s"
    or text:lower():find "^x*example" or text:lower():find "^your" or text:lower():find "^change"
    or text:find "^/" or text:find "^https?://" or text:find "^Bearer *$" or text:find "^[%a]+_?[%a_]*$" and #text < 8
end

-- Bits for each byte.
local function entropy(text)
  local count, sum = {}, 0
  for i = 1, #text do
    local b = text:byte(i)
    count[b] = (count[b] or 0) + 1
  end
  for _, n in pairs(count) do sum = sum - n / #text * math.log(n / #text, 2) end
  return sum
end

-- A random text: letters of both cases and digits, with hardly a repetition.
local function random_looking(text)
  if #text < 24 or #text > 4000 or not text:find "^[%w+/_=-]+$" then return false end
  local _, digits = text:gsub("%d", "")
  local _, upper = text:gsub("%u", "")
  local _, lower = text:gsub("%l", "")
  return digits >= 3 and upper >= 3 and lower >= 3 and entropy(text) >= 4.2
end

local function secret_in(node)
  local text = node.value
  for _, shape in ipairs(SHAPES) do
    local hit = text:match(shape[1])
    if hit and #hit >= shape[3] and not hit:find "example" and not hit:find "EXAMPLE" and not hit:find "xxx" then
      return shape[2]
    end
  end
  local name = node.field or node.named
  if name == "default" and node.within_name then name = node.within_name end
  if name and secret_name(name) and not placeholder(text) then return ('a value of "%s"'):format(name) end
  if random_looking(text) then return "a random text" end
end

return {
  {
    id = "SM040", level = "warning", title = "call without a timeout",
    why = "Without `timeout` a call may take its default, 10 s for HTTP, whatever the inspection's own timeout is. Say how "
      .. "long this one may take.",
    check = function(file, say)
      local set = timeout_set(file)
      for _, call in ipairs(file.tree.all.Call) do
        local name = read.callee(call)
        local how = name and known.timed[name]
        local short = how and name:match "[^.]+%.[^.]+$"
        local default = how and how.default and (": it may take %g s"):format(how.default) or ""
        local function check(at, node)
          if not at then
            return say(node, "%s without a timeout%s", short, default)
          end
          local t = read.table(at)
          local named = at.tag == "Name" and at.var and set[at.var]
          if at.tag == "String" or at.tag == "Nil" or (t and not named and not t.by.timeout and read.closed(t)) then
            say(node, "%s without a timeout%s", short, default)
          end
        end
        if how and how.list then
          local t = call.args[how.list] and read.table(call.args[how.list])
          for _, f in ipairs(t and t.fields or {}) do
            if not f.key then check(f.value, f) end
          end
        elseif how then
          local last = call.args[#call.args]
          local spread = last and (last.tag == "Vararg" or last.tag == "Call" or last.tag == "Invoke")
          if call.args[how.opts] or not spread then
            check(call.args[how.opts], call)
          end
        end
      end
    end,
  },
  {
    id = "SM041", level = "warning", title = "secret in the text",
    why = "Passwords, tokens and keys belong in `secrets` of selfmon.conf.lua; the script says `secret \"name\"` and never "
      .. "sees the bytes. The finding does not repeat the value.",
    check = function(file, say)
      for _, t in ipairs(file.tree.all.Table) do
        for _, f in ipairs(t.fields) do
          -- params = { token = { type = "string", default = "…" } }
          if f.name and f.value.tag == "Table" and f.value.by.default then
            f.value.by.default.value.within_name = f.name
          elseif f.value.tag == "Binary" and f.name and secret_name(f.name) then
            for _, part in ipairs(read.parts(f.value)) do
              if part.tag == "String" and not part.field then part.named = part.named or f.name end
            end
          end
        end
      end
      for _, call in ipairs(file.tree.all.Call) do -- SM010 has these
        local t = read.is_monitor(call) and call.args[1] and read.table(call.args[1])
        for _, key in ipairs(t and { "api_key", "api_key_id" } or {}) do
          if t.by[key] then t.by[key].value.is_key = true end
        end
      end
      for _, node in ipairs(file.tree.all.String) do
        local what = not node.is_key and secret_in(node)
        if what then
          say(node, "%s stands in the script: put it in secrets of selfmon.conf.lua and use selfmon.secret", what)
        end
      end
    end,
  },
}
