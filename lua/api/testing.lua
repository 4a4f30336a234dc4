-- selfmon.testing
return {
  module = "selfmon.testing", since = "0.1.0",
  doc = [[Only in specs (`*_spec.lua`, run by `selfmon-lua test`): runs an inspection with a fake network, machine, daemon
and clock, and answers what it reported. Nothing reaches the network; what was not faked fails the spec. Everything is
forgotten after each test.]],
  setup = [[t.root "inspections"]],
  types = {
    { name = "selfmon.testing.Options", doc = "Of one run.", fields = {
      { "grants", "string[]?", "permissions; what `monitor` asks for unless given" },
      { "secrets", "table<string, string>?", "texts of the secrets that are granted, by name" },
      { "timeout", "number?", "seconds; the inspection's own unless given" },
      { "cpu", "number?", "seconds of CPU" },
      { "memory", "integer?", "bytes of Lua heap" },
      { "ctx", "table?", "single fields of ctx, such as { trigger = \"retry\", attempt = 2 }" },
    } },
    { name = "selfmon.testing.Event", doc = "What was reported, or would be sent or held back.", fields = {
      { "title", "string" },
      { "message", "string" },
      { "status", '"info"|"warning"|"error"|"critical"|"ok"' },
      { "dimension_tags", "table<string, string>?" },
      { "id", "string?", "as `report` answered it" },
      { "rule", "string?", "in sent and held: the rule of the event policy that decided" },
      { "count", "integer?", "rule confirm: runs in a row" },
      { "of", "integer?", "rule confirm: runs it takes" },
    } },
    { name = "selfmon.testing.Run", doc = "What a run answers.", fields = {
      { "id", "string", "the function id" },
      { "outcome", '"ok"|"failed"|"timeout"|"limit"|"bad_params"' },
      { "error", "string?", "one sentence with file and line" },
      { "traceback", "string?", "the script's frames" },
      { "events", "selfmon.testing.Event[]", "what was reported, in order" },
      { "sent", "selfmon.testing.Event[]", "what the event policy would send of it, recoveries and digests included" },
      { "held", "selfmon.testing.Event[]", "what it holds back" },
      { "log", "string", "lines of MILLISECONDS, LEVEL and TEXT, with tabs between them" },
      { "seconds", "number", "by the clock of the test" },
      { "cpu", "number?", "seconds" },
      { "peak", "integer", "bytes of Lua heap" },
    } },
    { name = "selfmon.testing.Answer", doc = "What a fake server answers.", fields = {
      { "status", "integer?", "200" },
      { "body", "string?" },
      { "json", "any", "the body as a value" },
      { "headers", "table<string, string>?" },
      { "timings", "table<string, number>?", "seconds: dns connect tls ttfb total; total moves a stopped clock" },
      { "tls", "table?", "the certificate: days_left verified subject issuer not_before not_after san" },
      { "remote_ip", "string?" },
      { "error", "string?", "no answer: the sentence" },
      { "code", "string?", "with error: its code, such as timeout" },
    } },
  },
  functions = {
    {
      name = "run",
      doc = [[Runs an inspection once, in a state of its own with its limits, with parameters converted and checked as if the
platform had sent them. Runs of one test share clock, store and the event policy's memory. Raises for an unknown id,
parameter or option, and for a request or service that was not faked.]],
      params = { { "id", "string", "such as \"host/disk.run\"; may name an instance: \"http/endpoint.run@shop\"" },
                 { "params?", "table<string, any>" }, { "opts?", "selfmon.testing.Options" } },
      returns = { { "run", "selfmon.testing.Run" } },
      example = [[
        t.machine{ disks = {} }
        local r = t.run("host/disk.run", { warning = "80" })
        assert(r.outcome == "ok", r.error)
        assert(#r.events == 0 and #r.sent == 0)
      ]],
    },
    {
      name = "http",
      doc = [[Answers requests of a route from now on, in this test. The method is GET when left out, a closing * stands for any
rest, the newest route counts. The answer is a table, or a function of the request that returns one.]],
      params = { { "route", "string", "\"GET https://shop.example/\"" },
                 { "answer", "selfmon.testing.Answer|fun(request: table): selfmon.testing.Answer" } },
      example = [[
        t.http("GET https://shop.example/health", { json = { ok = true }, timings = { total = 0.2 } })
        t.http("POST https://hooks.example/*", function(request) return { status = #request.body > 0 and 204 or 400 } end)
        t.http("https://gone.example/", { error = "connection refused", code = "connect" })
      ]],
    },
    {
      name = "requests",
      doc = "The requests that the runs of this test made, in order: { method, url, headers, body, … }.",
      returns = { { "requests", "table[]" } },
      example = "assert(#t.requests() == 0)",
    },
    {
      name = "machine",
      doc = [[Sets readings of selfmon.host, shown as given. A reading that is not set answers nil, message, code; the name is
"testhost" unless set.]],
      params = { { "readings", "table<string, any>", "name cpu memory load disks mounts uptime …" } },
      example = 't.machine{ name = "web1", memory = { percent = 42 }, disks = { { mount = "/", percent = 97 } } }',
    },
    {
      name = "clock",
      doc = [[Stops the clock of the test: time.now, os.time, os.date and ctx.slot show this instant. Sleeping, waiting for an
answer and t.advance move it, without waiting in truth, and timeouts are judged by it.]],
      params = { { "at", "string|number", "ISO 8601 (UTC unless it names a zone) or seconds since 1970" } },
      example = [[
        t.clock "2026-03-01T12:00:00Z"
        assert(t.now() == 1772366400)
      ]],
    },
    {
      name = "advance",
      doc = "Moves the clock of the test. Without t.clock before it, the clock stops now.",
      params = { { "duration", "string|number", "such as \"90s\", or seconds" } },
      example = [[
        t.clock(0)
        t.advance "1h30m"
        assert(t.now() == 5400)
      ]],
    },
    {
      name = "now",
      doc = "Seconds since 1970 by the clock of the test, the machine's while it was not stopped.",
      returns = { { "seconds", "number" } },
      example = "t.clock(60) assert(t.now() == 60)",
    },
    {
      name = "record",
      doc = [[Plays back fixtures/NAME.json beside the spec for requests without a route. `selfmon-lua test --record` asks the
servers and writes that file. Raises when it is not there.]],
      params = { { "name", "string" } },
      example = [[
        t.record "shop" -- fixtures/shop.json
        assert(#t.requests() == 0)
      ]],
    },
    {
      name = "store", discard = true,
      doc = [[Puts values into the store that the runs of this test see, and answers all that is there now, what runs wrote
included.]],
      params = { { "values?", "table<string, any>" }, { "scope?", "string", "name of a shared memory" } },
      returns = { { "all", "table<string, any>" } },
      example = [[
        t.store{ offset = 10 }
        assert(t.store().offset == 10)
      ]],
    },
    {
      name = "store_fails",
      doc = "Lets writing to the store fail from now on in this test, as a full disk does.",
      params = { { "message?", "string" }, { "code?", "string", '"full" unless given' } },
      example = "t.store_fails()",
    },
    {
      name = "exec",
      doc = [[Answers exec.run and exec.nagios of a program from now on, in this test: by its path, or by a list of its path and
its first arguments; the newest fake that fits counts. The answer is { code =, stdout =, stderr = }, { signal = },
{ error =, error_code = }, a text (standard output), or a function(args, call) that returns one.]],
      params = { { "cmd", "string|string[]" },
                 { "answer", "table|string|fun(args: string[], call: table): table|string" } },
      example = [[
        t.exec("/usr/bin/mailq", "Mail queue is empty")
        t.exec({ "/usr/bin/systemctl", "is-active" }, function(args) return { code = args[2] == "nginx" and 0 or 3 } end)
        t.exec("/usr/bin/slow", { error = "it did not end", error_code = "timeout" })
      ]],
    },
    {
      name = "execs",
      doc = "The programs that the runs of this test ran, in order: { cmd, args, stdin, env, timeout, cwd }.",
      returns = { { "calls", "table[]" } },
      example = "assert(#t.execs() == 0)",
    },
    {
      name = "file",
      doc = [[Puts a file in place for selfmon.host's file functions: a text, a table of fields as `stat` answers (with `text`),
{ error =, code = } for one that cannot be looked at, or false for one that is gone. Every other file is not there. A
text that begins with the old one is the file grown; another one is a new file.]],
      params = { { "path", "string" }, { "what", "string|table|false" } },
      example = [[
        t.file("/var/log/app.log", "one line\n")
        t.file("/srv/backup.tar", { size = 10 << 30, mtime = t.now() - 86400 })
        t.file("/srv/secret", { error = "permission denied", code = "denied" })
      ]],
    },
    {
      name = "net",
      doc = [[Answers selfmon.net from now on, in this test. The route is tcp, tls, open, dns, ping or ntp, a blank, and HOST:PORT,
NAME TYPE or HOST; * stands for any text. The answer is true, a table of what differs from a good one, { error =, code = },
for dns a list of values, for open { greeting =, talk = }, or a function of the request that returns one.]],
      params = { { "route", "string" }, { "answer", "boolean|table|fun(request: table): boolean|table" } },
      example = [[
        t.net("tcp db.example:5432", true)
        t.net("dns shop.example MX", { "10 mx1.example" })
        t.net("ping *", { received = 0 })
        t.net("open redis.example:6379", { talk = { { "PING\r\n", "+PONG\r\n" } } })
      ]],
    },
    {
      name = "net_requests",
      doc = "What the runs of this test asked of selfmon.net, in order: { what, host, port, … }.",
      returns = { { "requests", "table[]" } },
      example = "assert(#t.net_requests() == 0)",
    },
    {
      name = "dql",
      doc = [[Answers a query from now on in this test; a * in its text stands for any text, the newest fake counts. The
answer is { series = … }, { rows = … }, {} for no data, { error =, code = }, or a function of the query that returns one.]],
      params = { { "text", "string" }, { "answer", "table|fun(query: table): table" } },
      example = [[
        t.dql("M::cpu:*", { series = { { tags = { host = "web1" }, values = { { 1700000000, 97.5 } } } } })
        t.dql("L::*", { rows = { { time = 1700000000, message = "disk full" } } })
      ]],
    },
    {
      name = "queries",
      doc = "The queries that the runs of this test made, in order: { q, since, until_, … }.",
      returns = { { "queries", "table[]" } },
      example = "assert(#t.queries() == 0)",
    },
    {
      name = "root",
      doc = "Sets the inspections root of this test, where it is not the nearest folder `inspections` above the spec.",
      params = { { "path", "string" } },
      example = 't.root "inspections"',
    },
    {
      name = "reset",
      doc = "Forgets everything that was faked, set and remembered, as happens after each test.",
      example = "t.reset()",
    },
  },
}
