-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.markdown

---Something that a bot would not have shown.
---@class selfmon.markdown.Lost
---@field line integer line of the text
---@field what string heading, italic, strike, image, quote, nested quote, list, task list, code, code block, table, rule, html, link, escape or length
---@field harm "plain"|"lost" plain: it stays readable; lost: raw signs, or nothing
---@field sentence string names the bot and what it does not show

---Writes Markdown from values, and rewrites a text for the chat bots that show it in the end. Pure.
---@class selfmon.markdown
local M = {}

---The text with a backslash before everything that Markdown would take for its own.
---```lua
---print(require "selfmon.markdown".escape "snake_case *and* more")
---```
---@param text string|number|boolean
---@return string markdown
---@nodiscard
function M.escape(text) end

---[text](url); the text alone when the address is not http, https or mailto.
---```lua
---print(require "selfmon.markdown".link("run book", "https://wiki.example/disk"))
---```
---@param text string|number|boolean escaped
---@param url string signs that would end it are encoded
---@return string markdown
---@nodiscard
function M.link(text, url) end

---One line for each item. A list among the items is a level of its own.
---```lua
---print(require "selfmon.markdown".list { "first", { "below it" }, "second" })
---```
---@param items any[] texts (Markdown), numbers, booleans or lists
---@param opts? { ordered: boolean? } ordered: numbers instead of dashes
---@return string markdown
---@nodiscard
function M.list(items, opts) end

---A table. Bars and newlines in cells are taken care of; columns of numbers stand to the right.
---```lua
---print(require "selfmon.markdown".table({ { "web1", 91.5 }, { "db1", 40 } }, { "Host", "Used %" }))
---```
---@param rows table[] lists of cells, or records
---@param columns (string|{ [1]: string, [2]: string })[] titles; for records keys, or key and title
---@return string markdown
---@nodiscard
function M.table(rows, columns) end

---The text in the Markdown that a bot shows, cut to the length it takes, and what it would not have shown.
---```lua
---local text, lost = require "selfmon.markdown".portable("| Host |\n| --- |\n| web1 |", "wecom")
---print(text, #lost)
---```
---@param text string Markdown
---@param bot "dingtalk"|"lark"|"wecom"
---@return string text
---@return selfmon.markdown.Lost[] lost empty when the bot shows all of it
---@nodiscard
function M.portable(text, bot) end

return M
