-- selfmon.testing_exec: the fake of selfmon.exec for specs: programs that answer as the spec says.
--
-- A program without a fake fails the run and the spec. Part of selfmon.testing (its PARTS).
local clock = require "selfmon.testing_clock"
local recorded = require "selfmon.testing_record"

local M = { api = {} }

local ANSWER = { code = true, signal = true, stdout = true, stderr = true, seconds = true, truncated = true,
                 left = true, error = true, error_code = true }

local fakes, calls

function M.reset()
  fakes, calls = {}, {}
end
M.reset()

local function check_answer(answer, what)
  if type(answer) == "string" then return { stdout = answer } end
  if type(answer) ~= "table" then
    error(("%s: expected an answer (table, text or function), got %s"):format(what, type(answer)), 3)
  end
  for key in pairs(answer) do
    if not ANSWER[key] then
      error(("%s: unknown field %q in the answer; known are code, signal, stdout, stderr, seconds, truncated, "
        .. "left, error, error_code"):format(what, tostring(key)), 3)
    end
  end
  return answer
end

--- Answers exec.run and exec.nagios of the program `cmd` from now on, in this test. `cmd` is its path, or a
--- list of its path and its first arguments; the newest fake that fits counts. `answer` is {code = 0,
--- stdout = "", stderr = ""}, {signal = 9}, {error = "…", error_code = "timeout"}, a text (standard output),
--- or a function(args, call) that returns one; `call` has cmd, stdin, env, timeout and cwd.
function M.api.exec(cmd, answer)
  local words = type(cmd) == "table" and cmd or { cmd }
  for i, word in ipairs(words) do
    if type(word) ~= "string" then
      error(("t.exec: expected the path of a program, or a list of it and arguments; got %s at %d")
        :format(type(word), i), 2)
    end
  end
  if not (words[1] and words[1]:sub(1, 1) == "/") then
    error("t.exec: expected the absolute path of a program such as \"/usr/bin/df\"", 2)
  end
  if type(answer) ~= "function" then answer = check_answer(answer, "t.exec: " .. words[1]) end
  table.insert(fakes, 1, { words = words, answer = answer })
end

--- The programs that the runs of this test ran, in order: {cmd=, args=, stdin=, env=, timeout=, cwd=}.
function M.api.execs()
  return calls
end

local function fits(fake, call)
  if fake.words[1] ~= call.cmd then return false end
  for i = 2, #fake.words do
    if fake.words[i] ~= call.args[i - 1] then return false end
  end
  return true
end

-- Standard input and the values of env are one body (src/daemon/exec.h).
local function read_call(args, body)
  local at = (args.stdin or 0) + 1
  local call = { cmd = args.cmd, args = args.args or {}, timeout = args.timeout, cwd = args.cwd, env = {},
                 stdin = args.stdin and (body or ""):sub(1, args.stdin) or nil }
  for _, pair in ipairs(args.env or {}) do
    call.env[pair[1]] = (body or ""):sub(at, at + pair[2] - 1)
    at = at + pair[2]
  end
  return call
end

-- An answer as the run gets it; a stopped clock moves by what the program took.
local function shown(answer, call)
  local timeout, seconds = call.timeout or 10, answer.seconds or 0.01
  if answer.error then
    if answer.error_code == "timeout" then clock.pass(answer.seconds or timeout) end
    return nil, answer.error, answer.error_code or "failed"
  elseif clock.handle() and seconds > timeout then
    clock.pass(timeout)
    return nil, ("%s did not end within %g s and was ended"):format(call.cmd, timeout), "timeout"
  end
  clock.pass(answer.seconds)
  local out, err = answer.stdout or "", answer.stderr or ""
  return { code = not answer.signal and (answer.code or 0) or nil, signal = answer.signal, left = answer.left or 0,
           seconds = seconds, truncated = answer.truncated or false, stdout = #out }, out .. err
end

function M.ask(args, body, where)
  local call = read_call(args, body)
  calls[#calls + 1] = call
  for _, fake in ipairs(fakes) do
    if fits(fake, call) then
      local answer = fake.answer
      if type(answer) == "function" then
        answer = check_answer(answer(call.args, call), "the fake of " .. call.cmd)
      end
      return shown(answer, call)
    end
  end
  local answer, why = recorded.program(call)
  if answer then return shown(answer, call) end
  local words = { call.cmd, table.unpack(call.args) }
  for i, word in ipairs(words) do words[i] = ("%q"):format(word) end
  where = where and where ~= "" and " (" .. where .. ")" or ""
  if why then return nil, ("unfaked program %s%s: %s"):format(table.concat(words, " "), where, why), "unfaked" end
  return nil, ("unfaked program %s%s; add t.exec(%q, {…})"):format(table.concat(words, " "), where, call.cmd), "unfaked"
end

return M
