return {
  module = "selfmon.store", since = "0.1.0",
  doc = [[
What an inspection remembers from run to run: values by key, kept in the daemon's store across restarts, reloads
and upgrades. Each inspection has its own; a `scope` is shared by all that name it. Every call blocks the run for
about a millisecond; what is set is on disk when `set` returns. Quota: 1,000 keys and 1 MiB for each inspection and
each scope, 64 KiB for a value, 256 bytes for a key, 256 scopes. With `--dry-run` reads see what is kept, and writes
end with the process.]],
  types = {
    { name = "selfmon.store.Options", doc = "Where to look.", fields = {
      { "scope", "string?", "name of a memory shared by every inspection that names it; without it the inspection's own" },
    } },
    { name = "selfmon.store.SetOptions", doc = "Where to keep, and for how long.", fields = {
      { "scope", "string?", "name of a shared memory; without it the inspection's own" },
      { "ttl", "number|string|nil", "seconds or a duration such as \"15m\", by the wall clock; without it the value stays" },
    } },
    { name = "selfmon.store.KeysOptions", doc = "Which keys.", fields = {
      { "scope", "string?", "name of a shared memory; without it the inspection's own" },
      { "prefix", "string?", "what the keys begin with" },
    } },
  },
  functions = {
    { name = "get", doc = [[The value of a key, or nil when there is none (or its time is over): then there is no message either.
Integers of 64 bits are exact; `cjson.null` inside a value stays `cjson.null`.]],
      params = { { "key", "string", "1..256 bytes of text" }, { "opts?", "selfmon.store.Options" } },
      returns = { { "value", "any", "as it was set" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local store = require "selfmon.store"
local last = store.get("offset") or 0
print(last)]] },
    { name = "set", discard = true, doc = [[Keeps a value: whatever cjson can encode, but not nil. It is on disk when this returns true. Setting a
key anew without `ttl` makes it stay. A call that fails also leaves a line in the run's log. Codes: "quota", "too_large", "full" (the disk), "busy".]],
      params = { { "key", "string", "1..256 bytes of text" }, { "value", "any", "at most 64 KiB as JSON" },
                 { "opts?", "selfmon.store.SetOptions" } },
      returns = { { "kept", "true?" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local store = require "selfmon.store"
store.set("offset", 4096)
store.set("seen", { ids = { 1, 2, 3 } }, { ttl = "1h", scope = "shop" })]] },
    { name = "delete", discard = true, doc = "Removes a key. Answers whether it was there.",
      params = { { "key", "string" }, { "opts?", "selfmon.store.Options" } },
      returns = { { "was_there", "boolean?" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local store = require "selfmon.store"
print(store.delete("offset"))]] },
    { name = "incr", discard = true, doc = [[Adds to a number in one step, so that runs at the same time lose nothing; a key that is not there counts as 0.
`ttl` holds for a key that is made by this call; one that is there keeps its time, so that a counter of an hour ends.
Code "value": it holds something else than a number, or the sum is none.]],
      params = { { "key", "string" }, { "by?", "number", "1 unless told; may be negative or a fraction" },
                 { "opts?", "selfmon.store.SetOptions" } },
      returns = { { "sum", "number?" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local store = require "selfmon.store"
local failures = store.incr("failures", 1, { ttl = "1h" })
print(failures)]] },
    { name = "keys", doc = "The keys that begin with a prefix (all without one), sorted by byte.",
      params = { { "prefix?", "string|selfmon.store.KeysOptions" } },
      returns = { { "keys", "string[]?" }, { "message", "string?" }, { "code", "string?" } },
      example = [[
local store = require "selfmon.store"
for _, key in ipairs(store.keys "file/") do print(key) end]] },
  },
}
