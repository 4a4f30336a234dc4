-- Fixtures of selfmon.testing: what the world answered once, kept in a JSON file beside the spec and played
-- back from then on. `selfmon-lua test --record` asks the world and writes the file.
local cjson = require "cjson"
local internal = require "selfmon.internal"

local M = { api = {} }

local FORMAT = 1
local LISTS = { "http", "exec" }
local SECRET_HEADERS = { ["set-cookie"] = true, authorization = true, ["proxy-authorization"] = true, cookie = true }
local SECRET_NAMES = { "token", "secret", "passw", "api_?%-?key", "credential", "session", "cookie" }

local recording = false -- the command was given --record
local files = {}        -- path -> { http = { {request, answer}, … }, changed }, of this process when recording
local running           -- the spec file that the runner is at
local tape              -- of the current test: { path, entries, asked }

--- For the command: record from now on.
function M.record()
  recording = true
end

-- A JSON text with sorted names, two blanks a level, that decodes to the same.
local function write_json(v, out, margin)
  if type(v) ~= "table" then
    out[#out + 1] = (cjson.encode(v):gsub("\\/", "/"))
    return
  end
  local inner, list = margin .. "  ", #v > 0 or getmetatable(v) == cjson.array_mt or v == cjson.empty_array
  local names = {}
  for name in pairs(v) do names[#names + 1] = name end
  if #names == 0 then
    out[#out + 1] = list and "[]" or "{}"
    return
  end
  if not list then table.sort(names) end
  out[#out + 1] = list and "[" or "{"
  for i, name in ipairs(names) do
    out[#out + 1] = (i > 1 and "," or "") .. "\n" .. inner
    if not list then out[#out + 1] = (cjson.encode(name):gsub("\\/", "/")) .. ": " end
    write_json(v[list and i or name], out, inner)
  end
  out[#out + 1] = "\n" .. margin .. (list and "]" or "}")
end

local function pretty(v)
  local out = {}
  write_json(v, out, "")
  return table.concat(out) .. "\n"
end

local function save(path, file)
  local whole = { format = FORMAT, recorded = os.date "!%Y-%m-%dT%H:%M:%SZ" }
  for _, name in ipairs(LISTS) do
    table.sort(file[name], function(a, b)
      if a.request ~= b.request then return a.request < b.request end
      return a.number < b.number
    end)
    local list = setmetatable({}, cjson.array_mt)
    for i, entry in ipairs(file[name]) do list[i] = { request = entry.request, answer = entry.answer } end
    if #list > 0 or name == "http" then whole[name] = list end
  end
  local folder = path:match "^(.*)/"
  if folder then require "lfs".mkdir(folder) end
  local f, err = io.open(path, "w")
  if not f then error("t.record: cannot write " .. err, 0) end
  f:write(pretty(whole))
  f:close()
  file.changed = false
end

--- The end of a test: writes what was recorded, forgets the tape.
function M.reset()
  local last = tape
  tape = nil
  if last and recording and files[last.path].changed then save(last.path, files[last.path]) end
end

local function load_tape(path, hint)
  local f = io.open(path, "rb")
  if not f then return nil, ("t.record: %s is not there; record it: %s"):format(path, hint) end
  local text = f:read "a"
  f:close()
  local ok, file = pcall(cjson.decode, text)
  local good = ok and type(file) == "table" and file.format == FORMAT
  for _, list in ipairs(good and LISTS or {}) do
    file[list] = file[list] or {}
    good = good and type(file[list]) == "table"
    for _, entry in ipairs(good and file[list] or {}) do
      good = good and type(entry) == "table" and type(entry.request) == "string" and type(entry.answer) == "table"
    end
  end
  if good then return file end
  return nil, ("t.record: %s is not a recording of this version; record it again: %s"):format(path, hint)
end

--- The spec that calls, by the stack; else (its frame may be gone after a tail call) the one that runs.
function M.spec_file()
  for level = 3, 40 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    local file = info.source:match "^@(.*_spec%.lua)$"
    if file then return file end
  end
  return running
end

--- The runner begins with a file.
function M.begins(file)
  running = file
end

--- Plays back what the world answered when `fixtures/NAME.json` beside the spec was recorded; recorded by
--- `selfmon-lua test --record`. Routes of t.http go first.
function M.api.record(name)
  if type(name) ~= "string" or not name:match "^[%w_][%w_.-]*$" then
    error(("t.record: expected a name such as \"shop\", got %s"):format(type(name) == "string" and ("%q"):format(name)
      or type(name)), 2)
  end
  local spec = M.spec_file()
  if not spec then error("t.record: call it in a file whose name ends in _spec.lua", 2) end
  local path = (spec:match "^(.*)/" or ".") .. "/fixtures/" .. name:gsub("%.json$", "") .. ".json"
  local hint = "selfmon-lua test --record " .. spec
  if recording then
    files[path] = files[path] or { http = {}, exec = {}, changed = true }
  else
    local file, err = load_tape(path, hint)
    if not file then error(err, 2) end
    files[path] = file
  end
  tape = { path = path, file = files[path], asked = {}, hint = hint }
end

local clean = internal.mask -- a text without the secrets of the run

local function is_secret_name(name)
  name = name:lower()
  for _, part in ipairs(SECRET_NAMES) do
    if name:find(part) then return true end
  end
  return false
end

-- Texts under names that sound secret, at any depth.
local function hide(v)
  if type(v) ~= "table" then return v end
  for name, value in pairs(v) do
    if type(value) == "string" and type(name) == "string" and is_secret_name(name) then
      v[name] = "***"
    else
      hide(value)
    end
  end
  return v
end

local function round(s)
  return math.floor(s * 1000 + 0.5) / 1000
end

-- An answer as the file keeps it. A body that is JSON is kept as JSON, text as text, else as base64.
local function answer_of(res, message, code)
  if not res then return { error = clean(message), code = code } end
  local answer = { status = res.status, headers = {}, timings = {}, tls = res.tls }
  for name, value in pairs(res.headers) do
    if SECRET_HEADERS[name] or is_secret_name(name) then
      answer.headers[name] = "***"
    else
      answer.headers[name] = clean(type(value) == "table" and table.concat(value, ", ") or value)
    end
  end
  for name, s in pairs(res.timings) do answer.timings[name] = round(s) end
  if answer.tls then answer.tls.days_left = round(answer.tls.days_left) end
  local body = clean(res.body)
  local first = body:match "^%s*([%[{])"
  local ok, value = false, nil
  if first then ok, value = pcall(cjson.decode, body) end
  if ok then
    answer.json = hide(value)
  elseif utf8.len(body) and not body:find "[%z\1-\8\11\12\14-\31]" then
    answer.body = body
  else
    answer.base64 = require "selfmon.crypto".base64(res.body)
  end
  return answer
end

-- As t.http takes it.
local function route_answer(kept)
  local answer = {}
  for k, v in pairs(kept) do answer[k] = v end
  if answer.base64 then
    answer.body, answer.base64 = require "selfmon.crypto".unbase64(answer.base64), nil
  end
  return answer
end

-- The entry of a list ("http", "exec") for this key: the next one asked for, else the newest; then the number
-- of the question, and a sentence that says why there is none.
local function look(list, key)
  local asked = list .. " " .. key
  local number = (tape.asked[asked] or 0) + 1
  tape.asked[asked] = number
  local newest, count = nil, 0
  for _, entry in ipairs(tape.file[list]) do
    if entry.request == key and count < number then
      newest, count = entry, count + 1
    end
  end
  if count == number or newest and not recording then return newest end
  return nil, number, ("%s has no %s: the script asks for something else now; record again: %s")
    :format(tape.path, key, tape.hint)
end

local function keep(mine, list, key, number, answer)
  table.insert(mine.file[list], { request = key, number = number, answer = answer })
  mine.file.changed = true
end

--- What the tape has for a request: an answer; false and a function that keeps what the world says; or nil
--- and a sentence that says why there is none (nil when nothing is played).
function M.answer(request)
  if not tape then return nil end
  local key = internal.mask(request.method .. " " .. request.url)
  local entry, number, why = look("http", key)
  if entry then return route_answer(entry.answer) end
  if not recording then return nil, why end
  local mine = tape
  return false, function(res, message, code)
    keep(mine, "http", key, number, answer_of(res, message, code))
  end
end

-- Programs ------------------------------------------------------------------------------------------

local function quoted(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- Runs a program as the daemon would: no shell of its own, a bare environment, a limit of time.
local function run_program(call)
  local base = os.tmpname()
  local words = { "cd", quoted(call.cwd or "/"), "&&", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                  "LANG=C.UTF-8", "HOME=" .. quoted(os.getenv "HOME" or "/") }
  for name, value in pairs(call.env) do words[#words + 1] = quoted(name .. "=" .. value) end
  words[#words + 1] = ("timeout -k 2 %g"):format(call.timeout or 10)
  words[#words + 1] = quoted(call.cmd)
  for _, arg in ipairs(call.args) do words[#words + 1] = quoted(arg) end
  local input = assert(io.open(base, "w"))
  input:write(call.stdin or "")
  input:close()
  words[#words + 1] = ("< %s > %s.out 2> %s.err"):format(base, base, base)
  local began = require "selfmon.time".monotonic()
  local _, how, code = os.execute(table.concat(words, " "))
  local answer = { seconds = round(require "selfmon.time".monotonic() - began) }
  for name, suffix in pairs { stdout = ".out", stderr = ".err" } do
    local f = assert(io.open(base .. suffix, "rb"))
    local text = clean(f:read "a")
    if utf8.len(text) then
      answer[name] = text
    else
      answer[name .. "_base64"] = require "selfmon.crypto".base64(text)
    end
    f:close()
    os.remove(base .. suffix)
  end
  os.remove(base)
  if how == "exit" and code == 124 then
    return { error = ("%s did not end within %g s and was ended"):format(call.cmd, call.timeout or 10), error_code = "timeout" }
  elseif how == "exit" and (code == 126 or code == 127) then
    return { error = ("%s cannot be run: %s"):format(call.cmd, answer.stderr), error_code = code == 127 and "not_found" or "denied" }
  end
  answer[how == "exit" and "code" or "signal"] = code
  return answer
end

--- What the tape has for a program, as t.exec takes it; nil and a sentence (nil when nothing is played).
function M.program(call)
  if not tape then return nil end
  local words = { call.cmd }
  for _, arg in ipairs(call.args) do words[#words + 1] = arg end
  local key = internal.mask(cjson.encode(words):gsub("\\/", "/"))
  local entry, number, why = look("exec", key)
  if not entry and not recording then return nil, why end
  local kept = entry and entry.answer or run_program(call)
  if not entry then keep(tape, "exec", key, number, kept) end
  local answer = {}
  for field, value in pairs(kept) do
    local name = field:match "^(.*)_base64$"
    answer[name or field] = name and require "selfmon.crypto".unbase64(value) or value
  end
  return answer
end

return M
