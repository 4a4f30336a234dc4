-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.testing

---Of one run.
---@class selfmon.testing.Options
---@field grants string[]? permissions; what `monitor` asks for unless given
---@field secrets table<string, string>? texts of the secrets that are granted, by name
---@field timeout number? seconds; the inspection's own unless given
---@field cpu number? seconds of CPU
---@field memory integer? bytes of Lua heap
---@field ctx table? single fields of ctx, such as { trigger = "retry", attempt = 2 }

---What was reported, or would be sent or held back.
---@class selfmon.testing.Event
---@field title string
---@field message string
---@field status "info"|"warning"|"error"|"critical"|"ok"
---@field dimension_tags table<string, string>?
---@field id string? as `report` answered it
---@field rule string? in sent and held: the rule of the event policy that decided
---@field count integer? rule confirm: runs in a row
---@field of integer? rule confirm: runs it takes

---What a run answers.
---@class selfmon.testing.Run
---@field id string the function id
---@field outcome "ok"|"failed"|"timeout"|"limit"|"bad_params"
---@field error string? one sentence with file and line
---@field traceback string? the script's frames
---@field events selfmon.testing.Event[] what was reported, in order
---@field sent selfmon.testing.Event[] what the event policy would send of it, recoveries and digests included
---@field held selfmon.testing.Event[] what it holds back
---@field log string lines of MILLISECONDS, LEVEL and TEXT, with tabs between them
---@field seconds number by the clock of the test
---@field cpu number? seconds
---@field peak integer bytes of Lua heap

---What a fake server answers.
---@class selfmon.testing.Answer
---@field status integer? 200
---@field body string?
---@field json any the body as a value
---@field headers table<string, string>?
---@field timings table<string, number>? seconds: dns connect tls ttfb total; total moves a stopped clock
---@field tls table? the certificate: days_left verified subject issuer not_before not_after san
---@field remote_ip string?
---@field error string? no answer: the sentence
---@field code string? with error: its code, such as timeout

---Only in specs (`*_spec.lua`, run by `selfmon-lua test`): runs an inspection with a fake network, machine, daemon
---and clock, and answers what it reported. Nothing reaches the network; what was not faked fails the spec. Everything is
---forgotten after each test.
---@class selfmon.testing
local M = {}

---Runs an inspection once, in a state of its own with its limits, with parameters converted and checked as if the
---platform had sent them. Runs of one test share clock, store and the event policy's memory. Raises for an unknown id,
---parameter or option, and for a request or service that was not faked.
---```lua
---local t = require "selfmon.testing"
---t.machine{ disks = {} }
---local r = t.run("host/disk.run", { warning = "80" })
---assert(r.outcome == "ok", r.error)
---assert(#r.events == 0 and #r.sent == 0)
---```
---@param id string such as "host/disk.run"; may name an instance: "http/endpoint.run@shop"
---@param params? table<string, any>
---@param opts? selfmon.testing.Options
---@return selfmon.testing.Run run
---@nodiscard
function M.run(id, params, opts) end

---Answers requests of a route from now on, in this test. The method is GET when left out, a closing * stands for any
---rest, the newest route counts. The answer is a table, or a function of the request that returns one.
---```lua
---local t = require "selfmon.testing"
---t.http("GET https://shop.example/health", { json = { ok = true }, timings = { total = 0.2 } })
---t.http("POST https://hooks.example/*", function(request) return { status = #request.body > 0 and 204 or 400 } end)
---t.http("https://gone.example/", { error = "connection refused", code = "connect" })
---```
---@param route string "GET https://shop.example/"
---@param answer selfmon.testing.Answer|fun(request: table): selfmon.testing.Answer
function M.http(route, answer) end

---The requests that the runs of this test made, in order: { method, url, headers, body, … }.
---```lua
---local t = require "selfmon.testing"
---assert(#t.requests() == 0)
---```
---@return table[] requests
---@nodiscard
function M.requests() end

---Sets readings of selfmon.host, shown as given. A reading that is not set answers nil, message, code; the name is
---"testhost" unless set.
---```lua
---local t = require "selfmon.testing"
---t.machine{ name = "web1", memory = { percent = 42 }, disks = { { mount = "/", percent = 97 } } }
---```
---@param readings table<string, any> name cpu memory load disks mounts uptime …
function M.machine(readings) end

---Stops the clock of the test: time.now, os.time, os.date and ctx.slot show this instant. Sleeping, waiting for an
---answer and t.advance move it, without waiting in truth, and timeouts are judged by it.
---```lua
---local t = require "selfmon.testing"
---t.clock "2026-03-01T12:00:00Z"
---assert(t.now() == 1772366400)
---```
---@param at string|number ISO 8601 (UTC unless it names a zone) or seconds since 1970
function M.clock(at) end

---Moves the clock of the test. Without t.clock before it, the clock stops now.
---```lua
---local t = require "selfmon.testing"
---t.clock(0)
---t.advance "1h30m"
---assert(t.now() == 5400)
---```
---@param duration string|number such as "90s", or seconds
function M.advance(duration) end

