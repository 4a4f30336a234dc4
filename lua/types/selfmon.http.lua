-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.http

---How to ask.
---@class selfmon.http.Options
---@field query table<string, string|number|boolean|table>? appended to the URL, sorted by name; a list gives a name several times
---@field headers table<string, string|number|selfmon.Secret|table>? names and values; a list gives a header several times
---@field body string|selfmon.Secret|nil one of body, json and form
---@field json any a value for cjson.encode
---@field form table<string, string|number|boolean|table>? sent as a form
---@field timeout number? seconds for the whole request, redirects included; 10
---@field follow boolean|integer|nil redirects: true (5), false, or a count up to 10
---@field auth table? `{ user, password }` or `{ bearer = token }`; strings or secrets
---@field verify boolean? false takes any certificate; true
---@field ca string? PEM text or file of the certificates to trust, instead of the system's
---@field cert string|table|nil client certificate: PEM text with key, or `{ cert =, key = }`; a path of a key needs `file:PATH`
---@field proxy string? URL; without it none is used
---@field max_body integer? bytes after decompression; 8 MiB

---Options with the address among them.
---@class selfmon.http.Request
---@field url string
---@field method string? GET unless given
---@field query table<string, string|number|boolean|table>? appended to the URL, sorted by name; a list gives a name several times
---@field headers table<string, string|number|selfmon.Secret|table>? names and values; a list gives a header several times
---@field body string|selfmon.Secret|nil one of body, json and form
---@field json any a value for cjson.encode
---@field form table<string, string|number|boolean|table>? sent as a form
---@field timeout number? seconds for the whole request, redirects included; 10
---@field follow boolean|integer|nil redirects: true (5), false, or a count up to 10
---@field auth table? `{ user, password }` or `{ bearer = token }`; strings or secrets
---@field verify boolean? false takes any certificate; true
---@field ca string? PEM text or file of the certificates to trust, instead of the system's
---@field cert string|table|nil client certificate: PEM text with key, or `{ cert =, key = }`; a path of a key needs `file:PATH`
---@field proxy string? URL; without it none is used
---@field max_body integer? bytes after decompression; 8 MiB

---Seconds. `dns`, `connect` and `tls` are lengths of phases, 0 on a kept connection.
---@class selfmon.http.Timings
---@field dns number
---@field connect number
---@field tls number
---@field ttfb number first byte, since the start
---@field total number since the start

---The server's certificate, on https.
---@class selfmon.http.Tls
---@field subject string
---@field issuer string
---@field not_before integer Unix seconds
---@field not_after integer Unix seconds
---@field days_left number negative when expired
---@field san string[]
---@field verified boolean

---An answer, whatever its status.
---@class selfmon.http.Result
---@field status integer
---@field headers table<string, string|string[]> names in any case; repeated ones joined by `, `; `set-cookie` is a list
---@field body string
---@field url string the last one asked
---@field remote_ip string
---@field http_version string
---@field timings selfmon.http.Timings
---@field tls selfmon.http.Tls?
---@field error string? of `all`: why there is no answer
---@field code string? of `all`: its code
local Result = {}

---The body as a value.
---```lua
---local http = require "selfmon.http"
---local res = assert(http.get("https://shop.example/health", { timeout = 5 }))
---local health = assert(res:json())
---print(health.status)
---```
---@return any value
---@return string? message
---@return string? code `"json"`
---@nodiscard
function Result:json() end

---Raises for a status of 400 and above; else the result itself.
---```lua
---local http = require "selfmon.http"
---local res = assert(http.get("https://shop.example/", { timeout = 5 })):raise_for_status()
---print(#res.body)
---```
---@return selfmon.http.Result result
function Result:raise_for_status() end

---Asks web servers. What the world does wrong is returned as `nil, sentence, code`. `net` in the configuration narrows
---which addresses scripts reach; link-local and cloud metadata addresses never are. A run may make 1,000 requests
---(`limits.http`), 64 at once.
---@class selfmon.http
local M = {}

---A GET request. Blocks only this run; not while a script is loading. A wrong call raises at your line.
---```lua
---local http = require "selfmon.http"
---local res, err, code = http.get("https://shop.example/", { timeout = 5, query = { q = "disk" } })
---if not res then return print("no answer:", err, code) end
---print(res.status, res.timings.total)
---```
---@param url string
---@param opts? selfmon.http.Options
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
---@nodiscard
function M.get(url, opts) end

---A HEAD request: everything but the body. Blocks only this run; not while a script is loading. A wrong call raises at your line.
---```lua
---local http = require "selfmon.http"
---local res = assert(http.head("https://shop.example/", { timeout = 5 }))
---print(res.headers["Content-Type"])
---```
---@param url string
---@param opts? selfmon.http.Options
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
---@nodiscard
function M.head(url, opts) end

---A POST request. Blocks only this run; not while a script is loading. A wrong call raises at your line.
---```lua
---local http = require "selfmon.http"
---local res = assert(http.post("https://hooks.example/alarm", { json = { text = "disk full" }, timeout = 5 }))
---print(res.status)
---```
---@param url string
---@param opts? selfmon.http.Options
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
function M.post(url, opts) end

---A PUT request. Blocks only this run; not while a script is loading. A wrong call raises at your line.
---```lua
---local http = require "selfmon.http"
---print(http.put("https://api.example/flag", { body = "on", timeout = 5 }))
---```
---@param url string
---@param opts? selfmon.http.Options
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
function M.put(url, opts) end

---A PATCH request. Blocks only this run; not while a script is loading. A wrong call raises at your line.
---```lua
---local http = require "selfmon.http"
---print(http.patch("https://api.example/flag", { json = { on = true }, timeout = 5 }))
---```
---@param url string
---@param opts? selfmon.http.Options
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
function M.patch(url, opts) end

---A DELETE request. Blocks only this run; not while a script is loading. A wrong call raises at your line.
---```lua
---local http = require "selfmon.http"
---print(http.delete("https://api.example/lock", { timeout = 5 }))
---```
---@param url string
---@param opts? selfmon.http.Options
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
function M.delete(url, opts) end

---A request with any method; `url` and `method` are among the options.
---```lua
---local http = require "selfmon.http"
---print(http.request{ method = "GET", url = "https://shop.example/", timeout = 5 })
---```
---@param opts selfmon.http.Request
---@return selfmon.http.Result? result
---@return string? message
---@return string? code dns connect timeout tls redirect denied too_large partial closed protocol cancelled
function M.request(opts) end

---Many requests at once, at most 64 at a time. The answers come in the same order; one that failed is `{ error =
---sentence, code = code }`.
---```lua
---local http = require "selfmon.http"
---local urls = { "https://shop.example/", "https://www.example/" }
---for i, res in ipairs(http.all{ { url = urls[1], timeout = 5 }, { url = urls[2], timeout = 5 } }) do
---  print(urls[i], res.error or res.status)
---end
---```
---@param requests (string|selfmon.http.Request)[]
---@return selfmon.http.Result[] results
---@nodiscard
function M.all(requests) end

return M
