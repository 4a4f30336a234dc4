-- Made by `selfmon-lua types`: do not edit.
---@meta cjson

---JSON under lua-cjson's own names, made exact and safe: integers of 64 bits both ways, strict UTF-8, limits
---(8 MiB of text, 64 levels, 1,000,000 values). It raises for what cannot be encoded or decoded; `cjson.safe` answers
---`nil, message, code` instead. Nothing blocks; it may be used while a script loads.
---@class cjson
---@field null userdata what `null` becomes, and what becomes `null`
---@field empty_array userdata a value that becomes `[]`; an empty table becomes `{}`
---@field array_mt table a metatable: `setmetatable(t, cjson.array_mt)` is written as an array, also when empty
---@field _NAME string `"cjson"`
---@field _VERSION string the version of lua-cjson whose names these are
local M = {}

---A value as JSON. Floats get the fewest digits that read back the same; metatables other than `array_mt`
---are ignored. Raises with the path of what has no form in JSON: `cjson.encode: items[2].name: …`.
---```lua
---local cjson = require "cjson"
---assert(cjson.encode { ids = cjson.empty_array } == '{"ids":[]}')
---assert(cjson.encode { 1 << 53, 0.1 } == "[9007199254740992,0.1]")
---```
---@param value any
---@return string text
---@nodiscard
function M.encode(value) end

---A JSON text as a value. Integral numbers arrive as integers, `null` as `cjson.null`. Raises with the
---place: `cjson.decode: character 7: malformed number`.
---```lua
---local cjson = require "cjson"
---local t = cjson.decode '{"id": 9007199254740993, "ok": null}'
---assert(t.id == 9007199254740993 and t.ok == cjson.null)
---```
---@param text string
---@return any value
---@nodiscard
function M.decode(text) end

---A module table with settings of its own, so that changing them changes nothing elsewhere.
---```lua
---local cjson = require "cjson"
---local own = cjson.new()
---own.encode_number_precision(3)
---assert(own.encode(1 / 3) == "0.333")
---```
---@return cjson module
---@nodiscard
function M.new() end

---Levels a table may be deep in `encode`; sets them when given.
---```lua
---local cjson = require "cjson"
---assert(cjson.encode_max_depth() == 64)
---```
---@param n? integer 1 to 64
---@return integer n
function M.encode_max_depth(n) end

---Levels a text may be deep in `decode`; sets them when given.
---```lua
---local cjson = require "cjson"
---assert(cjson.decode_max_depth() == 64)
---```
---@param n? integer 1 to 64
---@return integer n
function M.decode_max_depth(n) end

---How lists with holes are taken, as upstream: one with more than `ratio` times as many places as values
---and a highest index above `safe` is refused, or with `convert` written as an object.
---```lua
---local cjson = require "cjson"
---local own = cjson.new()
---own.encode_sparse_array(true)
---assert(own.encode { [1000] = "x" } == '{"1000":"x"}')
---```
---@param convert? boolean
---@param ratio? integer
---@param safe? integer
---@return boolean convert
---@return integer ratio
---@return integer safe
function M.encode_sparse_array(convert, ratio, safe) end

---Significant digits of floats; 17 is exact. Integers always are.
---```lua
---local cjson = require "cjson"
---assert(cjson.encode_number_precision() == 17)
---```
---@param n? integer 1 to 17
---@return integer n
function M.encode_number_precision(n) end

---What becomes of NaN and infinities: they raise (`false`), or become `null`.
---```lua
---local cjson = require "cjson"
---local own = cjson.new()
---own.encode_invalid_numbers "null"
---assert(own.encode { 0 / 0 } == "[null]")
---```
---@param mode? false|"null"
---@return false|"null" mode
function M.encode_invalid_numbers(mode) end

---For compatibility: `NaN`, `Infinity`, `0x10` and their like are always refused.
---```lua
---local cjson = require "cjson"
---assert(cjson.decode_invalid_numbers() == false)
---```
---@param mode? false
---@return false mode
function M.decode_invalid_numbers(mode) end

---For compatibility: changes nothing.
---```lua
---local cjson = require "cjson"
---cjson.encode_keep_buffer(true)
---```
---@param keep? boolean
---@return boolean keep
function M.encode_keep_buffer(keep) end

return M
