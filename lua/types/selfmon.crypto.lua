-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.crypto

---Digests, HMAC, encodings and random bytes. Texts are strings of any bytes. Nothing blocks, and all of it
---may be used while a script loads. MD5 and SHA-1 are for protocols that ask for them, not for new ones.
---@class selfmon.crypto
local M = {}

---The MD5 digest of a text of any bytes. Raises for a wrong argument.
---```lua
---local crypto = require "selfmon.crypto"
---print(crypto.md5 "abc", crypto.md5("abc", "base64"))
---```
---@param text string
---@param form? "hex"|"raw"|"base64" how it is shown; `"hex"` (lower case) unless given
---@return string digest
---@nodiscard
function M.md5(text, form) end

---The SHA-1 digest of a text of any bytes. Raises for a wrong argument.
---```lua
---local crypto = require "selfmon.crypto"
---print(crypto.sha1 "abc", crypto.sha1("abc", "base64"))
---```
---@param text string
---@param form? "hex"|"raw"|"base64" how it is shown; `"hex"` (lower case) unless given
---@return string digest
---@nodiscard
function M.sha1(text, form) end

---The SHA-256 digest of a text of any bytes. Raises for a wrong argument.
---```lua
---local crypto = require "selfmon.crypto"
---print(crypto.sha256 "abc", crypto.sha256("abc", "base64"))
---```
---@param text string
---@param form? "hex"|"raw"|"base64" how it is shown; `"hex"` (lower case) unless given
---@return string digest
---@nodiscard
function M.sha256(text, form) end

---Keyed digest, such as signatures of webhooks are made of. The key is a string or a secret, whose bytes
---the script never sees. Raises for a wrong argument.
---```lua
---local crypto = require "selfmon.crypto"
---local stamp = "1700000000"
---local sign = crypto.hmac("sha256", "key", stamp .. "\nbody", "base64")
---assert(#sign == 44)
---```
---@param algorithm "sha256"|"sha1"|"md5"|"sha512"
---@param key string|selfmon.Secret
---@param text string
---@param form? "hex"|"raw"|"base64" how it is shown; `"hex"` (lower case) unless given
---@return string digest
---@nodiscard
function M.hmac(algorithm, key, text, form) end

---A text in base64 (RFC 4648), with padding, on one line.
---```lua
---local crypto = require "selfmon.crypto"
---assert(crypto.base64 "user:pass" == "dXNlcjpwYXNz")
---```
---@param text string
---@return string encoded
---@nodiscard
function M.base64(text) end

---The bytes of a base64 text: both alphabets, padding optional, blanks and line ends skipped.
---```lua
---local crypto = require "selfmon.crypto"
---assert(crypto.unbase64 "dXNlcjpwYXNz" == "user:pass")
---local bytes, err = crypto.unbase64 "!"
---assert(bytes == nil and err)
---```
---@param text string
---@return string? bytes
---@return string? message
---@return string? code `"invalid"`
---@nodiscard
function M.unbase64(text) end

---A text's bytes in lower-case hex digits.
---```lua
---local crypto = require "selfmon.crypto"
---assert(crypto.hex "\1\255" == "01ff")
---```
---@param text string
---@return string digits
---@nodiscard
function M.hex(text) end

---The bytes of a text of hex digits.
---```lua
---local crypto = require "selfmon.crypto"
---assert(crypto.unhex "01FF" == "\1\255")
---```
---@param text string
---@return string? bytes
---@return string? message
---@return string? code `"invalid"`
---@nodiscard
function M.unhex(text) end

---A random UUID (version 4), such as `0b7f1d8e-91c2-4b0e-8f53-0d6f2f2f9a11`.
---```lua
---local crypto = require "selfmon.crypto"
---assert(#crypto.uuid() == 36)
---```
---@return string uuid
---@nodiscard
function M.uuid() end

---Random bytes, fit for keys.
---```lua
---local crypto = require "selfmon.crypto"
---print(crypto.hex(crypto.random(8)))
---```
---@param n integer how many, 0 to 65536
---@return string bytes
---@nodiscard
function M.random(n) end

return M
