-- Made by `selfmon-lua types`: do not edit.
---@meta cjson.safe

---`cjson` with an `encode` and a `decode` that answer `nil, message, code` instead of raising. Wrong arguments
---raise in both.
---@class cjson.safe
---@field null userdata what `null` becomes, and what becomes `null`
---@field empty_array userdata a value that becomes `[]`; an empty table becomes `{}`
---@field array_mt table a metatable: `setmetatable(t, cjson.array_mt)` is written as an array, also when empty
---@field _NAME string `"cjson"`
---@field _VERSION string the version of lua-cjson whose names these are
local M = {}

---A value as JSON, or what has no form in it.
---```lua
---local json = require "cjson.safe"
---local text, err = json.encode { f = print }
---assert(text == nil and err:find("f", 1, true))
---```
---@param value any
---@return string? text
---@return string? message
---@return string? code `"invalid"` or `"limit"`
---@nodiscard
function M.encode(value) end

---A JSON text as a value, or where it is wrong.
---```lua
---local json = require "cjson.safe"
---local value, err, code = json.decode "{"
---assert(value == nil and code == "invalid", err)
---```
---@param text string
---@return any value
---@return string? message
---@return string? code `"invalid"` or `"limit"`
---@nodiscard
function M.decode(text) end

---A module table with settings of its own.
---```lua
---local json = require "cjson.safe"
---assert(json.new().encode(1) == "1")
---```
---@return cjson.safe module
---@nodiscard
function M.new() end

---Levels a table may be deep in `encode`; sets them when given.
---```lua
---local cjson = require "cjson.safe"
---assert(cjson.encode_max_depth() == 64)
---```
---@param n? integer 1 to 64
---@return integer n
function M.encode_max_depth(n) end

---Levels a text may be deep in `decode`; sets them when given.
---```lua
---local cjson = require "cjson.safe"
---assert(cjson.decode_max_depth() == 64)
---```
---@param n? integer 1 to 64
---@return integer n
function M.decode_max_depth(n) end

---How lists with holes are taken, as upstream: one with more than `ratio` times as many places as values
---and a highest index above `safe` is refused, or with `convert` written as an object.
---```lua
---local cjson = require "cjson.safe"
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
---local cjson = require "cjson.safe"
---assert(cjson.encode_number_precision() == 17)
---```
---@param n? integer 1 to 17
---@return integer n
function M.encode_number_precision(n) end

---What becomes of NaN and infinities: they raise (`false`), or become `null`.
---```lua
---local cjson = require "cjson.safe"
---local own = cjson.new()
---own.encode_invalid_numbers "null"
---assert(own.encode { 0 / 0 } == "[null]")
---```
---@param mode? false|"null"
---@return false|"null" mode
function M.encode_invalid_numbers(mode) end

---For compatibility: `NaN`, `Infinity`, `0x10` and their like are always refused.
---```lua
---local cjson = require "cjson.safe"
---assert(cjson.decode_invalid_numbers() == false)
---```
---@param mode? false
---@return false mode
function M.decode_invalid_numbers(mode) end

---For compatibility: changes nothing.
---```lua
---local cjson = require "cjson.safe"
---cjson.encode_keep_buffer(true)
---```
---@param keep? boolean
---@return boolean keep
function M.encode_keep_buffer(keep) end

return M
