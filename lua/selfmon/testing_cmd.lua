-- The command `selfmon-lua test`: finds the specs, runs busted over them, answers the exit code.
local M = {}

local USAGE = "known are -k PATTERN, --junit FILE, --tap and --record"

local function say(text)
  io.stderr:write("selfmon-lua test: ", text, "\n")
end

local function parse(args)
  local opts, i, only_paths = { paths = {} }, 1, false
  while i <= #args do
    local word = args[i]
    local name, value = word:match "^(%-%-%l+)=(.*)$"
    name = name or word
    if only_paths or name:sub(1, 1) ~= "-" then
      opts.paths[#opts.paths + 1] = word
    elseif word == "--" then
      only_paths = true
    elseif name == "-k" or name == "--junit" then
      if not value then
        i = i + 1
        value = args[i]
      end
      if not value or value == "" then return nil, name .. " needs a value" end
      opts[name] = value
    elseif word == "--tap" or word == "--record" then
      opts[word] = true
    else
      return nil, ("unknown option %s; %s"):format(word, USAGE)
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
local function output_handler(opts, count, testing)
  return function(options)
    local runner = require "busted"
    local shown = require("busted.outputHandlers." .. (opts["--tap"] and "TAP" or options.defaultOutput))(options)
    if opts["--junit"] then require "selfmon.testing_junit"(runner, opts["--junit"]) end
    runner.subscribe({ "test", "start" }, function()
      count.tests = count.tests + 1
      return nil, true
    end)
    testing.attach(runner)
    return shown
  end
end

-- busted ends with os.exit; inside the runner that becomes an error value that only we know.
local function run_busted(files, opts, testing)
  local count, done = { tests = 0 }, {}
  package.preload["busted.outputHandlers.selfmon"] = function() return output_handler(opts, count, testing) end
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

-- The specs below all paths; nil and a sentence.
local function find_specs(paths, lfs)
  local files = {}
  for _, path in ipairs(paths) do
    local found, err = specs_of(path, lfs)
    if found and path:find(",", 1, true) then found, err = nil, path .. ": busted cannot take a path with a comma" end
    if not found then return nil, err end
    table.move(found, 1, #found, #files + 1, files)
  end
  return files
end

local function root_folder(root, lfs)
  root = root:match "^(.*/inspections)$" or root:match "^(.*/inspections)/" or root
  return lfs.attributes(root, "mode") == "file" and root:match "^(.*)/" or root
end

--- Runs the specs below the paths in `args`. Answers the exit code: 0 all passed, 1 failures, 5 no specs, 64
--- wrong usage. `root` is the inspections root for specs that lie elsewhere; testing: begin and attach of
--- selfmon.testing.
function M.main(root, args, testing)
  local opts, err = parse(args)
  if not opts then
    say(err)
    return 64
  end
  if not pcall(require, "busted.runner") then
    say "specs need busted, which is not installed: install the package lua-busted"
    return 1
  end
  local lfs, files = require "lfs", nil
  files, err = find_specs(opts.paths, lfs)
  if not files then
    say(err)
    return 64
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
  testing.begin(root_folder(root, lfs), opts["--record"])
  return run_busted(files, opts, testing)
end

return M
