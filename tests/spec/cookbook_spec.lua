-- docs/cookbook.md, docs/testing.md and docs/permissions.md: every block of Lua that begins with
-- `-- inspections/PATH` is written to a folder as it stands, loads, and the specs among them pass.
local internal = require "selfmon.internal"
local t = require "selfmon.testing"
local lfs = require "lfs"

local PAGES = { "docs/cookbook.md", "docs/testing.md", "docs/permissions.md" }
local RECIPES = 20

local blocks, libs, recipes = {}, {}, {}
for _, page in ipairs(PAGES) do
  local f = io.open(page)
  local text = f and f:read "a" or ""
  if f then f:close() end
  local section = "start"
  local at = 1
  while true do
    local from, to, block = text:find("\n```lua\n(%-%- inspections/.-\n)```", at)
    if not from then break end
    for title in text:sub(at, from):gmatch "\n## ([^\n]+)" do section = title end
    local file = block:match "^%-%- inspections/(%S+%.lua)\n"
    blocks[#blocks + 1] = { page = page, section = section, file = file, text = block }
    if file:find "^lib/" then libs[file] = block end
    at = to
  end
  if page == "docs/cookbook.md" then
    for title in text:gmatch "\n## ([^\n]+)" do recipes[#recipes + 1] = title end
  end
end

local function is_spec(block)
  return block.file:find "_spec%.lua$" ~= nil
end

describe("the cookbook", function()
  it(("has at least %d recipes, each with a script and a spec of it"):format(RECIPES), function()
    assert.is_true(#recipes >= RECIPES, #recipes .. " recipes")
    for _, title in ipairs(recipes) do
      local script, spec
      for _, block in ipairs(blocks) do
        if block.page == "docs/cookbook.md" and block.section == title then
          if is_spec(block) then spec = block.file elseif not block.file:find "^lib/" then script = block.file end
        end
      end
      assert.is_truthy(script, title .. " has no script")
      assert.are.equal(script:gsub("%.lua$", "_spec.lua"), spec, title .. " has no spec")
    end
  end)

  it("has each file once", function()
    local seen = {}
    for _, block in ipairs(blocks) do
      assert.is_nil(seen[block.file], block.file)
      seen[block.file] = true
    end
  end)

  it("has no line that its reader must scroll", function()
    for _, block in ipairs(blocks) do
      for line in block.text:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) <= 130, block.file .. ": " .. line)
      end
    end
  end)
end)

describe("the scripts load:", function()
  for _, block in ipairs(blocks) do
    it(block.file, function()
      if is_spec(block) then return assert(load(block.text, "=" .. block.file)) end
      local loaded, err = internal.load(block.text, { file = block.file, libs = libs })
      assert.is_table(loaded, err)
      assert.is_true(#loaded.inspections > 0 or block.file:find "^lib/" ~= nil)
    end)
  end
end)

describe("their specs pass:", function()
  local root, made = nil, {}

  setup(function()
    root = os.tmpname()
    os.remove(root)
    assert(lfs.mkdir(root))
    for _, block in ipairs(blocks) do
      local dir = root
      for part in block.file:gmatch "([^/]+)/" do
        dir = dir .. "/" .. part
        if lfs.mkdir(dir) then made[#made + 1] = dir end
      end
      local f = assert(io.open(root .. "/" .. block.file, "w"))
      f:write(block.text)
      f:close()
    end
  end)

  before_each(function() t.root(root) end)

  it("has nothing that lint would find", function()
    local program = io.popen("readlink /proc/$PPID/exe"):read "l"
    local p = assert(io.popen(("cd %s && %s lint . 2>&1"):format(root, program)))
    local out = p:read "a"
    assert.is_true(p:close(), out)
  end)

  teardown(function()
    for _, block in ipairs(blocks) do os.remove(root .. "/" .. block.file) end
    for i = #made, 1, -1 do os.remove(made[i]) end
    os.remove(root)
  end)

  for _, block in ipairs(blocks) do
    if is_spec(block) then
      describe(block.file, function()
        assert(load(block.text, "=" .. block.file, "t", _ENV))()
      end)
    end
  end
end)
