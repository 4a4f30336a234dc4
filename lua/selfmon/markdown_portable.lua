-- markdown_portable: a Markdown text in what one bot shows, and what it would not have shown.
--
-- By the vendors' pages (platform facts, 7); what a page does not list counts as not shown. The text is
-- read line by line, as these bots do: fences, tables, headings, quotes, lists, rules, paragraphs; then
-- within a line. Searches within a line look some hundred bytes ahead, and no pattern has two loops over
-- the same letters, so that no text takes long.
local M = {}

local AHEAD = 600

-- What each bot shows. limit: bytes of text, UTF-8, that are safe to send.
M.targets = {
  dingtalk = {
    name = "DingTalk", limit = 15000, heading = true, bold = true, italic = true, image = true, quote = true,
    list = true, breaks = "  \n", bullet = "- ",
  },
  lark = {
    name = "Lark", limit = 18000, bold = true, italic = true, strike = true, rule = true, bullet = "• ",
    colours = { green = true, red = true, grey = true }, entities = true, at = true,
  },
  wecom = {
    name = "WeCom", limit = 4096, heading = true, bold = true, quote = true, code = true, bullet = "• ",
    colours = { info = true, comment = true, warning = true }, mention = true,
  },
}

-- harm: "plain" stays readable as it is, without its dress; "lost" shows as raw signs, or not at all.
local WORDS = {
  heading = { "lost", "no headings: they show as # signs" },
  italic = { "plain", "no italics" },
  strike = { "lost", "no strikethrough: it shows as ~~ signs" },
  image = { "lost", "no images by address" },
  quote = { "lost", "no quotes: they show as > signs" },
  ["nested quote"] = { "lost", "no quotes within quotes" },
  list = { "plain", "no lists: they show as typed" },
  ["task list"] = { "lost", "no boxes in lists" },
  code = { "plain", "no inline code: it shows with its backticks" },
  ["code block"] = { "lost", "no code blocks: they show as backticks and plain lines" },
  table = { "lost", "no tables: they show as lines with bars" },
  rule = { "plain", "no rules: they show as dashes" },
  html = { "lost", "no such HTML: it shows as it is, or not at all" },
  link = { "lost", "only http and https addresses as links" },
  escape = { "plain", "no backslashes: they show" },
  length = { "lost", nil },
}

local function note(ctx, what, sentence)
  local key = ctx.line .. what
  if ctx.seen[key] then return end
  ctx.seen[key] = true
  ctx.found[#ctx.found + 1] = { line = ctx.line, what = what, harm = WORDS[what][1],
    sentence = ("%s shows %s"):format(ctx.bot.name, sentence or WORDS[what][2]) }
end

local inline

local function entity(c)
  return ("&#%d;"):format(c:byte())
end

local NAMED = { lt = "<", gt = ">", amp = "&", quot = '"', apos = "'", nbsp = " " }

