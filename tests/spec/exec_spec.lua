-- selfmon.exec in a test's run: what a script may ask, what the service is asked, what the script sees; and
-- what monitoring plugins say. Real programs: tests/e2e/test_exec.py, tests/unit/daemon/exec_child_test.c.
local internal = require "selfmon.internal"
local nagios = require "selfmon.exec_nagios"
local t = require "selfmon.testing"
local fake = require "selfmon.testing_exec"

local function run(body, opts)
  opts = opts or {}
  opts.file = "x.lua"
  opts.grants = opts.grants or { "exec:/usr/bin/*", "secret:db" }
  opts.secrets = { db = "correct horse" }
  opts.ask = function(_, args, stdin, where)
    local value, message, code = fake.ask(args, stdin, where)
    if code == "unfaked" then error(message, 0) end
    return value, message, code
  end
  return internal.run(([[
    local exec = require "selfmon.exec"
    local secret = require "selfmon.secret"
    monitor{ title = "x", permissions = { "exec:/usr/bin/*" } }
    function run() %s end
  ]]):format(body), "run", {}, opts)
end

local function ok(body, opts)
  local r = run(body, opts)
  assert.are.equal("ok", r.outcome, r.error)
  return r
end

local function raises(body, sentence, opts)
  local r = run(body, opts)
  assert.are.equal("failed", r.outcome, body)
  assert.is_truthy(r.error:find(sentence, 1, true), r.error)
  assert.is_truthy(r.error:find("x.lua:4:", 1, true), r.error)
end

