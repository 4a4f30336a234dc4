-- The plugin of lua-language-server reads `monitor<…>` as the program does: what the sandbox loads is plain Lua
-- after its replacements, of the same length, and nothing else changes.
local internal = require "selfmon.internal"
local embedded = require "kit.embedded"

local env = setmetatable({}, { __index = _G })
assert(load(embedded.get "types/plugin.lua", "=plugin.lua", "t", env))()

local function apply(text)
  local out, at = {}, 1
  for _, d in ipairs(env.OnSetText("file:///x.lua", text) or {}) do
    assert(d.start == d.finish and #d.text == 1 and d.start >= at, "one character for one, in order")
    out[#out + 1] = text:sub(at, d.start - 1) .. d.text
    at = d.finish + 1
  end
  return table.concat(out) .. text:sub(at)
end

-- Texts the program takes, and what the editor reads.
local TAKEN = {
  { "plain", 'monitor<title = "a">\nfunction run() end', 'monitor{title = "a"}\nfunction run() end' },
  { "blanks and comments", 'monitor --[[x>]] < -- >\n title="a" >\nfunction run() end',
    'monitor --[[x>]] { -- >\n title="a" }\nfunction run() end' },
  { "> in strings", [==[monitor<title = "a > b", doc = 'c \'> d', category = [[ > ]]>
function run() end]==], [==[monitor{title = "a > b", doc = 'c \'> d', category = [[ > ]]}
function run() end]==] },
  { "long brackets of a level", 'monitor<title = [==[ a ]] > ]=] ]==]>\nfunction run() end',
    'monitor{title = [==[ a ]] > ]=] ]==]}\nfunction run() end' },
  { "nested brackets", 'monitor<title = "a", params = { n = (2 > 1 and 1 or 2) }>\nfunction run() end',
    'monitor{title = "a", params = { n = (2 > 1 and 1 or 2) }}\nfunction run() end' },
  { "operators that hold a >", 'monitor<title = "a", timeout = 64 >> 2>\nfunction run() end',
    'monitor{title = "a", timeout = 64 >> 2}\nfunction run() end' },
  { ">= in parentheses", 'monitor<title = "a", first_run = (2 >= 1)>\nfunction run() end',
    'monitor{title = "a", first_run = (2 >= 1)}\nfunction run() end' },
  { "an attribute in a comment and in a string", '-- monitor<title = "no">\nlocal s = "monitor<title = 1>"\nmonitor{ title = s }\nfunction run() end',
    '-- monitor<title = "no">\nlocal s = "monitor<title = 1>"\nmonitor{ title = s }\nfunction run() end' },
  { "two in one file", 'monitor<title="a">\nfunction one() end\nmonitor<title="b">\nfunction two() end',
    'monitor{title="a"}\nfunction one() end\nmonitor{title="b"}\nfunction two() end' },
  { "a comparison", 'monitor{ title = "a" }\nfunction run(title) local m = monitor local x = title and m == title end',
    'monitor{ title = "a" }\nfunction run(title) local m = monitor local x = title and m == title end' },
  { "numbers with exponents", 'monitor<title = "a", timeout = 3e+1>\nfunction run() end', 'monitor{title = "a", timeout = 3e+1}\nfunction run() end' },
  { "a shebang and a byte order mark", '\239\187\191#!/usr/bin/env > monitor<title=1>\nmonitor<title = "a">\nfunction run() end',
    '\239\187\191#!/usr/bin/env > monitor<title=1>\nmonitor{title = "a"}\nfunction run() end' },
  { "\\z and escaped line ends", 'monitor<title = "a\\z\n   > b", doc = "x\\\n > y">\nfunction run() end',
    'monitor{title = "a\\z\n   > b", doc = "x\\\n > y"}\nfunction run() end' },
  { "text that is not ASCII", 'monitor<title = "磁盘 > 90 %">\nfunction run() end', 'monitor{title = "磁盘 > 90 %"}\nfunction run() end' },
}

-- Texts the program refuses, or that hold no attribute: the editor reads them as they are.
local LEFT = {
  'x = monitor < title',
  'return monitor < title == true',
  'foo.monitor<title = "a">',
  'monitor<title = "a"\nfunction run() end',
  'monitor<title = "a" then >',
  'monitor<title = "a]>\nfunction run() end',
  'monitor<title = [[a>\nfunction run() end',
  'monitor<"title">',
  'monitor<',
  '',
}

describe("the editor's plugin", function()
  for _, case in ipairs(TAKEN) do
    it("reads as the program: " .. case[1], function()
      local got = apply(case[2])
      assert.are.equal(case[3], got)
      assert.are.equal(#case[2], #got)
      local loaded, err = internal.load(case[2], "x.lua")
      assert.is_table(loaded, err)
      local plain = got:gsub("^\239\187\191", ""):gsub("^#[^\n]*", "")
      assert(load(plain, "=plain", "t"))
      local again
      again, err = internal.load(got, "x.lua")
      assert.is_table(again, err)
      assert.are.equal(loaded.inspections[1].title, again.inspections[1].title)
    end)
  end

  for i, text in ipairs(LEFT) do
    it("leaves alone: " .. i, function() assert.are.equal(text, apply(text)) end)
  end

  it("finishes for any text, and changes only < and >", function()
    local pieces = { "monitor", "<", ">", "title", "=", "{", "}", "(", ")", "[[", "]]", '"', "'", "--", "\n", " ", "\\", "1e",
                     ">>", ">=", "x", "function", "end", "[=[", "..", "." }
    math.randomseed(7)
    for _ = 1, 5000 do
      local parts = {}
      for i = 1, math.random(1, 24) do parts[i] = pieces[math.random(#pieces)] end
      local text = table.concat(parts)
      local got = apply(text)
      assert.are.equal(#text, #got)
      for i = 1, #text do
        local a, b = text:byte(i), got:byte(i)
        assert.is_true(a == b or a == 60 and b == 123 or a == 62 and b == 125, text)
      end
      -- What the plugin makes plain Lua, the program takes as well, and the other way round.
      local before = internal.load(text, "x.lua")
      if before and got ~= text then assert(load(got, "=got", "t")) end
    end
  end)
end)