-- Where `close` stands again in this line, behind at least one byte.
local function closing(text, from, close)
  local stop = math.min(#text, from + AHEAD)
  local at = from
  for _ = 1, 40 do
    at = text:find(close, at, true)
    if not at or at + #close - 1 > stop then return end
    local before, after = text:sub(at - 1, at - 1), text:sub(at + #close, at + #close)
    if at > from and not before:find "[%s\\]" and (close:sub(1, 1) ~= "_" or not after:find "[%w_]")
      and (#close > 1 or after ~= close) then
      return at
    end
    at = at + (after == close and 2 or 1)
  end
end

-- Each reads what begins at i and answers its replacement and where to go on; nil when it is not that.
local function read_code(ctx, text, i)
  local ticks = text:match("^`+", i)
  local close, last = i + #ticks, nil
  repeat
    close, last = text:find("`+", close)
    if not close or close > i + AHEAD then return ticks, i + #ticks end
    local same = last - close + 1 == #ticks
    if not same then close = last + 1 end
  until same
  local inner = text:sub(i + #ticks, close - 1)
  if ctx.bot.code then return text:sub(i, last), last + 1 end
  note(ctx, "code")
  return ctx.bot.entities and inner:gsub("[<>*_~`]", entity) or inner:match "^ ?(.-) ?$", last + 1
end

-- The address in parentheses at i, which may hold pairs of them, and a title, which is dropped.
local function address_at(text, i)
  local depth, k, stop, address = 0, i, math.min(#text, i + 4 * AHEAD), nil
  while k <= stop do
    k = text:find("[()%s<>]", k)
    if not k or k > stop then return end
    local c = text:sub(k, k)
    if c == "(" then
      depth = depth + 1
      if depth > 3 then return end
    elseif c == ")" then
      depth = depth - 1
      if depth == 0 then return address or text:sub(i + 1, k - 1), k + 1 end
    elseif c == "<" and k > i + 1 or c == "\n" then
      return
    elseif not address and k > i + 1 then
      address = text:sub(i + 1, k - 1)
    end
    k = k + 1
  end
end

-- "[text](address)" at i: text, address, where it ends.
local function link_at(text, i)
  local depth, k, stop = 0, i, i + AHEAD
  while true do
    k = text:find("[%[%]]", k)
    if not k or k > stop then return end
    if text:byte(k - 1) ~= 92 then
      depth = depth + (text:byte(k) == 91 and 1 or -1)
      if depth == 0 then
        if text:sub(k + 1, k + 1) ~= "(" then return end
        local address, last = address_at(text, k + 1)
        return address and text:sub(i + 1, k - 1), address and address:gsub("^<", ""), last
      end
    end
    k = k + 1
  end
end

local function read_link(ctx, text, i, image)
  local shown, address, last = link_at(text, image and i + 1 or i)
  if not shown then return end
  local web = address:find "^[Hh][Tt][Tt][Pp][Ss]?://"
  if image and ctx.bot.image and web then return text:sub(i, last - 1), last end
  if image then
    note(ctx, "image")
    shown = shown == "" and "image" or shown
  end
  shown = inline(ctx, shown)
  if web then return ("[%s](%s)"):format(shown, address), last end
  if not image then note(ctx, "link") end
  return address ~= "" and ("%s (%s)"):format(shown, address) or shown, last
end

local HTML = {}
for name in ("a abbr at b big blockquote br center code del details div em font h1 h2 h3 h4 h5 h6 hr i img ins kbd li "
  .. "mark ol p pre q s script small span strike strong style sub summary sup table tbody td th thead tr u ul"):gmatch "%S+" do
  HTML[name] = true
end

local function read_tag(ctx, text, i)
  local address, last = text:match("^<([Hh][Tt][Tt][Pp][Ss]?://[^%s<>]+)>()", i)
  if address then return ("[%s](%s)"):format(address, address), last end
  local user
  user, last = text:match("^(<@[%w_.-]+>)()", i)
  if user then
    if ctx.bot.mention then return user, last end
    note(ctx, "html")
    return user:sub(2, -2), last
  end
  if text:find("^<!%-%-", i) then
    local _, stop = text:sub(i, i + AHEAD):find("-->", 5, true)
    if not stop then return end
    note(ctx, "html")
    return "", i + stop
  end
  local tag = text:match("^<[^<>]*>", i)
  local slash, name, rest = (tag or ""):match "^<(/?)(%a[%w-]*)([^<>]*)>$"
  name = name and name:lower()
  -- <name> of no HTML is a word of the text.
  if not HTML[name] then return end
  last = i + #tag
  if name == "at" and ctx.bot.at then return tag, last end
  if name == "font" and ctx.bot.colours then
    if slash == "/" then
      local open = table.remove(ctx.fonts)
      return open and tag or "", last
    end
    local known = ctx.bot.colours[rest:match "color%s*=%s*[\"']?([%w#]+)" or ""]
    ctx.fonts[#ctx.fonts + 1] = known or false
    if known then return tag, last end
  end
  note(ctx, "html")
  return name == "br" and (ctx.bot.breaks or "\n") or "", last
end

local function read_marked(ctx, text, i)
  local mark = text:match("^%*%*%*", i) or text:match("^%*%*", i) or text:match("^__", i) or text:match("^~~", i)
    or text:match("^[*_]", i)
  if not mark or text:find("^%s", i + #mark) then return end
  local letter = mark:sub(1, 1)
  if letter == "_" and text:sub(i - 1, i - 1):find "[%w_]" then return end
  local close = closing(text, i + #mark, mark)
  if not close then return end
  local inner, last = inline(ctx, text:sub(i + #mark, close - 1)), close + #mark
  local bot, kind = ctx.bot, letter == "~" and "strike" or #mark == 2 and "bold" or #mark == 3 and "both" or "italic"
  if kind == "both" then
    if not bot.italic then note(ctx, "italic") end
    return bot.italic and "***" .. inner .. "***" or "**" .. inner .. "**", last
  end
  if not bot[kind] then
    note(ctx, kind)
    return inner, last
  end
  local sign = kind == "strike" and "~~" or kind == "bold" and "**" or "*"
  return sign .. inner .. sign, last
end

function inline(ctx, text)
  local out, i, n, link = {}, 1, #text, 0
  -- Whether a link can be complete before long: where the next "](" is, is looked up once.
  local function near_link()
    if link and link < i then link = text:find("](", i, true) end
    return link and link <= i + AHEAD
  end
  while i <= n do
    local plain, stop = text:match("^[^\\`!%[<*_~&]+()", i)
    if plain then
      out[#out + 1], i = text:sub(i, plain - 1), plain
    else
      local c, piece = text:sub(i, i), nil
      if c == "\\" then
        local sign = text:match("^\\(%p)", i)
        if sign then
          if not ctx.bot.entities then note(ctx, "escape") end
          piece, stop = ctx.bot.entities and entity(sign) or sign, i + 2
        end
      elseif c == "`" then
        piece, stop = read_code(ctx, text, i)
      elseif c == "!" then
        if text:sub(i + 1, i + 1) == "[" and near_link() then piece, stop = read_link(ctx, text, i, true) end
      elseif c == "[" then
        if near_link() then piece, stop = read_link(ctx, text, i) end
      elseif c == "<" then
        piece, stop = read_tag(ctx, text, i)
      elseif c == "&" then
        local name, last = text:match("^&(%a+);()", i)
        if name and NAMED[name] and not ctx.bot.entities then piece, stop = NAMED[name], last end
      else
        piece, stop = read_marked(ctx, text, i)
        -- A run of signs that marks nothing is passed as one, as *** is not * and **.
        if not piece then piece, stop = text:match("^(%" .. c .. "+)()", i) end
      end
      out[#out + 1], i = piece or c, piece and stop or i + 1
    end
  end
  return table.concat(out)
end

-- Blocks -------------------------------------------------------------------------------------------------

local function cells_of(line)
  local out = {}
  line = line:gsub("^%s*|", ""):gsub("|%s*$", ""):gsub("\\|", "\1")
  for cell in (line .. "|"):gmatch "([^|]*)|" do
    out[#out + 1] = (cell:gsub("\1", "|"):match "^%s*(.*%S)") or ""
  end
  return out
end

local function is_delimiter(line)
  if not line or not line:find("-", 1, true) or not line:find "^[%s|:-]+$" then return false end
  for _, cell in ipairs(cells_of(line)) do
    if not cell:find "^:?%-+:?$" then return false end
  end
  return line:find("|", 1, true) ~= nil
end

-- Rows as lines: titles in bold, then one line for each row.
local function write_table(ctx, lines, at, out)
  note(ctx, "table")
  out[#out + 1] = "**" .. table.concat(cells_of(lines[at]), " · "):gsub("%*%*", "") .. "**"
  out[#out] = inline(ctx, out[#out])
  local i = at + 2
  while lines[i] and lines[i]:find("|", 1, true) and lines[i]:find "%S" do
    ctx.line = i
    local row = {}
    for k, cell in ipairs(cells_of(lines[i])) do row[k] = inline(ctx, cell) end
    while row[2] and row[#row] == "" do row[#row] = nil end
    out[#out + 1] = ctx.bot.bullet .. table.concat(row, " · ")
    i = i + 1
  end
  return i
end

local function write_fence(ctx, lines, at, out)
  local fence = lines[at]:match "^%s*(```+)" or lines[at]:match "^%s*(~~~+)"
  note(ctx, "code block")
  local i = at + 1
  while lines[i] and not lines[i]:find("^%s*" .. fence:gsub("~", "%%~")) do
    local line = lines[i]
    if ctx.bot.code and line:find "%S" and not line:find("`", 1, true) then
      line = "`" .. line .. "`"
    elseif ctx.bot.entities then
      line = line:gsub("[<>*_~`]", entity)
    elseif ctx.bot.quote then
      line = "> " .. line
    end
    out[#out + 1] = line
    i = i + 1
  end
  return i + 1
end

local function write_quote(ctx, line, out)
  local signs, rest = line:match "^%s*([>%s]*)(.*)$"
  local _, depth = signs:gsub(">", "")
  if depth > 1 then note(ctx, "nested quote") end
  if ctx.bot.quote then
    out[#out + 1] = "> " .. inline(ctx, rest)
  else
    note(ctx, "quote")
    out[#out + 1] = "▎" .. inline(ctx, rest)
  end
end

local function write_item(ctx, indent, mark, rest, out)
  local box, after = rest:match "^%[([ xX])%]%s+(.*)$"
  if box then
    note(ctx, "task list")
    rest = (box == " " and "☐ " or "☑ ") .. after
  end
  local number = mark:match "^%d+"
  if ctx.bot.list then
    mark = number and number .. ". " or "- "
  else
    note(ctx, "list")
    mark = number and number .. ") " or ctx.bot.bullet
  end
  out[#out + 1] = indent .. mark .. inline(ctx, rest)
end

-- One line, or several; answers the next line's number.
local function write_block(ctx, lines, i, out)
  local line = lines[i]
  ctx.line = i
  if line:find "^%s*```" or line:find "^%s*~~~" then return write_fence(ctx, lines, i, out) end
  if line:find("|", 1, true) and is_delimiter(lines[i + 1]) then return write_table(ctx, lines, i, out) end
  local level, title = line:match "^%s?%s?%s?(#+)%s+(.*)$"
  if level then
    title = title:match "^.*%S" or ""
    title = title:match "^(.*[^#%s])%s+#+$" or title
  end
  if not (level and #level <= 6) then
    level = line:find "^%S" and lines[i + 1] and lines[i + 1]:find "^==+%s*$" and "#" or nil
    title = line
  end
  if level then
    local under = not line:find "^%s*#"
    if ctx.bot.heading then
      out[#out + 1] = level .. " " .. inline(ctx, title)
    else
      note(ctx, "heading")
      out[#out + 1] = title == "" and "" or "**" .. inline(ctx, (title:gsub("%*%*", ""))) .. "**"
    end
    return i + (under and 2 or 1)
  end
  local squeezed = line:gsub("%s", "")
  if #squeezed >= 3 and (squeezed:find "^%-+$" or squeezed:find "^%*+$" or squeezed:find "^_+$") then
    if not ctx.bot.rule then note(ctx, "rule") end
    out[#out + 1] = ctx.bot.rule and "---" or "————"
    return i + 1
  end
  if line:find "^%s*>" then
    write_quote(ctx, line, out)
    return i + 1
  end
  local indent, mark, rest = line:match "^(%s*)([-*+])%s+(.*)$"
  if not mark then
    indent, mark, rest = line:match "^(%s*)(%d+%.)%s+(.*)$"
  end
  if mark and #mark <= 10 then
    write_item(ctx, indent, mark, rest, out)
  else
    out[#out + 1] = inline(ctx, line)
  end
  return i + 1
end

-- At most `limit` bytes, whole characters, if possible whole lines, and no bold left open.
local function cut(text, limit)
  local room = limit - #"…" - #"**"
  while room > 0 and (text:byte(room + 1) or 0) & 0xC0 == 0x80 do room = room - 1 end
  local kept = text:sub(1, room)
  local line = kept:match "^.*()\n"
  if line and line > room - 300 then kept = kept:sub(1, line - 1) end
  kept = kept:match "^.*[^%s*]" or ""
  local last = kept:sub(kept:match "^.*\n()" or 1)
  local _, stars = last:gsub("%*%*", "")
  return kept .. (stars % 2 == 1 and "**" or "") .. "…"
end

--- The text for a bot of M.targets, and the list of what that bot would not have shown.
function M.rewrite(text, target)
  local ctx = { bot = M.targets[target], line = 1, found = {}, seen = {}, fonts = {} }
  local lines, out = {}, {}
  for line in (text:gsub("\r\n?", "\n") .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  local i = 1
  while i <= #lines do i = write_block(ctx, lines, i, out) end
  if ctx.bot.breaks then
    -- A single newline within a paragraph shows as none.
    for k = 1, #out - 1 do
      local a, b = out[k], out[k + 1]
      if a:find "%S" and b:find "%S" and not a:find "^#" and not b:find "^[#>-]" and not b:find "^%s*%d+%. "
        and not a:find "  $" then
        out[k] = a .. "  "
      end
    end
  end
  local result = table.concat(out, "\n")
  local limit = ctx.bot.limit
  if #result > limit then
    ctx.line = #lines
    note(ctx, "length", ("at most %d bytes of text, this has %d"):format(limit, #result))
    result = cut(result, limit)
  end
  return result, ctx.found
end

return M