describe("exec.run", function()
  before_each(fake.reset)

  it("asks for a program and shows what it said", function()
    t.exec("/usr/bin/df", { code = 1, stdout = "out\0put", stderr = "err", seconds = 0.5 })
    ok [[
      local r = assert(exec.run{ cmd = "/usr/bin/df", args = { "-h", 7, 1.5 }, timeout = 3, cwd = "/tmp" })
      assert(r.code == 1 and r.signal == nil and r.stdout == "out\0put" and r.stderr == "err")
      assert(r.seconds == 0.5 and r.truncated == false and r.left == 0)
    ]]
    assert.are.same({ cmd = "/usr/bin/df", args = { "-h", "7", "1.5" }, env = {}, timeout = 3, cwd = "/tmp" },
      t.execs()[1])
  end)

  it("passes input and environment, texts or secrets", function()
    t.exec({ "/usr/bin/psql", "-At" }, "1\n")
    ok [[
      local r = assert(exec.run{ cmd = "/usr/bin/psql", args = { "-At" }, stdin = "select 1",
        env = { PGPASSWORD = secret "db", PGHOST = "h", PGPORT = 5432 } })
      assert(r.stdout == "1\n" and r.code == 0)
      exec.run{ cmd = "/usr/bin/psql", args = { "-At" }, stdin = secret "db" }
    ]]
    assert.are.same({ PGPASSWORD = "correct horse", PGHOST = "h", PGPORT = "5432" }, t.execs()[1].env)
    assert.are.equal("select 1", t.execs()[1].stdin)
    assert.are.equal(10, t.execs()[1].timeout)
    assert.are.equal("correct horse", t.execs()[2].stdin)
  end)

  it("shows a signal, and what went wrong", function()
    t.exec("/usr/bin/a", { signal = 9 })
    t.exec("/usr/bin/b", { error = "/usr/bin/b did not end within 1 s and was ended", error_code = "timeout" })
    ok [[
      local r = exec.run{ cmd = "/usr/bin/a" }
      assert(r.signal == 9 and r.code == nil)
      local r, message, code = exec.run{ cmd = "/usr/bin/b" }
      assert(r == nil and message:find "did not end" and code == "timeout")
    ]]
  end)

  it("wants the permission for exactly this program", function()
    raises('exec.run{ cmd = "/usr/sbin/reboot" }', 'permission "exec:/usr/sbin/reboot" is not granted to')
    raises('exec.run{ cmd = "/usr/bin/x/y" }', 'permission "exec:/usr/bin/x/y" is not granted to')
  end)

  it("reads its options strictly", function()
    for body, sentence in pairs {
      ['exec.run "df"'] = "exec.run: expected a table such as",
      ['exec.run{ args = {} }'] = "exec.run: cmd is missing",
      ['exec.run{ cmd = "df" }'] = "expected an absolute path such as /usr/bin/df",
      ['exec.run{ cmd = "/usr/bin/../sbin/reboot" }'] = 'without "." and ".."',
      ['exec.run{ cmd = "/usr/bin/./df" }'] = 'without "." and ".."',
      ['exec.run{ cmd = "/usr/bin/.." }'] = 'without "." and ".."',
      ['exec.run{ cmd = "/usr//bin/df" }'] = "without empty parts",
      ['exec.run{ cmd = "/usr/bin/" }'] = "without empty parts",
      ['exec.run{ cmd = "/usr/bin/a\\0b" }'] = "expected a path of UTF-8 text",
      ['exec.run{ cmd = "/usr/bin/a\\n" }'] = "expected a path without control bytes",
      ['exec.run{ cmd = "/usr/bin/a", arg = {} }'] = 'unknown option "arg"; did you mean "args"?',
      ['exec.run{ cmd = "/usr/bin/a", args = "-h" }'] = 'option "args": expected a list of texts, got string',
      ['exec.run{ cmd = "/usr/bin/a", args = { h = 1 } }'] = "expected a list without other keys",
      ['exec.run{ cmd = "/usr/bin/a", args = { 1, nil, 3 } }'] = "expected a list without other keys or holes",
      ['exec.run{ cmd = "/usr/bin/a", args = { "a", {} } }'] = "args[2]: expected a text or number, got table",
      ['exec.run{ cmd = "/usr/bin/a", args = { "a\\0" } }'] = "args[1]: expected UTF-8 text without NUL",
      ['exec.run{ cmd = "/usr/bin/a", args = { "\\xff" } }'] = "args[1]: expected UTF-8 text without NUL",
      ['exec.run{ cmd = "/usr/bin/a", args = { secret "db" } }'] = "args[1]: a secret cannot be an argument",
      ['exec.run{ cmd = "/usr/bin/a", args = { "-p", secret "db" } }'] = "args[2]: a secret cannot be an argument",
      ['exec.run{ cmd = "/usr/bin/a", args = { ("x"):rep(70000) } }'] = "longer than 60 KiB",
      ['exec.run{ cmd = "/usr/bin/a", stdin = {} }'] = 'option "stdin": expected a string or a secret, got table',
      ['exec.run{ cmd = "/usr/bin/a", stdin = ("x"):rep(2^20 + 1) }'] = "longer than 1 MiB",
      ['exec.run{ cmd = "/usr/bin/a", env = { "x" } }'] = "expected names as keys",
      ['exec.run{ cmd = "/usr/bin/a", env = { ["A-B"] = "x" } }'] = "expected a name of letters, digits and _",
      ['exec.run{ cmd = "/usr/bin/a", env = { LD_PRELOAD = "x" } }'] = "LD_PRELOAD: it tells the system's loader",
      ['exec.run{ cmd = "/usr/bin/a", env = { SELFMON_SECRET = "x" } }'] = "this program's own",
      ['exec.run{ cmd = "/usr/bin/a", env = { A = "x\\0y" } }'] = "A: expected a value without NUL",
      ['exec.run{ cmd = "/usr/bin/a", env = { A = {} } }'] = "A: expected a string, number or secret, got table",
      ['exec.run{ cmd = "/usr/bin/a", timeout = 0 }'] = "expected a number of seconds above 0",
      ['exec.run{ cmd = "/usr/bin/a", timeout = "5" }'] = "expected a number of seconds, got string",
      ['exec.run{ cmd = "/usr/bin/a", cwd = "tmp" }'] = 'option "cwd": expected an absolute path',
      ['exec.nagios{ cmd = "df" }'] = 'exec.nagios: option "cmd": expected an absolute path',
    } do raises(body, sentence) end
    assert.are.same({}, t.execs())
  end)

  it("may not be called while a script loads", function()
    local r = internal.run([[
      monitor{ title = "x" }
      function run() end
      require "selfmon.exec".run{ cmd = "/usr/bin/a" }
    ]], "run", {}, { file = "x.lua" })
    assert.is_truthy(r.error:find("exec.run cannot be called while a script is loading", 1, true), r.error)
  end)

  it("without a fake fails the run and says what to write", function()
    local r = run 'exec.run{ cmd = "/usr/bin/a", args = { "b c" } }'
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find('unfaked program "/usr/bin/a" "b c" (inspections/x.lua:4); add t.exec("/usr/bin/a", {…})', 1, true),
      r.error)
  end)
end)

describe("t.exec", function()
  before_each(fake.reset)

  it("takes arguments, functions and texts; the newest that fits counts", function()
    t.exec("/usr/bin/a", "any")
    t.exec({ "/usr/bin/a", "-x" }, "with -x")
    t.exec("/usr/bin/b", function(args, call) return { stdout = args[1] .. call.stdin .. call.env.E } end)
    ok [[
      assert(exec.run{ cmd = "/usr/bin/a" }.stdout == "any")
      assert(exec.run{ cmd = "/usr/bin/a", args = { "-x", "1" } }.stdout == "with -x")
      assert(exec.run{ cmd = "/usr/bin/a", args = { "1", "-x" } }.stdout == "any")
      assert(exec.run{ cmd = "/usr/bin/b", args = { "1" }, stdin = "2", env = { E = 3 } }.stdout == "123")
    ]]
  end)

  it("is read strictly", function()
    assert.has_error(function() t.exec("a", {}) end,
      't.exec: expected the absolute path of a program such as "/usr/bin/df"')
    assert.has_error(function() t.exec("/a", 1) end, "t.exec: /a: expected an answer (table, text or function), got number")
    assert.has_error(function() t.exec("/a", { out = 1 }) end, 't.exec: /a: unknown field "out" in the answer; '
      .. "known are code, signal, stdout, stderr, seconds, truncated, left, error, error_code")
  end)
end)

