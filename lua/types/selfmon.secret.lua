-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.secret

---A secret: only auth, headers and bodies of selfmon.http, what is sent by selfmon.net and
---selfmon.exec, and `crypto.hmac` accept it. `tostring` shows `<secret shop>`; joining it with `..` raises; two compare by
---identity, never by content.
---@class selfmon.Secret

---Secrets of the configuration, which a script may use and never sees. The module is the function itself.

---The secret of that name in `secrets` of the configuration. Without a grant it raises and names the line to add; it
---may not be called while a script is loading.
---Needs a permission, in the example `secret:shop`.
---```lua
---local http = require "selfmon.http"
---local secret = require "selfmon.secret"
---local res, err = http.get("https://shop.example/api", { auth = { bearer = assert(secret "shop") }, timeout = 5 })
---print(res and res.status or err)
---```
---@param name string
---@return selfmon.Secret? secret
---@return string? message
---@return string? code `"not_found"`: granted, but not configured
---@nodiscard
local function M(name) end

return M
