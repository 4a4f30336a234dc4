return {
  module = "selfmon.markdown", since = "0.1.0",
  doc = [[Writes Markdown from values, and rewrites a text for the chat bots that show it in the end. Pure.]],
  types = {
    { name = "selfmon.markdown.Lost", doc = "Something that a bot would not have shown.", fields = {
      { "line", "integer", "line of the text" },
      { "what", "string", "heading, italic, strike, image, quote, nested quote, list, task list, code, code block, table, "
        .. "rule, html, link, escape or length" },
      { "harm", '"plain"|"lost"', "plain: it stays readable; lost: raw signs, or nothing" },
      { "sentence", "string", "names the bot and what it does not show" },
    } },
  },
  functions = {
    { name = "escape", doc = "The text with a backslash before everything that Markdown would take for its own.",
      params = { { "text", "string|number|boolean", "" } }, returns = { { "markdown", "string" } },
      example = [[print(require "selfmon.markdown".escape "snake_case *and* more")]] },
    { name = "link", doc = "[text](url); the text alone when the address is not http, https or mailto.",
      params = { { "text", "string|number|boolean", "escaped" }, { "url", "string", "signs that would end it are encoded" } },
      returns = { { "markdown", "string" } },
      example = [[print(require "selfmon.markdown".link("run book", "https://wiki.example/disk"))]] },
    { name = "list", doc = "One line for each item. A list among the items is a level of its own.",
      params = { { "items", "any[]", "texts (Markdown), numbers, booleans or lists" },
                 { "opts?", "{ ordered: boolean? }", "ordered: numbers instead of dashes" } },
      returns = { { "markdown", "string" } },
      example = [[print(require "selfmon.markdown".list { "first", { "below it" }, "second" })]] },
    { name = "table", doc = "A table. Bars and newlines in cells are taken care of; columns of numbers stand to the right.",
      params = { { "rows", "table[]", "lists of cells, or records" },
                 { "columns", "(string|{ [1]: string, [2]: string })[]", "titles; for records keys, or key and title" } },
      returns = { { "markdown", "string" } },
      example = [[print(require "selfmon.markdown".table({ { "web1", 91.5 }, { "db1", 40 } }, { "Host", "Used %" }))]] },
    { name = "portable", doc = "The text in the Markdown that a bot shows, cut to the length it takes, and what it would not have shown.",
      params = { { "text", "string", "Markdown" }, { "bot", '"dingtalk"|"lark"|"wecom"', "" } },
      returns = { { "text", "string" }, { "lost", "selfmon.markdown.Lost[]", "empty when the bot shows all of it" } },
      example = [[local text, lost = require "selfmon.markdown".portable("| Host |\n| --- |\n| web1 |", "wecom")
print(text, #lost)]] },
  },
}
