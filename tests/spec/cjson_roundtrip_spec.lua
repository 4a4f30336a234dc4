-- 100,000 random values through cjson, compared with Python's json (cjson_roundtrip.py beside this file).
describe("cjson and Python", function()
  it("agree on 100,000 random round trips and as many damaged texts", function()
    local program = io.popen("readlink /proc/$PPID/exe"):read "l"
    local script = debug.getinfo(1, "S").source:match "^@(.*)_spec%.lua$" .. ".py"
    local p = assert(io.popen(("/usr/bin/python3 '%s' '%s' 100000 2>&1"):format(script, program)))
    local out = p:read "a"
    assert.is_true(p:close() == true, out)
    assert.is_truthy(out:find("100000 round trips, 0 different", 1, true), out)
    assert.is_truthy(out:find("100000 damaged texts, 0 judged differently", 1, true), out)
  end)
end)
