-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.store

---Where to look.
---@class selfmon.store.Options
---@field scope string? name of a memory shared by every inspection that names it; without it the inspection's own

---Where to keep, and for how long.
---@class selfmon.store.SetOptions
---@field scope string? name of a shared memory; without it the inspection's own
---@field ttl number|string|nil seconds or a duration such as "15m", by the wall clock; without it the value stays

---Which keys.
---@class selfmon.store.KeysOptions
---@field scope string? name of a shared memory; without it the inspection's own
---@field prefix string? what the keys begin with

---What an inspection remembers from run to run: values by key, kept in the daemon's store across restarts, reloads
---and upgrades. Each inspection has its own; a `scope` is shared by all that name it. Every call blocks the run for
---about a millisecond; what is set is on disk when `set` returns. Quota: 1,000 keys and 1 MiB for each inspection and
---each scope, 64 KiB for a value, 256 bytes for a key, 256 scopes. With `--dry-run` reads see what is kept, and writes
---end with the process.
---@class selfmon.store
local M = {}

---The value of a key, or nil when there is none (or its time is over): then there is no message either.
---Integers of 64 bits are exact; `cjson.null` inside a value stays `cjson.null`.
---```lua
---local store = require "selfmon.store"
---local last = store.get("offset") or 0
---print(last)
---```
---@param key string 1..256 bytes of text
---@param opts? selfmon.store.Options
---@return any value as it was set
---@return string? message
---@return string? code
---@nodiscard
function M.get(key, opts) end

---Keeps a value: whatever cjson can encode, but not nil. It is on disk when this returns true. Setting a
---key anew without `ttl` makes it stay. A call that fails also leaves a line in the run's log. Codes: "quota", "too_large", "full" (the disk), "busy".
---```lua
---local store = require "selfmon.store"
---store.set("offset", 4096)
---store.set("seen", { ids = { 1, 2, 3 } }, { ttl = "1h", scope = "shop" })
---```
---@param key string 1..256 bytes of text
---@param value any at most 64 KiB as JSON
---@param opts? selfmon.store.SetOptions
---@return true? kept
---@return string? message
---@return string? code
function M.set(key, value, opts) end

---Removes a key. Answers whether it was there.
---```lua
---local store = require "selfmon.store"
---print(store.delete("offset"))
---```
---@param key string
---@param opts? selfmon.store.Options
---@return boolean? was_there
---@return string? message
---@return string? code
function M.delete(key, opts) end

---Adds to a number in one step, so that runs at the same time lose nothing; a key that is not there counts as 0.
---`ttl` holds for a key that is made by this call; one that is there keeps its time, so that a counter of an hour ends.
---Code "value": it holds something else than a number, or the sum is none.
---```lua
---local store = require "selfmon.store"
---local failures = store.incr("failures", 1, { ttl = "1h" })
---print(failures)
---```
---@param key string
---@param by? number 1 unless told; may be negative or a fraction
---@param opts? selfmon.store.SetOptions
---@return number? sum
---@return string? message
---@return string? code
function M.incr(key, by, opts) end

---The keys that begin with a prefix (all without one), sorted by byte.
---```lua
---local store = require "selfmon.store"
---for _, key in ipairs(store.keys "file/") do print(key) end
---```
---@param prefix? string|selfmon.store.KeysOptions
---@return string[]? keys
---@return string? message
---@return string? code
---@nodiscard
function M.keys(prefix) end

return M
