-- selfmon.log: lines of the run's log.
local internal = require "selfmon.internal"

local function log(body, opts)
  opts = opts or {}
  opts.file = "l.lua"
  local r = internal.run("local log = require 'selfmon.log'\nmonitor{ title = 'L' }\nfunction run() " .. body .. " end", "run", {}, opts)
  assert.are.equal("ok", r.outcome, r.error)
  return (r.log:gsub("^%d+\t", ""):gsub("\n%d+\t", "\n"))
end

describe("selfmon.log", function()
  it("writes lines of four levels", function()
    assert.are.equal("debug\ta\ninfo\tb\nwarn\tc\nerror\td\n", log "log.debug 'a' log.info 'b' log.warn 'c' log.error 'd'")
  end)

  it("begins each line with the milliseconds since the run began", function()
    local r = internal.run("monitor{ title = 'L' }\nfunction run() require 'selfmon.time'.sleep(0.05) require 'selfmon.log'.info 'x' end", "run", {})
    local ms = tonumber(r.log:match "^(%d+)\tinfo\tx\n$")
    assert.is_true(ms >= 50 and ms < 5000, r.log)
  end)

  it("adds fields as name=value, in byte order of the names", function()
    assert.are.equal("info\tslow B=1 a=true c=1.5 z=two\n", log "log.info('slow', { z = 'two', a = true, B = 1, c = 1.5 })")
  end)

  it("puts a text in quotes when it is not one word", function()
    assert.are.equal('info\tx a="two words" b="" c="k=v" d="say \\"x\\"" e=plain\n',
      log [[log.info("x", { a = "two words", b = "", c = "k=v", d = 'say "x"', e = "plain" })]])
  end)

  it("shows tables as JSON, and what has no form by its type", function()
    assert.are.equal('info\tx f=(function) l=[1,2] t={"a":1}\n', log "log.info('x', { t = { a = 1 }, l = { 1, 2 }, f = print })")
    assert.is_truthy(log("local loop = {} loop.l = loop log.info('x', { t = loop })"):find("info\tx", 1, true))
  end)

  it("makes a text of several lines several lines, each with its level", function()
    assert.are.equal("warn\ta\nwarn\tb\nwarn\t\nwarn\tc\n", log [[log.warn("a\nb\n\nc\n")]])
  end)

  it("cannot forge a line", function()
    local r = internal.run([[
      monitor{ title = "L" }
      function run()
        require "selfmon.log".info("a\n1\terror\tforged", { ["k\n"] = "v\n2\terror\tx", n = "\27[31m\0" })
      end
    ]], "run", {})
    assert.is_truthy(r.log:match '^%d+\tinfo\ta\n%d+\tinfo\t1\terror\tforged "k\\n"="v\\n2\terror\tx" n="\\x1b%[31m\\x00"\n$', r.log)
  end)

  it("runs no metamethod", function()
    assert.are.equal("info\tx a=1\n", log "log.info('x', setmetatable({ a = 1 }, { __pairs = error, __index = error }))")
  end)

  it("cuts an endless line", function()
    local text = log "log.info(('x'):rep(100000), { a = ('y'):rep(100000) })"
    assert.is_true(#text < 20000)
  end)

  it("masks secrets", function()
    local text = log("local s = require 'selfmon.secret' 'k' log.info('correct horse', { a = 'the correct horse here' })",
      { grants = { "secret:k" }, secrets = { k = "correct horse" } })
    assert.is_nil(text:find("correct horse", 1, true), text)
    assert.is_truthy(text:find("***", 1, true), text)
  end)

  it("wants a text, and fields as a table", function()
    for _, call in ipairs { "log.info()", "log.info{}", "log.info('x', 5)", "log.info(nil)", "log.trace 'x'" } do
      local r = internal.run("local log = require 'selfmon.log'\nmonitor{ title = 'L' }\nfunction run() " .. call .. " end", "run", {}, "l.lua")
      assert.are.equal("failed", r.outcome, call)
      assert.is_truthy(r.error:find("l.lua:3:", 1, true), r.error)
    end
  end)

  it("may be used while a script loads; its lines show at load", function()
    local loaded = assert(internal.load("require 'selfmon.log'.info 'loading'\nmonitor{ title = 'L' }\nfunction run() end", "l.lua"))
    assert.is_truthy(loaded.log:find("info\tloading", 1, true))
  end)

  it("counts against the log's limit", function()
    local r = internal.run("local log = require 'selfmon.log'\nmonitor{ title = 'L' }\nfunction run() while true do pcall(log.info, ('x'):rep(1000)) end end",
      "run", {})
    assert.are.equal("limit", r.outcome)
    assert.is_truthy(r.error:find("log limit of 256 KiB", 1, true))
  end)
end)
