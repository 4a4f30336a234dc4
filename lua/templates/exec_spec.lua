local t = require "selfmon.testing"

describe("@NAME@", function()
  local function df(lines)
    t.exec("/usr/bin/df", "Use% Mounted on\n" .. lines)
    return t.run("@ID@")
  end

  it("is quiet while there is room", function()
    local r = df " 12% /\n 84% /home\n"
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(0, #r.events)
  end)

  it("warns, and is critical when there is less", function()
    local r = df " 85% /\n 95% /home\n"
    assert.are.equal("warning", r.events[1].status)
    assert.are.equal("critical", r.events[2].status)
    assert.are.equal("/home", r.events[2].dimension_tags.mount)
  end)

  it("fails, and reports nothing, when df fails or cannot be run", function()
    t.exec("/usr/bin/df", { code = 1, stderr = "df: no file systems processed" })
    assert.are.equal("failed", t.run("@ID@").outcome)
    t.exec("/usr/bin/df", { error = "df: no answer within 10 s", error_code = "timeout" })
    local r = t.run("@ID@")
    assert.are.equal("failed", r.outcome)
    assert.are.equal(0, #r.events)
  end)

  it("asks for what it needs", function()
    local r = t.run("@ID@", {}, { grants = {} })
    assert.is_truthy(r.error:find('permission "exec:/usr/bin/df" is not granted', 1, true), r.error)
  end)
end)
