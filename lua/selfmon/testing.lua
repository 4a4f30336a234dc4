-- selfmon.testing: an inspection's own spec: fake HTTP routes, a fake machine, fake services of the daemon, a
-- clock, and run(id, params). The clock, recordings and the event policy are rooms of their own.
--
-- Only under `selfmon-lua test` and the plain interpreter. Nothing here touches the network: a request
-- without a fake route fails the run and the spec. State is per test: reset() runs after each one.
-- Scripts run in a sandboxed state of their own through selfmon.internal, as a worker runs them.
local internal = require "selfmon.internal"
local clock = require "selfmon.testing_clock"
local recorded = require "selfmon.testing_record"
local policy = require "selfmon.testing_sent"

local M = {}

-- Services of the daemon that a test plays, one file each (selfmon.testing_NAME): reset(), ask(args, body,
-- where) -> value[, body] or nil, message, code ("unfaked": what the test forgot), and api, functions that
-- become part of this module.
local PARTS = { "exec", "store", "dql", "net", "file" }

local parts = {}
for _, name in ipairs(PARTS) do
  local part = require("selfmon.testing_" .. name)
  parts[name] = part
  for fn, f in pairs(part.api) do M[fn] = f end
end

for _, room in ipairs { clock, recorded } do
  for fn, f in pairs(room.api) do M[fn] = f end
end

local state                -- of the current test
local default_root         -- of the command line, when the spec does not lie below one

local ANSWER = { status = true, body = true, json = true, headers = true, timings = true, tls = true,
                 error = true, code = true, url = true, remote_ip = true, http_version = true }

-- What a script's own limits can only lower (script-guide, Limits).
local DEFAULTS = { memory = 32 << 20, cpu = 10, events = 1000, log = 256 << 10, requests = 1000 }

local OPTS = { grants = true, secrets = true, timeout = true, memory = true, cpu = true, ctx = true }

--- Forgets everything that was faked, recorded and set, and what runs left behind.
function M.reset()
  recorded.reset()
  clock.reset()
  policy.reset()
  state = { routes = {}, requests = {}, machine = { name = "testhost" }, unfaked = {} }
  for _, part in pairs(parts) do part.reset() end
end
M.reset()

