-- The scripts shown in README.md, the guides and docs/modules/testing.md load, and the specs
-- shown there pass: every block of Lua that begins with `-- inspections/PATH`.
local internal = require "selfmon.internal"
local t = require "selfmon.testing"
local lfs = require "lfs"

local blocks, libs = {}, {}
for _, page in ipairs { "README.md", "docs/guide.md", "docs/script-guide.md", "docs/porting-from-python.md",
                         "docs/porting-from-nagios.md", "docs/modules/testing.md" } do
  local f = assert(io.open(page))
  for text in f:read "a":gmatch "\n```lua\n(%-%- inspections/.-\n)```" do
    local file = text:match "^%-%- inspections/(%S+%.lua)\n"
    blocks[#blocks + 1] = { page = page, file = file, text = text }
    if file:find "^lib/" then libs[file] = text end
  end
  f:close()
end

describe("the scripts shown", function()
  it("are found", function()
    local pages = {}
    for _, b in ipairs(blocks) do pages[b.page] = (pages[b.page] or 0) + 1 end
    assert.is_true(pages["README.md"] >= 1)
    assert.is_true(pages["docs/script-guide.md"] >= 5)
    assert.are.equal(4, pages["docs/guide.md"])
  end)

  for _, b in ipairs(blocks) do
    it(("load: %s in %s"):format(b.file, b.page), function()
      if b.file:find "_spec%.lua$" then return assert(load(b.text, "=" .. b.file)) end
      local loaded, err = internal.load(b.text, { file = b.file, libs = libs })
      assert.is_table(loaded, err)
      assert.is_true(#loaded.inspections > 0 or b.file:find "^lib/" ~= nil)
    end)
  end
end)

-- The guide's own spec, on the guide's scripts in a folder of their own.
describe("the spec shown", function()
  local root

  setup(function()
    root = os.tmpname()
    os.remove(root)
    assert(lfs.mkdir(root))
    lfs.mkdir(root .. "/demo")
    lfs.mkdir(root .. "/lib")
    for _, b in ipairs(blocks) do
      local f = assert(io.open(root .. "/" .. b.file, "w"))
      f:write(b.text)
      f:close()
    end
  end)

  before_each(function()
    t.root(root)
  end)

  teardown(function()
    for _, b in ipairs(blocks) do os.remove(root .. "/" .. b.file) end
    for _, dir in ipairs { "/demo", "/lib", "" } do os.remove(root .. dir) end
  end)

  for _, b in ipairs(blocks) do
    if b.file:find "_spec%.lua$" then assert(load(b.text, "=" .. b.file, "t", _ENV))() end
  end

  it("has scripts that run", function()
    t.http("GET https://example.com/", { error = "no route", code = "connect" })
    t.machine { memory = { used = 1, total = 4 } }
    assert.are.equal("critical", t.run("demo/shop.run").events[1].status)
    assert.are.equal("critical", t.run("first.run").events[1].status)
    local r = t.run("demo/memory.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.is_truthy(r.log:find("info\tmemory percent=25 slot=", 1, true), r.log)
    r = t.run("demo/params.run", { url = "u" })
    assert.is_truthy(r.log:find("90\ta.example\t900\tu\n", 1, true), r.log)
    assert.are.equal("bad_params", t.run("demo/params.run").outcome)
    assert.is_truthy(t.run("demo/spellings.site_fr").log:find("fr", 1, true))
  end)
end)
