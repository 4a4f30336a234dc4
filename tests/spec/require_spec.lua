-- require: the host's modules, the project's own below lib/, and nothing else.
local internal = require "selfmon.internal"

local function run(body, libs)
  return internal.run(body .. "\nmonitor{ title = 'Q' }\nfunction run() if main then main() end end", "run", {},
    { file = "q.lua", libs = libs })
end

local function fine(body, libs)
  local r = run(body, libs)
  assert.are.equal("ok", r.outcome, r.error)
  return r
end

local function refused(body, libs, ...)
  local r = run(body, libs)
  assert.are.equal("failed", r.outcome, body)
  for _, words in ipairs { ... } do assert.is_truthy(r.error:find(words, 1, true), r.error) end
end

describe("require", function()
  for _, name in ipairs { "selfmon", "selfmon.http", "selfmon.host", "selfmon.time", "selfmon.crypto", "selfmon.log", "selfmon.secret",
                          "cjson", "cjson.safe" } do
    it("gives " .. name, function()
      fine(("local m = require %q assert(type(m) == 'table' or type(m) == 'function') assert(require %q == m)"):format(name, name))
    end)
  end

  it("of selfmon gives all of them in one table", function()
    fine [[
      local s = require "selfmon"
      for _, name in ipairs{ "http", "host", "time", "crypto", "log", "secret" } do assert(s[name] == require("selfmon." .. name), name) end
      assert(s.cjson == require "cjson" and s.monitor == monitor and s.EventReporter == EventReporter)
    ]]
  end)

  it("loads lib.util from lib/util.lua, deeper names too", function()
    fine("assert(require 'lib.util'.x == 1 and require 'lib.net.dns'.y == 2)",
      { ["lib/util.lua"] = "return { x = 1 }", ["lib/net/dns.lua"] = "return { y = 2 }" })
  end)

  it("runs a module once, with its name and path, and gives the same value again", function()
    fine([[
      assert(require "lib.a" == require "lib.a" and require "lib.b".a == require "lib.a" and loads == 1)
    ]], { ["lib/a.lua"] = "loads = (loads or 0) + 1 local name, path = ... assert(name == 'lib.a' and path == 'lib/a.lua', path) return {}",
          ["lib/b.lua"] = "return { a = require 'lib.a' }" })
  end)

  it("gives true for a module that returns nothing, and false stays false", function()
    fine("assert(require 'lib.a' == true)", { ["lib/a.lua"] = "local x = 1" })
  end)

  it("works in the function as in the main chunk", function()
    fine("function main() assert(require 'lib.a' == 7) end", { ["lib/a.lua"] = "return 7" })
  end)

  it("shows an error in a module with its file and line", function()
    refused("require 'lib.a'", { ["lib/a.lua"] = "local x\nx.y = 1" }, "inspections/lib/a.lua:2:")
    refused("require 'lib.a'", { ["lib/a.lua"] = "x = = 1" }, "inspections/lib/a.lua:1:")
  end)

  it("says when modules go round in a circle", function()
    refused("require 'lib.a'", { ["lib/a.lua"] = "require 'lib.b'", ["lib/b.lua"] = "require 'lib.a'" }, "goes round in a circle")
  end)

  it("names the nearest module or file", function()
    refused("require 'selfmon.htp'", nil, "q.lua:1:", 'module "selfmon.htp" not found', "did you mean", "selfmon.http")
    refused("require 'lib.utli'", { ["lib/util.lua"] = "" }, 'module "lib.utli" not found: no file lib/utli.lua', "lib/util.lua")
  end)

  it("reaches nothing else on disk", function()
    for _, name in ipairs { "io", "os", "debug", "package", "socket", "lfs", "busted", "selfmon.testing", "selfmon.internal", "util", "demo.shop",
                            "./q", "/etc/passwd", "lib/../../etc/passwd", "lib.", "lib..", "lib", "", "lib./etc/passwd", "\\0", "cjson.new",
                            "lib.a/../../x" } do
      refused("require '" .. name .. "'", { ["lib/util.lua"] = "" }, "not found")
    end
  end)

  it("wants a name", function()
    refused("require()", nil, "q.lua:1:")
    refused("require{}", nil, "q.lua:1:")
  end)

  it("answers from the snapshot only, also for names with dots", function()
    refused("require 'lib.x.y'", { ["lib/x.lua"] = "return {}" }, "no file lib/x/y.lua")
  end)
end)
