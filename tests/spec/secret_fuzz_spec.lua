-- No sequence of a script's operations puts a secret's bytes into log, event, error or traceback: neither of the
-- opaque value itself, nor of a copy that a server sent back (the worst a script can get hold of), as it is, as
-- JSON, URL, base64 or hex. Random scripts in the real sandbox; SELFMON_FUZZ_SEED and SELFMON_FUZZ_RUNS choose
-- others. A failure shows seed, script and where the bytes were.
local internal = require "selfmon.internal"
local crypto = require "selfmon.crypto"
local cjson = require "cjson"

local SEED = tonumber(os.getenv "SELFMON_FUZZ_SEED") or 20261122
local RUNS = tonumber(os.getenv "SELFMON_FUZZ_RUNS") or 3000

local function pick(list) return list[math.random(#list)] end

-- Secrets --------------------------------------------------------------------------------------------------

local ALPHABETS = {
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
  "0123456789abcdef",
  "abc+/=%&? \"'\\<>|#;:~`$(){}[]*_-.,!@^",
  "aé中😀ßñ",
  "ab \t\r\n\"\\",
}

local function letters(alphabet)
  local list = {}
  for _, code in utf8.codes(alphabet) do list[#list + 1] = utf8.char(code) end
  return list
end

local function new_secret()
  local kind = math.random(7)
  if kind == 6 then -- any bytes
    local bytes = {}
    for i = 1, math.random(8, 40) do bytes[i] = string.char(math.random(1, 255)) end
    return table.concat(bytes)
  elseif kind == 7 then -- a key over several lines
    local lines = { "-----BEGIN KEY-----" }
    for i = 2, math.random(3, 9) do lines[i] = crypto.sha256(tostring(math.random())):sub(1, 64) end
    return table.concat(lines, "\n") .. "\n"
  end
  local from, out = letters(ALPHABETS[kind]), {}
  for i = 1, math.random(8, pick { 12, 40, 300 }) do out[i] = pick(from) end
  return table.concat(out)
end

-- Every spelling that must not show, by name.
local function spellings(secret)
  local function url(plus)
    return (secret:gsub("[^%w%-_.~]", function(c) return plus and c == " " and "+" or ("%%%02X"):format(c:byte()) end))
  end
  local list = { raw = secret, url = url(false), form = url(true), hex = crypto.hex(secret), HEX = crypto.hex(secret):upper() }
  local ok, json = pcall(cjson.encode, secret)
  if ok then list.json = json:sub(2, -2) end
  -- Sentences shorten what they quote; what is left of a long secret must not show either.
  if #secret >= 40 and not secret:find "BEGIN" then list.beginning = secret:sub(1, 20) end
  for offset = 0, 2 do
    local text = crypto.base64(("x"):rep(offset) .. secret)
    local first, last = (8 * offset + 5) // 6, 8 * (offset + #secret) // 6
    list["base64 " .. offset] = text:sub(first + 1, last)
  end
  return list
end

-- Scripts --------------------------------------------------------------------------------------------------

-- Expressions: s is the secret, e what the server sent back.
local VALUES = {
  "s", "e", "e", "tostring(s)", "e .. '!'", "'before ' .. e", "('%s'):format(e)", "('<%s|%s>'):format(e, e)", "e:rep(3)", "e:rep(2, '\\n')",
  "cjson.encode{ e }", "cjson.encode{ key = e, list = { 1, e } }", "crypto.base64(e)", "crypto.base64('a' .. e .. 'b')", "crypto.base64('ab' .. e)",
  "crypto.hex(e)", "crypto.hex(e):upper()", "table.concat({ 'x', e, 'y' }, ', ')", "('x'):rep(120) .. e", "e .. ('y'):rep(200)", "('z'):rep(250) .. e",
  "('中'):rep(85) .. e", "('q'):rep(1010) .. e", "('w'):rep(4080) .. e", "'a\\tb\\n' .. e .. '\\nc'", "e:gsub('.', '%0')", "e:sub(1, -1)",
  "url(e)", "url(e, true)", "markdown.link('x', 'https://a/' .. e)", "time.format(0, '%Y') .. e", "{ e }", "{ a = { b = e } }", "{ [e] = 1 }", "{ s }",
  "crypto.base64(cjson.encode{ e })", "load and e", "tostring(e)", "select(2, pcall(error, e))", "select(2, pcall(function() return 'x' .. s end))",
  "select(2, pcall(function() error(e) end))", "select(2, pcall(http.get, e))", "select(2, http.get('http://127.0.0.1:1/' .. url(e)))",
  "select(2, pcall(time.parse, e, e))", "select(2, time.parse(e))", "select(2, pcall(cjson.decode, e))", "select(2, pcall(string.rep, s))",
  "select(2, pcall(stats.mean, { e }))", "select(2, pcall(require, e))", "select(2, pcall(crypto.hmac, e, s, 'x'))", "os.date '%F ' .. e",
  "select(2, load(e))", "select(2, load('error(' .. ('%q'):format(e) .. ')'))", "select(2, pcall(load('error(...)'), e))", "coroutine.wrap(function() return e end)()",
  "select(2, coroutine.resume(coroutine.create(error), e))", "setmetatable({}, { __tostring = function() return e end })",
  "setmetatable({}, { __name = e })", "select(2, pcall(setmetatable({}, { __index = function() error(e) end }).x))",
  "select(2, xpcall(error, function(m) return m .. tostring(s) end, e))", "params", "ctx", "select(2, pcall(markdown.table, { { { e } } }, { e }))",
  "select(2, secret 'other')", "select(2, pcall(secret, e))", "select(2, pcall(http.request, { url = 'https://a.example/', [e] = 1 }))",
  "select(2, pcall(http.get, 'https://a.example/', { headers = { ['X-' .. e] = s } }))", "res", "res.body", "res.headers", "res.headers.echo", "res.url",
}

local SINKS = {
  "print(@)", "print(@, 1, @)", "log.info(tostring(@))", "log.warn('x', { field = @ })", "log.error('x', { list = { @, @ }, n = 1 })", "log.debug('y', { [tostring(@)] = 1 })",
  "log.info(('v'):rep(4000) .. tostring(@))", "pcall(error, @)", "error(@)", "error(tostring(@), 0)", "error(tostring(@), 2)", "assert(false, @)",
  "error{ @ }", "report{ title = tostring(@) }", "report{ message = tostring(@) }", "report{ title = tostring(@), message = tostring(@) }",
  "report{ dimension_tags = { t = tostring(@) } }", "report{ dimension_tags = { [tostring(@)] = 'v' } }", "report{ dimension_tags = { t = @ } }",
  "report{ status = @ }", "report{ [tostring(@)] = 1 }", "report(@)", "local x = @ + 1", "local x = @ .. {}", "local x = @ < 1", "local x = (@)()", "local x = #(@)",
  "local x = (@).field.field", "string.rep(@)", "tostring()", "time.format(0, tostring(@))", "time.duration(tostring(@))", "time.sleep(@)", "require(tostring(@))",
  "http.get(tostring(@))", "http.get('https://a.example/', { query = { q = tostring(@) }, auth = { bearer = s } })",
  "http.post('https://a.example/', { body = s, headers = { Authorization = s } })", "http.get('https://a.example/', { auth = { 'user', s }, timeout = @ })",
  "http.get('https://unfaked.example/', { auth = { bearer = s } })", "http.post('https://a.example/' .. url(e), { form = { [tostring(@)] = s } })",
  "crypto.hmac('sha256', s, tostring(@))", "print(crypto.hmac('sha256', s, 'x'))", "cjson.decode(tostring(@))", "cjson.encode(@)", "load(tostring(@))()",
  "load('local function f() error(...) end f(...)')(@)", "coroutine.wrap(function() error(@) end)()", "setmetatable({}, { __gc = function() error(@) end }) collectgarbage()",
  "local t <close> = setmetatable({}, { __close = function() error(@) end })", "goto_(@)", "(function() local up = @ return error(up) end)()", "monitor(@)", "EventReporter(@)",
  "store.set(tostring(@), 1)", "stats.quantile({ 1 }, @)", "markdown.list(@)", "secret(@)", "for i = 1, @ do end", "for k, v in pairs(@) do print(k, v) end",
  "xpcall(function() error(@) end, function(m) print(m) error(m) end)", "print(select(2, pcall(error, setmetatable({}, { __tostring = function() return e end }))))",
}

local function statement()
  return (pick(SINKS):gsub("@", function() return pick(VALUES) end))
end

local function script()
  local lines = {}
  for i = 1, math.random(1, 12) do
    local line = statement()
    -- Most are caught, so that the run goes on; the last one ends it as it likes.
    if math.random() < 0.85 then
      line = ("do local ok, m = pcall(function() %s end) %s end"):format(line, pick { "", "print(m)", "log.warn('caught', { m = m })", "if not ok then report{ message = tostring(m) } end" })
    else
      line = "do " .. line .. " end"
    end
    lines[i] = line
  end
  return ([[
local secret, http, log, time = require "selfmon.secret", require "selfmon.http", require "selfmon.log", require "selfmon.time"
local crypto, cjson, stats, markdown, store = require "selfmon.crypto", require "cjson", require "selfmon.stats", require "selfmon.markdown", require "selfmon.store"
monitor{ title = "fuzz", permissions = { "secret:*" }, params = { p = "" } }
function run(params, ctx)
local s = secret "shop"
local res = http.get("https://echo.example/", { auth = { bearer = s } })
local e = res.body
local reporter
local function url(t, plus) return (t:gsub("[^%%w%%-_.~]", function(c) return plus and c == " " and "+" or ("%%%%%%02X"):format(c:byte()) end)) end
local function report(event)
  if type(event) == "table" then
    for k, v in pairs{ title = "t", message = "m", status = "error" } do if event[k] == nil then event[k] = v end end
  end
  reporter = reporter or EventReporter()
  return reporter:report(event)
end
%s
end]]):format(table.concat(lines, "\n"))
end

-- Where texts of a result hold a spelling.
local function found_in(value, list, where)
  if type(value) == "string" then
    for name, text in pairs(list) do
      if value:find(text, 1, true) then return where .. ": " .. name end
    end
  elseif type(value) == "table" then
    for k, v in pairs(value) do
      local hit = found_in(k, list, where .. " key") or found_in(v, list, where .. "." .. tostring(k))
      if hit then return hit end
    end
  end
end

describe("a secret", function()
  it(("shows in nothing that %d random scripts leave behind (seed %d)"):format(RUNS, SEED), function()
    local outcomes, masked, statements, texts = {}, 0, 0, 0
    for i = 1, RUNS do
      math.randomseed(SEED, i)
      local secret, source = new_secret(), script()
      assert(load(source, "=fuzz", "t"))
      local list = spellings(secret)
      local r = internal.run(source, "run", { p = "x" }, {
        file = "fuzz.lua", grants = { "secret:*" }, secrets = { shop = secret }, timeout = 20, cpu = 10,
        http = function(request)
          if request.url == "https://echo.example/" then
            return { status = 200, body = secret, headers = { echo = crypto.base64(secret) } }
          elseif request.url:find "^https://a.example" then
            return { status = 200, body = request.body or "", headers = {} }
          end
          return nil, "the server says " .. secret, "connect"
        end,
      })
      outcomes[r.outcome] = (outcomes[r.outcome] or 0) + 1
      statements = statements + select(2, source:gsub("\ndo ", ""))
      local shown = { log = r.log, error = r.error, traceback = r.traceback, events = r.events }
      local hit = found_in(shown, list, "result")
      if hit then
        error(("seed %d, run %d: the secret %q is in %s\n%s\n%s"):format(SEED, i, secret, hit, source, tostring(r.error)), 0)
      end
      local text = tostring(r.log) .. tostring(r.error) .. cjson.encode(r.events or {})
      texts = texts + #text
      if text:find("***", 1, true) then masked = masked + 1 end
    end
    local sorted = {}
    for name, n in pairs(outcomes) do sorted[#sorted + 1] = name .. " " .. n end
    table.sort(sorted)
    print(("# secret fuzz: seed %d, %d scripts, %d statements, %d bytes looked at; %d scripts had something masked; outcomes: %s")
      :format(SEED, RUNS, statements, texts, masked, table.concat(sorted, ", ")))
    -- The test must be able to fail: most scripts do carry the bytes to a sink.
    assert.is_true(masked > RUNS / 5, masked)
    assert.is_true((outcomes.ok or 0) > RUNS / 50 and (outcomes.failed or 0) > RUNS / 10, table.concat(sorted, ", "))
  end)
end)
