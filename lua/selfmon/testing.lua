-- selfmon.testing: an inspection's own spec: fake HTTP routes, a fake machine, and run(id, params).
--
-- Only under `selfmon-lua test` and the plain interpreter. Nothing here touches the network: a request
-- without a fake route fails the run and the spec. State is per test: reset() runs after each one.
-- Scripts run in a sandboxed state of their own through selfmon.internal, as a worker runs them.
local internal = require "selfmon.internal"

local M = {}

-- Services of the daemon that a test plays, one file each (selfmon.testing_NAME): reset(), ask(args, body,
-- where) -> value[, body] or nil, message, code ("unfaked": what the test forgot), and api, functions that
-- become part of this module.
local PARTS = {}

local parts = {}
for _, name in ipairs(PARTS) do
  local part = require("selfmon.testing_" .. name)
  parts[name] = part
  for fn, f in pairs(part.api) do M[fn] = f end
end

local state                -- of the current test
local default_root         -- of the command line, when the spec does not lie below one

local ANSWER = { status = true, body = true, json = true, headers = true, timings = true, tls = true,
                 error = true, code = true, url = true, remote_ip = true, http_version = true }

local OPTS = { grants = true, secrets = true, timeout = true, memory = true, cpu = true, ctx = true }

--- Forgets routes, requests, machine and root.
function M.reset()
  state = { routes = {}, requests = {}, machine = { name = "testhost" }, unfaked = {} }
  for _, part in pairs(parts) do part.reset() end
end
M.reset()

-- When a test has ended: its start would come after its before_each.
local function reset_after_tests(busted)
  busted.subscribe({ "test", "end" }, function()
    M.reset()
    return nil, true
  end)
end

local running = package.loaded.busted
if type(running) == "table" and running.subscribe then reset_after_tests(running) end

local function quote(v)
  return type(v) == "string" and ("%q"):format(v) or tostring(v)
end

-- "https://x" and "https://x/" are one address; the host's case and the fragment do not count.
local function normal(url)
  local scheme, rest = url:gsub("#.*$", ""):match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then return url end
  local host, path = rest:match "^([^/?]*)(.*)$"
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
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
  table.insert(state.routes, 1, { method = method, url = normal(prefix or url), prefix = prefix ~= nil, answer = answer })
end

--- Sets readings of the machine that selfmon.host shows; what is not set answers nil, message, code.
function M.machine(readings)
  if type(readings) ~= "table" then
    error(("t.machine: expected a table such as { disks = {…} }, got %s"):format(type(readings)), 2)
  end
  local known = { name = 1, cpu = 1, memory = 1, load = 1, disks = 1, mounts = 1, uptime = 1 }
  for key, value in pairs(readings) do
    if not known[key] then
      error(("t.machine: unknown reading %s; known are name, cpu, memory, load, disks, mounts, uptime")
        :format(quote(key)), 2)
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
  for level = 3, 40 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    local file = info.source:match "^@(.*_spec%.lua)$"
    if file then
      local root = ("/" .. file):match "^(.*/inspections)/[^\0]*$"
      if root then return root:sub(2) end
    end
  end
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
      if answer.json ~= nil then
        local copy = {}
        for k, v in pairs(answer) do copy[k] = v end
        copy.json, copy.body = nil, require "cjson".encode(answer.json)
        answer = copy
      end
      if answer.error then return nil, answer.error, answer.code end
      return answer
    end
  end
  local message = ('unfaked request %s %s%s; add t.http("%s %s", {…})'):format(request.method, request.url,
    request.where and request.where ~= "" and " (" .. request.where .. ")" or "", request.method, request.url)
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

--- Runs an inspection once, now, with parameters as the platform would send them. Answers
--- { outcome=, error=, traceback=, events=, log=, seconds=, peak= }. `opts` may have grants, secrets,
--- timeout, memory, cpu and ctx.
function M.run(id, params, opts)
  local script, fn = tostring(id):match "^([^@]+)%.([%a_][%w_]*)$"
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
  local run_opts = { file = file, libs = libs_of(root), machine = state.machine, http = answer_to, ask = answer_ask }
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
  if not values then return { outcome = "bad_params", error = err, events = {}, log = "", seconds = 0, peak = 0 } end
  run_opts.timeout = run_opts.timeout or spec.timeout

  state.unfaked = {}
  local result = internal.run(text, fn, values, run_opts)
  if state.unfaked[1] then error(table.concat(state.unfaked, "\n"), 2) end
  return result
end

-- The command `selfmon-lua test` ---------------------------------------------------------------------

local function say(text)
  io.stderr:write("selfmon-lua test: ", text, "\n")
end

