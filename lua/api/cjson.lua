-- cjson
return {
  module = "cjson", since = "0.1.0",
  doc = [[JSON under lua-cjson's own names, made exact and safe: integers of 64 bits both ways, strict UTF-8, limits
(8 MiB of text, 64 levels, 1,000,000 values). It raises for what cannot be encoded or decoded; `cjson.safe` answers
`nil, message, code` instead. Nothing blocks; it may be used while a script loads.]],
  values = {
    { "null", "userdata", "what `null` becomes, and what becomes `null`" },
    { "empty_array", "userdata", "a value that becomes `[]`; an empty table becomes `{}`" },
    { "array_mt", "table", "a metatable: `setmetatable(t, cjson.array_mt)` is written as an array, also when empty" },
    { "_NAME", "string", "`\"cjson\"`" },
    { "_VERSION", "string", "the version of lua-cjson whose names these are" },
  },
  functions = {
    {
      name = "encode",
      doc = [[A value as JSON. Floats get the fewest digits that read back the same; metatables other than `array_mt`
are ignored. Raises with the path of what has no form in JSON: `cjson.encode: items[2].name: …`.]],
      params = { { "value", "any" } },
      returns = { { "text", "string" } },
      example = [[
        assert(cjson.encode { ids = cjson.empty_array } == '{"ids":[]}')
        assert(cjson.encode { 1 << 53, 0.1 } == "[9007199254740992,0.1]")
      ]],
    },
    {
      name = "decode",
      doc = [[A JSON text as a value. Integral numbers arrive as integers, `null` as `cjson.null`. Raises with the
place: `cjson.decode: character 7: malformed number`.]],
      params = { { "text", "string" } },
      returns = { { "value", "any" } },
      example = [[
        local t = cjson.decode '{"id": 9007199254740993, "ok": null}'
        assert(t.id == 9007199254740993 and t.ok == cjson.null)
      ]],
    },
    {
      name = "new",
      doc = "A module table with settings of its own, so that changing them changes nothing elsewhere.",
      returns = { { "module", "cjson" } },
      example = [[
        local own = cjson.new()
        own.encode_number_precision(3)
        assert(own.encode(1 / 3) == "0.333")
      ]],
    },
    {
      name = "encode_max_depth", discard = true,
      doc = "Levels a table may be deep in `encode`; sets them when given.",
      params = { { "n?", "integer", "1 to 64" } },
      returns = { { "n", "integer" } },
      example = "assert(cjson.encode_max_depth() == 64)",
    },
    {
      name = "decode_max_depth", discard = true,
      doc = "Levels a text may be deep in `decode`; sets them when given.",
      params = { { "n?", "integer", "1 to 64" } },
      returns = { { "n", "integer" } },
      example = "assert(cjson.decode_max_depth() == 64)",
    },
    {
      name = "encode_sparse_array", discard = true,
      doc = [[How lists with holes are taken, as upstream: one with more than `ratio` times as many places as values
and a highest index above `safe` is refused, or with `convert` written as an object.]],
      params = { { "convert?", "boolean" }, { "ratio?", "integer" }, { "safe?", "integer" } },
      returns = { { "convert", "boolean" }, { "ratio", "integer" }, { "safe", "integer" } },
      example = [[
        local own = cjson.new()
        own.encode_sparse_array(true)
        assert(own.encode { [1000] = "x" } == '{"1000":"x"}')
      ]],
    },
    {
      name = "encode_number_precision", discard = true,
      doc = "Significant digits of floats; 17 is exact. Integers always are.",
      params = { { "n?", "integer", "1 to 17" } },
      returns = { { "n", "integer" } },
      example = "assert(cjson.encode_number_precision() == 17)",
    },
    {
      name = "encode_invalid_numbers", discard = true,
      doc = "What becomes of NaN and infinities: they raise (`false`), or become `null`.",
      params = { { "mode?", 'false|"null"' } },
      returns = { { "mode", 'false|"null"' } },
      example = [[
        local own = cjson.new()
        own.encode_invalid_numbers "null"
        assert(own.encode { 0 / 0 } == "[null]")
      ]],
    },
    {
      name = "decode_invalid_numbers", discard = true,
      doc = "For compatibility: `NaN`, `Infinity`, `0x10` and their like are always refused.",
      params = { { "mode?", "false" } },
      returns = { { "mode", "false" } },
      example = "assert(cjson.decode_invalid_numbers() == false)",
    },
    {
      name = "encode_keep_buffer", discard = true,
      doc = "For compatibility: changes nothing.",
      params = { { "keep?", "boolean" } },
      returns = { { "keep", "boolean" } },
      example = "cjson.encode_keep_buffer(true)",
    },
  },
}
