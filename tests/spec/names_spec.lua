-- A name that a module does not have raises at the script's line, with the nearest right name.
local internal = require "selfmon.internal"

local function error_of(line)
  local r = internal.run("monitor{ title = \"T\" }\nfunction run()\n  " .. line .. "\nend\n", "run", {}, { file = "x.lua" })
  return r.outcome == "failed" and r.error or r.outcome .. " " .. r.log:gsub("^%d+\t", "")
end

describe("a name that a module does not have", function()
  for line, want in pairs {
    ['require "selfmon.http".gett("http://127.0.0.1/")'] = 'selfmon.http has no "gett"; did you mean "get"?',
    ['print(require "selfmon".time.nwo)'] = 'selfmon.time has no "nwo"; did you mean "now"?',
    ['local host = require "selfmon.host" host.file.reed("/x")'] = 'selfmon.host.file has no "reed"; did you mean "read"?',
    ['require "selfmon.stats".meen{ 1 }'] = 'selfmon.stats has no "meen"; did you mean "mean"?',
    ['require "selfmon.log".information("x")'] = 'selfmon.log has no "information"',
    ['local x = require "selfmon.log"["a\\n" .. ("b"):rep(1000)]'] = 'selfmon.log has no "a\\nbbb',
  } do
    it("raises: " .. line:sub(1, 50), function()
      local err = error_of(line)
      assert.is_truthy(err:find("inspections/x.lua:3: " .. want, 1, true), err)
    end)
  end

  it("is still nil for rawget, numbers and pairs, and can be set", function()
    assert.are.equal("ok print\tnil\tnil\n", error_of('local h = require "selfmon.http" print(rawget(h, "gett"), h[1])'))
    assert.are.equal("ok print\t3\n", error_of('local h = require "selfmon.http" h.mine = 3 print(h.mine)'))
    assert.are.equal("ok print\tnil\n", error_of('print(require "cjson".nothing)'))
    assert.are.equal("ok print\tfalse\n", error_of('print(getmetatable(require "selfmon.time"))'))
  end)
end)
