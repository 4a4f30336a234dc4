-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.log

---Lines of the run's log, which `selfmon-lua runs --log` shows. May be used while a script loads; its lines
---show then, not in each run. A run may write 256 KiB (`limits.log`), `print` included; beyond it ends as `limit`.
---@class selfmon.log
local M = {}

---Writes a line of the run's log, shown by `runs --log` and by `run --once -v`. `fields` follow in byte order of their names, `name=value`. A text of several lines is several lines, each is cut at 4 KiB, and known secrets are masked. A wrong call raises.
---```lua
---local log = require "selfmon.log"
---log.debug("answered", { status = 200, ms = 41.5 })
---```
---@param text string
---@param fields? table<string, any> values to show with it
function M.debug(text, fields) end

---Writes a line of the run's log. `fields` follow in byte order of their names, `name=value`. A text of several lines is several lines, each is cut at 4 KiB, and known secrets are masked. A wrong call raises.
---```lua
---local log = require "selfmon.log"
---log.info("answered", { status = 200, ms = 41.5 })
---```
---@param text string
---@param fields? table<string, any> values to show with it
function M.info(text, fields) end

---Writes a line of the run's log, marked as a warning. `fields` follow in byte order of their names, `name=value`. A text of several lines is several lines, each is cut at 4 KiB, and known secrets are masked. A wrong call raises.
---```lua
---local log = require "selfmon.log"
---log.warn("answered", { status = 200, ms = 41.5 })
---```
---@param text string
---@param fields? table<string, any> values to show with it
function M.warn(text, fields) end

---Writes a line of the run's log, marked as an error. It does not end the run: `error(text)` does. `fields` follow in byte order of their names, `name=value`. A text of several lines is several lines, each is cut at 4 KiB, and known secrets are masked. A wrong call raises.
---```lua
---local log = require "selfmon.log"
---log.error("answered", { status = 200, ms = 41.5 })
---```
---@param text string
---@param fields? table<string, any> values to show with it
function M.error(text, fields) end

return M
