-- selfmon.markdown: what it writes, and what it makes of texts for bots: tests/data/markdown/NAME.md with
-- NAME.BOT.md (the text) and NAME.BOT.found (line, what, harm).
local markdown = require "selfmon.markdown"
local internal = require "selfmon.internal"
local time = require "selfmon.time"

local BOTS = { "dingtalk", "lark", "wecom" }

local function read(name)
  local f = assert(io.open("tests/data/markdown/" .. name, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function found(list)
  local lines = {}
  for i, f in ipairs(list) do lines[i] = ("%d\t%s\t%s\n"):format(f.line, f.what, f.harm) end
  return table.concat(lines)
end

describe("markdown.portable", function()
  for _, name in ipairs { "everything", "event", "plain" } do
    for _, bot in ipairs(BOTS) do
      it(("makes %s for %s"):format(name, bot), function()
        local text, list = markdown.portable(read(name .. ".md"), bot)
        assert.are.equal(read(("%s.%s.md"):format(name, bot)), text)
        assert.are.equal(read(("%s.%s.found"):format(name, bot)), found(list))
      end)

      it(("leaves %s for %s as it is the second time"):format(name, bot), function()
        local once = markdown.portable(read(name .. ".md"), bot)
        local twice, list = markdown.portable(once, bot)
        assert.are.equal(once, twice)
        assert.are.equal("", found(list))
      end)
    end
  end

  it("finds nothing in the common subset", function()
    for _, bot in ipairs(BOTS) do assert.are.same({}, select(2, markdown.portable(read "plain.md", bot))) end
  end)

  it("says each thing in a sentence that names the bot", function()
    local _, list = markdown.portable("x\n![p](https://x/p.png)", "wecom")
    assert.are.same({ { line = 2, what = "image", harm = "lost", sentence = "WeCom shows no images by address" } }, list)
  end)

  it("cuts at WeCom's 4096 bytes, between characters and lines", function()
    for _, piece in ipairs { "x", "中", "é", "😀", "**粗** ", "a line of text\n", "中文 **bold** 中文\n", "**" .. ("b"):rep(200) .. "** " } do
      for extra = 0, 4 do
        local text, list = markdown.portable(("y"):rep(extra) .. piece:rep(5000 // #piece + 100), "wecom")
        assert.is_true(#text <= 4096, piece .. " " .. #text)
        assert.is_true(#text > 4096 - 320, piece .. " " .. #text)
        assert.is_truthy(utf8.len(text), piece)
        assert.are.equal("…", text:sub(-3))
        assert.are.equal(0, select(2, text:gsub("%*%*", "")) % 2, piece)
        assert.are.equal("length", list[#list].what)
        assert.is_truthy(list[#list].sentence:find("WeCom shows at most 4096 bytes of text, this has ", 1, true))
      end
    end
    local full = ("x"):rep(4096)
    assert.are.equal(full, (markdown.portable(full, "wecom")))
  end)

  it("is whole and soon for any text", function()
    local before = time.monotonic()
    for _, piece in ipairs { "[", "![", "*", "_", "**", "~~", "`", "``` ", "<", "<font color=\"info\">", "</font>", "\\", "&lt;", "|", "> ",
                             "- ", "# ", "[a](", "*a ", "_a_", "\n|", "|-|\n", "&a", "[a](x", "# ", " ", "<a", "<!--", "==", "(", "\0", "\xff", "[a](https://x)", "***", "1. " } do
      for _, bot in ipairs(BOTS) do
        for _, text in ipairs { piece, piece:rep(3), piece:rep(32768 // #piece), (piece .. "x"):rep(500), ("x" .. piece):rep(500) .. "\n" } do
          local out, list = markdown.portable(text, bot)
          assert.is_string(out)
          assert.is_table(list)
          assert.is_true(#out <= 18000)
        end
      end
    end
    assert.is_true(time.monotonic() - before < 60, "took " .. time.monotonic() - before)
  end)

  it("keeps every word of a text of words", function()
    math.randomseed(20260904)
    local marks = { "**", "*", "_", "`", "~~", "\n", "\n\n", "\n- ", "\n> ", "\n## ", " ", " ", " ", " ", "\n1. ", "|", "[", "]", "(", ")" }
    for _ = 1, 500 do
      local words, text = {}, {}
      for k = 1, 30 do
        words[k] = "w" .. k .. "w"
        text[#text + 1] = words[k]
        text[#text + 1] = marks[math.random(#marks)]
      end
      text = table.concat(text)
      for _, bot in ipairs(BOTS) do
        local out = markdown.portable(text, bot)
        for _, word in ipairs(words) do
          assert.is_truthy(out:find(word, 1, true), ("%s lost %s of %q: %q"):format(bot, word, text, out))
        end
      end
    end
  end)
end)

describe("markdown", function()
  it("writes tables", function()
    assert.are.equal("| Host | Used |\n| --- | ---: |\n| web1 | 91 |\n| a\\|b c | 3.5 |",
      markdown.table({ { "web1", 91 }, { "a|b\nc", 3.5 } }, { "Host", "Used" }))
    assert.are.equal("| Host | Disk used |\n| --- | --- |\n| web1 |  |\n| db1 | true |",
      markdown.table({ { host = "web1" }, { host = "db1", used = true } }, { { "host", "Host" }, { "used", "Disk used" } }))
    assert.are.equal("| a |\n| --- |", markdown.table({}, { "a" }))
  end)

  it("writes lists", function()
    assert.are.equal("- a\n- 2", markdown.list { "a", 2 })
    assert.are.equal("1. a\n   1. b\n2. c", markdown.list({ "a", { "b" }, "c" }, { ordered = true }))
    assert.are.equal("- a\n  - b\n  - c\n    d\n- e", markdown.list { "a", { "b", "c\nd" }, "e" })
    assert.are.equal("", markdown.list {})
  end)

  it("writes links", function()
    assert.are.equal("[a\\]b](https://x/%28y%29%20z)", markdown.link("a]b", "https://x/(y) z"))
    assert.are.equal("[https://x/](https://x/)", markdown.link("", "https://x/"))
    assert.are.equal("click", markdown.link("click", "javascript:alert(1)"))
    assert.are.equal("click", markdown.link("click", "/local"))
  end)

  it("escapes, so that a bot shows the text itself", function()
    assert.are.equal("a\\*b\\_c \\[x\\](y)\n\\# 1\n1\\. - \\<b\\> \\`\\|\\~", markdown.escape "a*b_c [x](y)\n# 1\n1. - <b> `|~")
    for _, text in ipairs { "a*b*c", "# no title", "- no item", "1. no number", "[no](https://link/)", "`no code`", "snake_case_", "a < b > c" } do
      for _, bot in ipairs { "dingtalk", "wecom" } do
        assert.are.equal(text, (markdown.portable(markdown.escape(text), bot)))
      end
      local lark = markdown.portable(markdown.escape(text), "lark"):gsub("&#(%d+);", function(n) return string.char(n) end)
      assert.are.equal(text, lark)
    end
    assert.are.equal("5", markdown.escape(5))
  end)
end)

describe("a wrong call of markdown", function()
  for _, row in ipairs {
    { "markdown.escape()", "markdown.escape: expected a text, number or boolean, got nil" },
    { "markdown.escape{}", "got table" },
    { "markdown.link('x')", "markdown.link: url: expected a text, got nil" },
    { "markdown.link({}, 'https://x/')", "markdown.link: text: expected a text, number or boolean, got table" },
    { "markdown.list('x')", 'markdown.list: expected a list, got "x"' },
    { "markdown.list{ 1, nil, 3, n = 1 }", 'the key "n"' },
    { "markdown.list{ { print } }", "markdown.list: items[1][1]: expected a text, number or boolean, got function" },
    { "local l = {} l[1] = l markdown.list(l)", "the list contains itself" },
    { "markdown.list({}, { order = true })", 'unknown option "order"; known is ordered' },
    { "markdown.table()", "markdown.table: rows: expected a list, got nil" },
    { "markdown.table({ 1 }, { 'a' })", "markdown.table: rows[1]: expected a table, got 1" },
    { "markdown.table({ { {} } }, { 'a' })", "markdown.table: rows[1], column 1: expected a text, number or boolean, got table" },
    { "markdown.table({}, {})", "markdown.table: columns: expected at least one" },
    { "markdown.portable('x')", "markdown.portable: expected dingtalk, lark or wecom, got nil" },
    { "markdown.portable('x', 'slack')", 'expected dingtalk, lark or wecom, got "slack"' },
    { "markdown.portable(1, 'lark')", "markdown.portable: expected a text, got 1" },
  } do
    it("raises at the script's line: " .. row[1], function()
      local r = internal.run('local markdown = require "selfmon.markdown"\nmonitor{ title = "t" }\nfunction run()\n' .. row[1]
        .. "\nend", "run", {}, { file = "t.lua" })
      assert.are.equal("failed", r.outcome)
      assert.is_truthy(r.error:find("^inspections/t%.lua:4: markdown%."), r.error)
      assert.is_truthy(r.error:find(row[2], 1, true), r.error)
    end)
  end
end)
