-- cjson.safe
return {
  module = "cjson.safe", since = "0.1.0", like = "cjson", page = "docs/modules/cjson.md",
  doc = [[`cjson` with an `encode` and a `decode` that answer `nil, message, code` instead of raising. Wrong arguments
raise in both.]],
  functions = {
    {
      name = "encode",
      doc = "A value as JSON, or what has no form in it.",
      params = { { "value", "any" } },
      returns = { { "text", "string?" }, { "message", "string?" }, { "code", "string?", '`"invalid"` or `"limit"`' } },
      example = [[
        local json = require "cjson.safe"
        local text, err = json.encode { f = print }
        assert(text == nil and err:find("f", 1, true))
      ]],
    },
    {
      name = "decode",
      doc = "A JSON text as a value, or where it is wrong.",
      params = { { "text", "string" } },
      returns = { { "value", "any" }, { "message", "string?" }, { "code", "string?", '`"invalid"` or `"limit"`' } },
      example = [[
        local json = require "cjson.safe"
        local value, err, code = json.decode "{"
        assert(value == nil and code == "invalid", err)
      ]],
    },
    {
      name = "new",
      doc = "A module table with settings of its own.",
      returns = { { "module", "cjson.safe" } },
      example = [[
        local json = require "cjson.safe"
        assert(json.new().encode(1) == "1")
      ]],
    },
  },
}