---Seconds since 1970 by the clock of the test, the machine's while it was not stopped.
---```lua
---local t = require "selfmon.testing"
---t.clock(60) assert(t.now() == 60)
---```
---@return number seconds
---@nodiscard
function M.now() end

---Plays back fixtures/NAME.json beside the spec for requests without a route. `selfmon-lua test --record` asks the
---servers and writes that file. Raises when it is not there.
---```lua
---local t = require "selfmon.testing"
---t.record "shop" -- fixtures/shop.json
---assert(#t.requests() == 0)
---```
---@param name string
function M.record(name) end

---Puts values into the store that the runs of this test see, and answers all that is there now, what runs wrote
---included.
---```lua
---local t = require "selfmon.testing"
---t.store{ offset = 10 }
---assert(t.store().offset == 10)
---```
---@param values? table<string, any>
---@param scope? string name of a shared memory
---@return table<string, any> all
function M.store(values, scope) end

---Lets writing to the store fail from now on in this test, as a full disk does.
---```lua
---local t = require "selfmon.testing"
---t.store_fails()
---```
---@param message? string
---@param code? string "full" unless given
function M.store_fails(message, code) end

---Answers exec.run and exec.nagios of a program from now on, in this test: by its path, or by a list of its path and
---its first arguments; the newest fake that fits counts. The answer is { code =, stdout =, stderr = }, { signal = },
---{ error =, error_code = }, a text (standard output), or a function(args, call) that returns one.
---```lua
---local t = require "selfmon.testing"
---t.exec("/usr/bin/mailq", "Mail queue is empty")
---t.exec({ "/usr/bin/systemctl", "is-active" }, function(args) return { code = args[2] == "nginx" and 0 or 3 } end)
---t.exec("/usr/bin/slow", { error = "it did not end", error_code = "timeout" })
---```
---@param cmd string|string[]
---@param answer table|string|fun(args: string[], call: table): table|string
function M.exec(cmd, answer) end

---The programs that the runs of this test ran, in order: { cmd, args, stdin, env, timeout, cwd }.
---```lua
---local t = require "selfmon.testing"
---assert(#t.execs() == 0)
---```
---@return table[] calls
---@nodiscard
function M.execs() end

---Puts a file in place for selfmon.host's file functions: a text, a table of fields as `stat` answers (with `text`),
---{ error =, code = } for one that cannot be looked at, or false for one that is gone. Every other file is not there. A
---text that begins with the old one is the file grown; another one is a new file.
---```lua
---local t = require "selfmon.testing"
---t.file("/var/log/app.log", "one line\n")
---t.file("/srv/backup.tar", { size = 10 << 30, mtime = t.now() - 86400 })
---t.file("/srv/secret", { error = "permission denied", code = "denied" })
---```
---@param path string
---@param what string|table|false
function M.file(path, what) end

---Answers selfmon.net from now on, in this test. The route is tcp, tls, open, dns, ping or ntp, a blank, and HOST:PORT,
---NAME TYPE or HOST; * stands for any text. The answer is true, a table of what differs from a good one, { error =, code = },
---for dns a list of values, for open { greeting =, talk = }, or a function of the request that returns one.
---```lua
---local t = require "selfmon.testing"
---t.net("tcp db.example:5432", true)
---t.net("dns shop.example MX", { "10 mx1.example" })
---t.net("ping *", { received = 0 })
---t.net("open redis.example:6379", { talk = { { "PING\r\n", "+PONG\r\n" } } })
---```
---@param route string
---@param answer boolean|table|fun(request: table): boolean|table
function M.net(route, answer) end

---What the runs of this test asked of selfmon.net, in order: { what, host, port, … }.
---```lua
---local t = require "selfmon.testing"
---assert(#t.net_requests() == 0)
---```
---@return table[] requests
---@nodiscard
function M.net_requests() end

---Answers a query from now on in this test; a * in its text stands for any text, the newest fake counts. The
---answer is { series = … }, { rows = … }, {} for no data, { error =, code = }, or a function of the query that returns one.
---```lua
---local t = require "selfmon.testing"
---t.dql("M::cpu:*", { series = { { tags = { host = "web1" }, values = { { 1700000000, 97.5 } } } } })
---t.dql("L::*", { rows = { { time = 1700000000, message = "disk full" } } })
---```
---@param text string
---@param answer table|fun(query: table): table
function M.dql(text, answer) end

---The queries that the runs of this test made, in order: { q, since, until_, … }.
---```lua
---local t = require "selfmon.testing"
---assert(#t.queries() == 0)
---```
---@return table[] queries
---@nodiscard
function M.queries() end

---Sets the inspections root of this test, where it is not the nearest folder `inspections` above the spec.
---```lua
---local t = require "selfmon.testing"
---t.root "inspections"
---```
---@param path string
function M.root(path) end

---Forgets everything that was faked, set and remembered, as happens after each test.
---```lua
---local t = require "selfmon.testing"
---t.reset()
---```
function M.reset() end

return M