local function parse(args)
  local opts, i = { paths = {} }, 1
  while i <= #args do
    local word = args[i]
    if word == "-k" or word == "--junit" then
      if not args[i + 1] then return nil, word .. " needs a value" end
      opts[word] = args[i + 1]
      i = i + 1
    elseif word == "--tap" then
      opts[word] = true
    elseif word:sub(1, 1) == "-" then
      return nil, ("unknown option %s; known are -k PATTERN, --junit FILE and --tap"):format(word)
    else
      opts.paths[#opts.paths + 1] = word
    end
    i = i + 1
  end
  if #opts.paths == 0 then opts.paths[1] = "inspections" end
  return opts
end

-- Specs below a path, sorted; nil and a sentence when it is not there.
local function specs_of(path, lfs)
  local mode = lfs.attributes(path, "mode")
  if mode == "file" then return { path } end
  if mode ~= "directory" then return nil, path .. ": no such file or directory" end
  local found = {}
  local function walk(dir)
    for name in lfs.dir(dir) do
      local child = dir .. "/" .. name
      local kind = name:sub(1, 1) ~= "." and lfs.attributes(child, "mode")
      if kind == "directory" then
        walk(child)
      elseif kind == "file" and name:match "_spec%.lua$" then
        found[#found + 1] = child
      end
    end
  end
  walk((path:gsub("(.)/+$", "%1")))
  table.sort(found)
  return found
end

-- `-k`: a part of the name; * stands for any text.
local function filter_of(word)
  return (word:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*"))
end

-- busted's own output on the terminal, and beside it a JUnit file when asked; counts the tests.
local function output_handler(opts, count)
  return function(options)
    local runner = require "busted"
    local shown = require("busted.outputHandlers." .. (opts["--tap"] and "TAP" or options.defaultOutput))(options)
    if opts["--junit"] then
      local with_file = setmetatable({ arguments = { opts["--junit"] } }, { __index = options })
      local handler = require "busted.outputHandlers.junit"(with_file)
      handler:subscribe(with_file)
    end
    runner.subscribe({ "test", "start" }, function()
      count.tests = count.tests + 1
      return nil, true
    end)
    reset_after_tests(runner)
    return shown
  end
end

-- busted ends with os.exit; inside the runner that becomes an error value that only we know.
local function run_busted(files, opts)
  local count, done = { tests = 0 }, {}
  package.preload["busted.outputHandlers.selfmon"] = function() return output_handler(opts, count) end
  local words = { [0] = "selfmon-lua test", "--output=selfmon", "--lpath=", "--cpath=", "--pattern=_spec%.lua$" }
  if opts["-k"] then words[#words + 1] = "--filter=" .. filter_of(opts["-k"]) end
  table.move(files, 1, #files, #words + 1, words)
  rawset(_G, "arg", words)
  local exit, code = os.exit, 0
  rawset(os, "exit", function(status)
    code = (status == nil or status == true or status == 0) and 0 or 1
    error(done, 0)
  end)
  local ok, err = xpcall(function() require "busted.runner" { standalone = false } end,
    function(e) return e == done and e or debug.traceback(tostring(e), 2) end)
  rawset(os, "exit", exit)
  if not ok and err ~= done then
    say(err)
    return 1
  end
  if code == 0 and count.tests == 0 then
    say(opts["-k"] and "no test matches -k " .. opts["-k"] or "the specs have no tests")
    return 5
  end
  return code
end

--- The command's main: runs the specs below the paths in `args`. Answers the exit code: 0 all passed, 1
--- failures, 5 no specs, 64 wrong usage. `root` is the inspections root for specs that lie elsewhere.
function M.main(root, args)
  local opts, err = parse(args)
  if not opts then
    say(err)
    return 64
  end
  if not pcall(require, "busted.runner") then
    say "specs need busted, which is not installed: install the package lua-busted"
    return 1
  end
  local lfs, files = require "lfs", {}
  for _, path in ipairs(opts.paths) do
    local found
    found, err = specs_of(path, lfs)
    if found and path:find(",", 1, true) then found, err = nil, path .. ": busted cannot take a path with a comma" end
    if not found then
      say(err)
      return 64
    end
    table.move(found, 1, #found, #files + 1, files)
  end
  if #files == 0 then
    say(("no specs (files that end in _spec.lua) below %s"):format(table.concat(opts.paths, ", ")))
    return 5
  end
  if opts["--junit"] then
    local f, why = io.open(opts["--junit"], "w")
    if not f then
      say("cannot write " .. why)
      return 64
    end
    f:close()
  end
  root = root:match "^(.*/inspections)$" or root:match "^(.*/inspections)/" or root
  if lfs.attributes(root, "mode") == "file" then root = root:match "^(.*)/" end
  default_root = root
  return run_busted(files, opts)
end

return M