-- What the newest run of the test died of, for the message of a test that fails; "" when it is well.
local function trouble()
  local r = state.last
  if not r or r.outcome == "ok" then return "" end
  local lines = { ("\n\n%s ended as %s: %s"):format(r.id, r.outcome, r.error or "") }
  if r.traceback then lines[#lines + 1] = "  " .. r.traceback:gsub("\n", "\n  ") end
  if r.log ~= "" then lines[#lines + 1] = "its log:\n  " .. r.log:gsub("\n$", ""):gsub("\n", "\n  ") end
  return table.concat(lines, "\n")
end

-- Follows a runner (busted): forgets after each test (its start would come after its before_each), and
-- tells a failing test what its newest run died of.
local function attach(busted)
  busted.subscribe({ "file", "start" }, function(file)
    recorded.begins(file.name)
    local hooks = file.run
    local rewrite = hooks.rewriteMessage
    function hooks.rewriteMessage(name, message)
      return (rewrite and rewrite(name, message) or message) .. trouble()
    end
    return nil, true
  end)
  busted.subscribe({ "test", "end" }, function()
    M.reset()
    return nil, true
  end)
end

local running = package.loaded.busted
if type(running) == "table" and running.subscribe then
  recorded.begins(recorded.spec_file())
  attach(running)
end

local function quote(v)
  return type(v) == "string" and ("%q"):format(v) or tostring(v)
end

-- "https://x" and "https://x/" are one address; the host's case and the fragment do not count.
local function normal(url, prefix)
  local scheme, rest = url:gsub("#.*$", ""):match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then return url end
  local host, path = rest:match "^([^/?]*)(.*)$"
  if path:sub(1, 1) ~= "/" and not prefix then path = "/" .. path end
  return scheme:lower() .. "://" .. host:lower() .. path
end

--- Answers a request from now on, in this test. `route` is "GET https://shop.example/path"; the method is
--- GET when left out, and a trailing * stands for any rest. `answer` is {status=, body= or json=, headers=,
--- timings=, tls=}, {error=, code=}, or a function(request) that returns one.
function M.http(route, answer)
  if type(route) ~= "string" then
    error(("t.http: expected a route such as \"GET https://shop.example/\", got %s"):format(type(route)), 2)
  end
  local method, url = route:match "^(%u+)%s+(%S+)$"
  if not method then method, url = "GET", route:match "^(%S+)$" end
  if not url or not url:match "^https?://" then
    error(("t.http: expected a route such as \"GET https://shop.example/\", got %q"):format(route), 2)
  end
  if type(answer) == "table" then
    for key in pairs(answer) do
      if not ANSWER[key] then
        error(("t.http: unknown field %s in the answer to %s; known are status, body, json, headers, "
          .. "timings, tls, error, code"):format(quote(key), route), 2)
      end
    end
  elseif type(answer) ~= "function" then
    error(("t.http: expected an answer (table or function) for %s, got %s"):format(route, type(answer)), 2)
  end
  local prefix = url:match "^(.*)%*$"
  table.insert(state.routes, 1, { method = method, url = normal(prefix or url, prefix), prefix = prefix ~= nil, answer = answer })
end

--- Sets readings of the machine that selfmon.host shows; what is not set answers nil, message, code.
function M.machine(readings)
  if type(readings) ~= "table" then
    error(("t.machine: expected a table such as { disks = {…} }, got %s"):format(type(readings)), 2)
  end
  local known = { "name", "cpu", "memory", "load", "disks", "mounts", "uptime", "processes", "sockets", "pressure",
                  "open_files", "conntrack", "disk_io", "interfaces" }
  for _, word in ipairs(known) do known[word] = true end
  for key, value in pairs(readings) do
    if not known[key] or type(key) ~= "string" then
      error(("t.machine: unknown reading %s; known are %s"):format(quote(key), table.concat(known, ", ")), 2)
    end
    state.machine[key] = value
  end
end

--- Requests made by the runs of this test, in order: {method=, url=, headers=, body=, …}.
function M.requests()
  return state.requests
end

--- Sets the inspections root for this test.
function M.root(path)
  state.root = path
end

-- The nearest ancestor named "inspections" of the spec that calls.
local function spec_root()
  local file = recorded.spec_file()
  local root = file and ("/" .. file):match "^(.*/inspections)/[^\0]*$"
  return root and root:sub(2)
end

local function read(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local text = f:read "a"
  f:close()
  return text, text and nil or path .. " is not a file"
end

-- Texts below lib/: { ["lib/util.lua"] = text }.
local function libs_of(root)
  local libs, ok, lfs = {}, pcall(require, "lfs")
  local function walk(dir, rel)
    for name in lfs.dir(dir) do
      local mode = name:sub(1, 1) ~= "." and lfs.attributes(dir .. "/" .. name, "mode")
      if mode == "directory" then
        walk(dir .. "/" .. name, rel .. name .. "/")
      elseif mode == "file" and name:match "%.lua$" then
        libs[rel .. name] = read(dir .. "/" .. name)
      end
    end
  end
  if ok and lfs.attributes(root .. "/lib", "mode") == "directory" then walk(root .. "/lib", "lib/") end
  return libs
end

-- An answer as the run gets it.
local function shown(answer)
  if answer.json ~= nil then
    local copy = {}
    for k, v in pairs(answer) do copy[k] = v end
    copy.json, copy.body = nil, require "cjson".encode(answer.json)
    answer = copy
  end
  if answer.error then return nil, answer.error, answer.code end
  return answer
end

local function answer_to(request)
  state.requests[#state.requests + 1] = request
  local url = normal(request.url)
  for _, r in ipairs(state.routes) do
    local hit = r.prefix and url:sub(1, #r.url) == r.url or url == r.url
    if hit and r.method == request.method then
      local answer = r.answer
      if type(answer) == "function" then answer = answer(request) end
      if type(answer) ~= "table" then
        error(("the fake route %s %s must return a table, got %s"):format(r.method, r.url, type(answer)), 0)
      end
      return shown(answer)
    end
  end
  local answer, keep = recorded.answer(request)
  if answer then return shown(answer) end
  if answer == false then return false, keep end
  local where = request.where and request.where ~= "" and " (" .. request.where .. ")" or ""
  local message = keep and ("unfaked request %s %s%s: %s"):format(request.method, request.url, where, keep)
    or ('unfaked request %s %s%s; add t.http("%s %s", {…})'):format(request.method, request.url, where,
      request.method, request.url)
  state.unfaked[#state.unfaked + 1] = message
  error(message, 0)
end

-- A question of the run to a service: the part's answer, where the code "unfaked" fails run and spec.
local function answer_ask(what, args, body, where)
  local part = parts[what]
  if not part then error(("selfmon.%s cannot be faked"):format(what), 0) end
  local value, message, code = part.ask(args, body, where)
  if value == nil and code == "unfaked" then
    state.unfaked[#state.unfaked + 1] = message
    error(message, 0)
  end
  return value, message, code
end

local function find_function(loaded, fn, id)
  local names = {}
  for _, spec in ipairs(loaded.inspections) do
    if spec.fn == fn then return spec end
    names[#names + 1] = spec.fn
  end
  error(("t.run: %s registers no function %s; it has %s"):format(id:match "^(.*)%.", fn, table.concat(names, ", ")), 3)
end

local function check_names(schema, params, id)
  local known = {}
  for i, p in ipairs(schema) do known[i], known[p.name] = p.name, true end
  for name in pairs(params) do
    if not known[name] then
      error(("t.run: %s has no parameter %s; it has %s"):format(id, quote(name),
        known[1] and table.concat(known, ", ") or "none"), 3)
    end
  end
end

-- The result of a run as the test gets it, remembered for the message of a failing test.
local function finished(result, id, spec)
  result.id = id
  policy.judge(result, spec, id, clock.now())
  state.last = result
  return result
end

--- Runs an inspection once, now, with parameters as the platform would send them. Answers
--- { id=, outcome=, error=, traceback=, events=, sent=, held=, log=, seconds=, peak= }. `opts` may have grants (what
--- the script asks for, unless given), secrets, timeout, memory, cpu and ctx (single fields). `id` may name an instance: "http/endpoint.run@shop".
function M.run(id, params, opts)
  local script, fn = tostring(id):gsub("@[%w_.-]+$", ""):match "^([^@]+)%.([%a_][%w_]*)$"
  if not script then
    error(("t.run: expected a function id such as \"host/disk.run\", got %s"):format(quote(id)), 2)
  end
  local root = state.root or spec_root() or default_root
  if not root then
    error("t.run: the spec does not lie below a folder named inspections; call t.root(PATH) first", 2)
  end
  local file = script .. ".lua"
  local text, err = read(root .. "/" .. file)
  if not text then error(("t.run: %s: %s"):format(id, err), 2) end
  local run_opts = { id = id, file = file, libs = libs_of(root), machine = state.machine, clock = clock.handle(),
                     http = answer_to, ask = answer_ask }
  for key, value in pairs(opts or {}) do
    if not OPTS[key] then
      error(("t.run: unknown option %s; known are grants, secrets, timeout, memory, cpu, ctx"):format(quote(key)), 2)
    end
    run_opts[key] = value
  end

  local loaded
  loaded, err = internal.load(text, run_opts)
  if not loaded then error(err, 2) end
  local spec = find_function(loaded, fn, id)
  check_names(spec.params, params or {}, id)
  local values
  values, err = internal.resolve(spec.params, params or {})
  if not values then
    return finished({ outcome = "bad_params", error = err, events = {}, log = "", seconds = 0, peak = 0 }, id, spec)
  end
  run_opts.timeout = run_opts.timeout or spec.timeout
  run_opts.grants = run_opts.grants or spec.permissions
  for name, most in pairs(spec.limits or {}) do
    name = name == "http" and "requests" or name
    run_opts[name] = math.min(run_opts[name] or DEFAULTS[name], most)
  end

  state.unfaked = {}
  local result = internal.run(text, fn, values, run_opts)
  if state.unfaked[1] then error(table.concat(state.unfaked, "\n"), 2) end
  return finished(result, id, spec)
end

-- For the command: the root of specs that lie below no folder `inspections`, and whether to record.
local function begin(root, record)
  default_root = root
  if record then recorded.record() end
end

--- The command's main (selfmon.testing_cmd): the exit code.
function M.main(root, args)
  return require "selfmon.testing_cmd".main(root, args, { begin = begin, attach = attach })
end

return M