describe("a monitoring plugin", function()
  local function read(stdout, code, more)
    local r = { stdout = stdout, stderr = "", code = code }
    for k, v in pairs(more or {}) do r[k] = v end
    return nagios.read(r)
  end

  it("says its status by its exit code", function()
    for code, status in pairs { [0] = "ok", "warning", "critical", "unknown", "unknown", [127] = "unknown" } do
      assert.are.equal(status, read("X", code).status)
    end
    local r = read("", nil, { signal = 9 })
    assert.are.equal("unknown", r.status)
    assert.are.equal("ended by signal 9", r.text)
    assert.are.equal("(no output)", read("\n", 0).text)
    assert.are.equal("usage: x", read("", 3, { stderr = "usage: x\nmore\n" }).text)
  end)

  it("may say more lines and performance data in both places", function()
    -- The example of the guidelines.
    local r = read([[
DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968
/ 15272 MB (77%);
/boot 68 MB (69%);
/var/log 819 MB (84%); | /boot=68MB;88;93;0;98
/home=69357MB;253404;253409;0;253414
/var/log=818MB;970;975;0;980
]], 0)
    assert.are.equal("DISK OK - free space: / 3326 MB (56%);", r.text)
    assert.are.equal("/ 15272 MB (77%);\n/boot 68 MB (69%);\n/var/log 819 MB (84%);", r.long_text)
    local labels = {}
    for i, p in ipairs(r.perfdata) do labels[i] = p.label end
    assert.are.same({ "/", "/boot", "/home", "/var/log" }, labels)
    assert.are.same({ label = "/", value = 2643, unit = "MB", min = 0, max = 5968,
      warn = { text = "5948", low = 0.0, high = 5948.0, inside = false },
      crit = { text = "5958", low = 0.0, high = 5958.0, inside = false } }, r.perfdata[1])
    assert.are.same({}, r.bad_perfdata)
  end)

  it("quotes labels", function()
    local list, bad = nagios.perfdata "'C: free'=12% 'it''s'=1 ''''=2 'a=b'=3s plain=4c"
    assert.are.same({}, bad)
    local seen = {}
    for i, p in ipairs(list) do seen[i] = p.label .. "|" .. p.value .. "|" .. p.unit end
    assert.are.same({ "C: free|12|%", "it's|1|", "'|2|", "a=b|3|s", "plain|4|c" }, seen)
  end)

  it("gives numbers in several spellings, and U", function()
    local list, bad = nagios.perfdata "a=-1.5ms b=.5 c=1e-05s d=1.5E+3 e=U f=0,25s g=10. h=1;;;0;1 i=5;;; j=5KB"
    assert.are.same({}, bad)
    local values = {}
    for _, p in ipairs(list) do values[p.label] = p.value or "nil" end
    assert.are.same({ a = -1.5, b = 0.5, c = 1e-05, d = 1500.0, e = "nil", f = 0.25, g = 10.0, h = 1, i = 5, j = 5 }, values)
    assert.are.equal("KB", list[10].unit)
    assert.is_nil(list[8].warn)
    assert.are.equal(1, list[8].max)
  end)

  it("gives ranges", function()
    local inf = math.huge
    for text, want in pairs {
      ["10"] = { 0, 10, false }, ["10:"] = { 10, inf, false }, ["~:10"] = { -inf, 10, false },
      ["10:20"] = { 10, 20, false }, ["@10:20"] = { 10, 20, true }, ["@5"] = { 0, 5, true }, [":7"] = { 0, 7, false },
      ["-5:-1.5"] = { -5, -1.5, false },
    } do
      local r = nagios.perfdata("a=1;" .. text .. ";" .. text)[1]
      assert.are.same({ text = text, low = want[1] + 0.0, high = want[2] + 0.0, inside = want[3] }, r.warn)
      assert.are.same(r.warn, r.crit)
    end
    for _, text in ipairs { "", "x", "1:2:3", ":", "@" } do
      assert.is_nil(nagios.perfdata("a=1;" .. text)[1].warn)
    end
  end)

  it("keeps what is no performance data apart", function()
    local list, bad = nagios.perfdata "a=1 nonsense b= 'open=3 =5 c=x;1 d=2"
    assert.are.same({ "nonsense", "b=", "'open=3", "=5", "c=x;1" }, bad)
    assert.are.equal(2, #list)
  end)

  it("is read in a run", function()
    fake.reset()
    t.exec("/usr/bin/check_x", { code = 2, stdout = "X CRITICAL - 5 late | late=5;2;4\r\n" })
    ok [[
      local r = assert(exec.nagios{ cmd = "/usr/bin/check_x", args = { "-w", 2 } })
      assert(r.status == "critical" and r.code == 2 and r.text == "X CRITICAL - 5 late")
      assert(r.perfdata[1].label == "late" and r.perfdata[1].value == 5 and r.perfdata[1].crit.high == 4)
      assert(exec.nagios{ cmd = "/usr/bin/check_x" }.status == "critical")
    ]]
  end)
end)
