-- selfmon.net as authors see it: wrong calls in a run, and the rest for real against servers on loopback.
local internal = require "selfmon.internal"
local cjson = require "cjson"
local net = require "selfmon.net"

-- Runs the body with `net` in scope; ask(args, body) plays the world.
local function run(body, ask, opts)
  opts = opts or {}
  opts.file = "demo/n.lua"
  opts.ask = ask and function(what, args, bytes)
    assert(what == "net")
    return ask(args, bytes)
  end
  return internal.run("local net = require 'selfmon.net'\nmonitor{ title = 'N' }\nfunction run(params, ctx)\n" .. body .. "\nend",
    "run", {}, opts)
end

local function raises(call, ...)
  local r = run(call)
  assert.are.equal("failed", r.outcome, call)
  for _, words in ipairs { "inspections/demo/n.lua:4: ", ... } do
    assert.is_truthy(r.error:find(words, 1, true), ("%s\nexpected: %s\ngot: %s"):format(call, words, r.error))
  end
end

describe("a wrong call", function()
  local rows = {
    { "net.tcp()", "net.tcp: host: expected a string, got nil" },
    { "net.tcp('')", "net.tcp: host: expected a name or an address" },
    { "net.tcp('a b', 1)", 'net.tcp: host "a b": expected a name or an address' },
    { "net.tcp('db:5432')", "give the port as a number of its own" },
    { "net.tcp('db')", "net.tcp: port: expected a whole number from 1 to 65535, got nil" },
    { "net.tcp('db', 70000)", "got 70000" },
    { "net.tcp('db', '5432')", "got string" },
    { "net.tcp('db', 1, 5)", "net.tcp: expected a table of options, got number" },
    { "net.tcp('db', 1, { timout = 1 })", 'unknown option "timout"; did you mean "timeout"?' },
    { "net.tcp('db', 1, { timeout = 0 })", 'option "timeout": expected a number of seconds above 0' },
    { "net.tcp('db', 1, { timeout = 0/0 })", 'option "timeout"' },
    { "net.tcp('db', 1, { send = 5 })", 'option "send": expected a string or a secret, got number' },
    { "net.tcp('db', 1, { read = 0 })", 'option "read": expected "line" or a number of bytes up to' },
    { "net.tcp('db', 1, { read = 'line', expect = 'x' })", "give only one of expect and read" },
    { "net.open('db', 1, { tls = 'yes' })", 'option "tls": expected true or a table' },
    { "net.open('db', 1, { tls = { name = 'x' } })", 'unknown option "name"' },
    { "net.tls('db', 1, { starttls = 'smpt' })", 'option "starttls": expected one of smtp, imap, pop3' },
    { "net.tls('db', 1, { ca = 'x' })", 'option "ca": expected PEM text or the absolute path of a PEM file' },
    { "net.dns()", "net.dns: name: expected a string, got nil" },
    { "net.dns('x', 'AAA')", 'net.dns: unknown type "AAA"; did you mean "AAAA"?' },
    { "net.dns('x', { server = '1.1.1.1' })", "options come third" },
    { "net.dns('a..b')", "net.dns: name: a part of the name is empty" },
    { "net.dns(('x'):rep(64))", "longer than 63 bytes" },
    { "net.dns('x', 'A', { server = 'dns.example' })", 'option "server": expected the address of a name server' },
    { "net.dns('x', 'A', { server = '127.0.0.1:0' })", 'option "server"' },
    { "net.dns('x', 'A', { protocol = 'tls' })", "expected one of udp, tcp" },
    { "net.ping('x', { count = 0 })", 'option "count": expected a whole number from 1 to 100' },
    { "net.ntp('x', 123)", "net.ntp: expected a table of options, got number" },
    { "net.all('x')", "net.all: expected a list of calls" },
    { "net.all{ tcp = 1 }", "net.all: expected a plain list" },
    { "net.all{ 'x' }", "net.all[1]: expected a table such as" },
    { "net.all{ { 'tpc', 'x', 1 } }", 'got "tpc"; did you mean "tcp"?' },
    { "net.all{ { 'open', 'x', 1 } }", "tcp, tls, dns, ping or ntp" },
    { "net.all{ { 'tcp', 'x', 1 }, { 'tcp', 'x' } }", "net.all[2]: net.tcp: port" },
    { "net.all{ { 'tcp', 'x', 1, timeout = 1 } }", 'unexpected field "timeout"' },
  }
  for _, row in ipairs(rows) do
    it(row[1], function() raises(table.unpack(row)) end)
  end

  it("while loading", function()
    local r, err = internal.load("require 'selfmon.net'.tcp('x', 1)", "x.lua")
    assert.is_nil(r)
    assert.is_truthy(err:find("net.tcp cannot be called while a script is loading", 1, true), err)
  end)
end)

describe("in a test", function()
  it("asks the fake and fails without one", function()
    local asked = {}
    local r = run([[
      local a = net.tcp("DB.example", 5432, { send = "hi", timeout = 3 })
      assert(a.ip == "192.0.2.1", a.ip)
      local v, message, code = net.dns("x.example", "mx")
      assert(v == nil and message == "no" and code == "timeout")
      local list = net.all{ { "tcp", "a", 1 }, { "dns", "b" } }
      assert(list[1].ip and list[2].code == "timeout")
    ]], function(args, body)
      asked[#asked + 1] = args
      args.body = body
      if args.what == "dns" then return nil, "no", "timeout" end
      return { ip = "192.0.2.1", port = args.port }
    end)
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({ what = "tcp", host = "db.example", port = 5432, timeout = 3.0, body = "hi" }, asked[1])
    assert.are.same({ what = "dns", name = "x.example", type = "MX", timeout = 5.0 }, asked[2])
    r = run "net.tcp('a', 1)"
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("has no fake", 1, true), r.error)
  end)

  it("plays a conversation, with secrets", function()
    local said = {}
    local r = run([[
      local key = require "selfmon.secret" "k"
      local conn <close> = net.open("r.example", 6379)
      assert(conn:send("AUTH $", { length = key }, " ", key, 5))
      assert(conn:receive() == "+OK")
      assert(conn:receive(3) == "abc")
      local v, message, code = conn:receive "available"
      assert(v == nil and code == "closed")
    ]], function(args, body)
      if args.what == "send" then said[#said + 1] = body end
      if args.how == "line" then return nil == 1 or true, "+OK" end
      if args.how == "bytes" then return true, "abc" end
      if args.how == "available" then return nil, "gone", "closed" end
      return { conn = 7 }
    end, { grants = { "secret:k" }, secrets = { k = "hunter2" } })
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({ "AUTH $7 hunter25" }, said)
  end)

  it("counts against limits.http", function()
    local r = run("for i = 1, 1001 do net.tcp('a', 1) end", function() return {} end)
    assert.are.equal("limit", r.outcome)
    assert.is_truthy(r.error:find("see limits.http", 1, true), r.error)
  end)
end)

describe("for real", function()
  local server, server_stop, p, ca
  local HOST = "127.0.0.1"

  setup(function()
    local stop = os.tmpname()
    os.remove(stop)
    assert(os.execute("mkfifo " .. stop))
    server = assert(io.popen(("exec /usr/bin/python3 tests/fakes/net_servers.py <%s"):format(stop)))
    server_stop = assert(io.open(stop, "w"))
    os.remove(stop)
    local line = server:read "l"
    p = cjson.decode(assert(line) and line)
    ca = p.ca
  end)

  teardown(function()
    server_stop:close()
    server:close()
  end)

  local function fails(code, words, f, ...)
    local v, message, got = f(...)
    assert.is_nil(v)
    assert.are.equal(code, got, message)
    assert.is_truthy(message:find(words, 1, true), message)
  end

  describe("tcp", function()
    it("connects, with timings", function()
      local r = assert(net.tcp("localhost", p.silent))
      assert.are.equal(HOST, r.ip)
      assert.are.equal(p.silent, r.port)
      for _, k in ipairs { "dns", "connect", "total" } do assert.is_true(r.timings[k] >= 0 and r.timings[k] < 5, k) end
      assert.is_nil(r.banner)
    end)

    it("talks", function()
      assert.are.equal("220 mail.example ready", assert(net.tcp(HOST, p.banner, { read = "line" })).banner)
      assert.are.equal("220 m", assert(net.tcp(HOST, p.banner, { read = 5 })).banner)
      assert.is_truthy(assert(net.tcp(HOST, p.banner, { expect = "second" })).banner:find "^220 ")
      assert.are.equal("hello", assert(net.tcp(HOST, p.drip, { read = "line" })).banner)
      assert.are.equal("a\0\xffb", assert(net.tcp(HOST, p.echo, { send = "a\0\xffb", read = 4 })).banner)
    end)

    it("says what went wrong", function()
      fails("connect", "Connection refused", net.tcp, HOST, p.closed)
      fails("timeout", "did not answer in time", net.tcp, HOST, p.silent, { read = "line", timeout = 0.2 })
      fails("closed", "closed the connection", net.tcp, HOST, p.drip, { read = 100 })
      fails("protocol", '"later" was expected, 7 bytes came', net.tcp, HOST, p.drip, { expect = "later" })
      fails("protocol", "does not say", net.tcp, HOST, p.flood, { expect = "later" })
      fails("too_large", "a line of more than 64 KiB", net.tcp, HOST, p.flood, { read = "line" })
      fails("dns", "there is no such name", net.tcp, "no-such-host.invalid", 80)
      fails("denied", "never allowed", net.tcp, "169.254.169.254", 80)
    end)
  end)

  describe("open", function()
    it("keeps a conversation", function()
      local conn <close> = assert(net.open(HOST, p.echo))
      assert.are.equal(HOST, conn:info().ip)
      assert.is_true(conn:send("one\r\ntwo\n", "three", 4))
      assert.are.equal("one", conn:receive "line")
      assert.are.equal("two", conn:receive())
      assert.are.equal("thr", conn:receive(3))
      assert.are.equal("ee4", conn:receive "available")
      fails("timeout", "did not answer", conn.receive, conn, 1, 0.1)
      conn:close()
      conn:close()
      assert.has_error(function() conn:send "x" end, "connection:send: the connection is closed")
      assert.has_error(function() conn.send "x" end, "connection.send: call it with a colon: conn:send(…)")
    end)

    it("takes much in both directions", function()
      local conn <close> = assert(net.open(HOST, p.echo))
      local text = ("0123456789"):rep(50000)
      assert.is_true(conn:send(text))
      assert.are.equal(text, assert(conn:receive(#text)))
    end)

    it("speaks TLS, and only with whom it trusts", function()
      local conn <close> = assert(net.open("localhost", p.good, { tls = { ca = ca } }))
      assert.is_true(conn:send "hello")
      assert.are.equal("hello", conn:receive(5))
      assert.is_truthy(conn:info().protocol:find "^TLSv1")
      fails("tls", "is not trusted here", net.open, "localhost", p.good, { tls = true })
      fails("tls", "the certificate expired on 2020-02-01", net.open, "localhost", p.expired, { tls = { ca = ca } })
      local blind <close> = assert(net.open("localhost", p.expired, { tls = { verify = false } }))
      fails("tls", "does not speak TLS here", net.open, HOST, p.banner, { tls = true })
      fails("timeout", "TLS handshake", net.open, HOST, p.silent, { tls = true, timeout = 0.2 })
    end)

    it("begins TLS later", function()
      local conn <close> = assert(net.open("localhost", p.smtp))
      repeat local line = assert(conn:receive()) until line:find "^220 "
      conn:send "EHLO me\r\n"
      repeat local line = assert(conn:receive()) until line:find "^250 "
      conn:send "STARTTLS\r\n"
      assert.are.equal("220 go ahead", conn:receive())
      assert.is_true(conn:starttls { ca = ca })
      conn:send "x\n"
      assert.are.equal("x", conn:receive())
    end)

    it("has a ceiling", function()
      local kept = {}
      assert.has_error(function()
        for i = 1, 100 do kept[i] = assert(net.open(HOST, p.silent)) end
      end, "net.open: more than 64 connections are open; close some")
      assert.are.equal(64, #kept)
      for _, conn in ipairs(kept) do conn:close() end
    end)
  end)

  describe("tls", function()
    it("shows a good chain", function()
      local r = assert(net.tls("localhost", p.good, { ca = ca }))
      assert.is_true(r.verified, r.error)
      assert.is_nil(r.error)
      assert.are.same({}, r.problems)
      assert.are.equal("TLSv1.3", r.protocol)
      local leaf = r.chain[1]
      assert.are.equal("CN=good", leaf.subject)
      assert.are.equal("CN=selfmon test CA", leaf.issuer)
      assert.are.same({ HOST, "localhost" }, leaf.san)
      assert.are.equal("RSA 2048", leaf.key)
      assert.are.equal(1577836800, leaf.not_before)
      assert.are.equal(leaf.days_left, r.days_left)
      local f = assert(io.popen(("openssl x509 -noout -fingerprint -sha256 -serial -in %s/good.pem"):format(ca:match "^(.*)/")))
      local text = f:read "a"
      f:close()
      assert.are.equal(text:match "Fingerprint=(%S+)":gsub(":", ""):lower(), leaf.sha256)
      assert.are.equal(text:match "serial=(%x+)":lower(), leaf.serial)
    end)

    local function problems(host, port, opts)
      opts = opts or {}
      opts.ca = ca
      local r = assert(net.tls(host, port, opts))
      return table.concat(r.problems, " "), r.error, r
    end

    it("shows bad ones too, and says why they are bad", function()
      local words, why, r = problems("localhost", p.expired)
      assert.are.equal("expired", words)
      assert.are.equal("the certificate expired on 2020-02-01", why)
      assert.is_true(r.days_left < -2000 and not r.verified)
      words, why = problems("localhost", p.other)
      assert.are.equal("name", words)
      assert.are.equal("the certificate is for other.example, www.other.example, not for localhost", why)
      assert.are.equal("self_signed", problems("localhost", p.alone))
      words, why = problems("localhost", p.other_expired)
      assert.is_truthy(words == "name expired" or words == "expired name", words)
      assert.is_truthy(why:find("; ", 1, true), why)
      r = assert(net.tls("localhost", p.good))
      assert.are.same({ "untrusted" }, r.problems)
      assert.is_truthy(r.error:find("CN=selfmon test CA is not trusted here", 1, true), r.error)
    end)

    it("judges by another name and time", function()
      assert.are.equal("", problems("localhost", p.other, { servername = "www.other.example" }))
      assert.are.equal("", problems(HOST, p.good))
      assert.are.equal("name", problems(HOST, p.other))
      assert.are.equal("not_yet_valid", problems("localhost", p.good, { verify_time = os.time { year = 2019, month = 6, day = 1 } }))
    end)

    it("looks at a server that wants ours, and at one that turns us away", function()
      local words, _, r = problems("localhost", p.picky)
      assert.are.equal("", words)
      assert.is_truthy(r.handshake and r.handshake:find("handshake", 1, true), cjson.encode(r))
      assert.is_true(r.days_left > 1000)
    end)

    for _, name in ipairs { "smtp", "imap", "pop3", "ftp", "postgres", "mysql" } do
      it("begins in the clear: " .. name, function()
        assert.are.equal("", problems("localhost", p[name], { starttls = name }))
      end)
    end

    it("refuses what is not TLS", function()
      fails("tls", "does not speak TLS here", net.tls, HOST, p.banner)
      fails("protocol", "does not offer TLS", net.tls, HOST, p.postgres_plain, { starttls = "postgres" })
      fails("protocol", 'it says "500 what?"', net.tls, HOST, p.smtp_plain, { starttls = "smtp" })
      fails("protocol", "sent something before the TLS handshake", net.tls, HOST, p.injector, { starttls = "smtp" })
      fails("timeout", "did not finish the TLS handshake in time", net.tls, HOST, p.silent, { timeout = 0.2 })
      fails("connect", "refused", net.tls, HOST, p.closed)
    end)
  end)

  describe("dns", function()
    local function ask(name, type, protocol)
      return assert(net.dns(name, type, { server = HOST .. ":" .. p.dns, protocol = protocol }))
    end

    for _, protocol in ipairs { "udp", "tcp" } do
      it("answers every type by " .. protocol, function()
        local r = ask("a.test", "A", protocol)
        table.sort(r.values)
        assert.are.same({ "192.0.2.7", "192.0.2.8" }, r.values)
        assert.are.equal("NOERROR", r.rcode)
        assert.are.equal(protocol, r.protocol)
        assert.are.equal(77, r.ttl)
        assert.is_true(r.timings.total < 5)
        assert.are.same({ "2001:db8::7" }, ask("six.test", "AAAA", protocol).values)
        r = ask("alias.test", "A", protocol)
        assert.are.same({ name = "alias.test", type = "CNAME", ttl = 77, value = "a.test" }, r.records[1])
        assert.are.equal(2, #r.values)
        assert.are.same({ "a.test" }, ask("alias.test", "CNAME", protocol).values)
        r = ask("test", "MX", protocol).records[1]
        assert.are.equal("20 mail.test", r.value)
        assert.are.equal(20, r.preference)
        assert.are.equal("mail.test", r.exchange)
        r = ask("_sip._tcp.test", "SRV", protocol).records[1]
        assert.are.equal("3 4 5060 pbx.test", r.value)
        assert.are.equal(5060, r.port)
        assert.are.same({ '0 issue "ca.example"' }, ask("test", "CAA", protocol).values)
        assert.are.same({ "a.test" }, ask("192.0.2.7", "PTR", protocol).values)
        assert.are.same({ "hello worldsecond" }, ask("t.test", "TXT", protocol).values)
      end)
    end

    it("gives the code of a name that is not there", function()
      local r = ask("nothing.test", "A")
      assert.are.equal("NXDOMAIN", r.rcode)
      assert.are.same({}, r.values)
      assert.are.same({}, ask("a.test", "MX").values)
    end)

    it("turns to TCP for a long answer", function()
      local r = ask("big.test", "TXT")
      assert.are.equal("tcp", r.protocol)
      assert.are.equal(2000, #r.values[1])
    end)

    local function wild(name, type, timeout)
      return net.dns(name .. ".evil.test", type or "A", { server = HOST .. ":" .. p.wild, timeout = timeout or 5 })
    end

    it("is not taken in", function()
      assert.are.same({ "127.0.0.1" }, assert(wild "forged").values)
      assert.are.same({ "127.0.0.1" }, assert(wild("drop", "A", 3)).values)
      fails("protocol", "malformed", wild, "loop")
      fails("protocol", "malformed", wild, "short")
      fails("protocol", "malformed", wild, "many")
      fails("timeout", "did not answer in time", wild, "never", "A", 0.3)
      assert.are.equal("SERVFAIL", assert(wild "servfail").rcode)
      assert.are.equal("FORMERR", assert(wild "formerr").rcode)
      assert.are.same({ [[a"b\\c\001de]] }, assert(wild("odd", "TXT")).values)
      fails("connect", "refused", net.dns, "a.test", "A", { server = HOST .. ":" .. p.closed })
    end)
  end)

  it("ntp tells how far we are off", function()
    local r = assert(net.ntp(HOST, { port = p.ntp }))
    assert.is_true(math.abs(r.offset - 100) < 5, r.offset)
    assert.is_true(r.delay >= 0 and r.delay < 5)
    assert.are.equal(2, r.stratum)
    fails("protocol", "is not synchronised itself", net.ntp, HOST, { port = p.unsynchronised })
    fails("timeout", "did not answer", net.ntp, HOST, { port = p.deaf, timeout = 0.3 })
  end)

  it("ping answers, or names the sysctl", function()
    local r, message, code = net.ping(HOST, { count = 2, interval = 0.01 })
    if r then
      assert.are.equal(2, r.received)
      assert.is_true(r.min <= r.avg and r.avg <= r.max and r.loss == 0)
    else
      assert.are.equal("denied", code)
      assert.is_truthy(message:find("net.ipv4.ping_group_range", 1, true), message)
    end
  end)

  it("all has a ceiling for what is sent and for what is answered", function()
    local list, text = {}, ("x"):rep(1 << 20)
    for i = 1, 9 do list[i] = { "tcp", HOST, p.closed, { send = text } } end
    assert.has_error(function() net.all(list) end, "net.all: more than 8 MiB to send, and of PEM texts, in one call")
  end)

  it("all does many at once and keeps order", function()
    local list, began = {}, require "selfmon.time".monotonic()
    for i = 1, 60 do list[i] = { "tcp", HOST, p.silent, { read = 1, timeout = 0.5 } } end
    list[3] = { "dns", "a.test", "A", { server = HOST .. ":" .. p.dns } }
    list[4] = { "tcp", HOST, p.banner, { read = "line" } }
    local r = net.all(list)
    assert.is_true(require "selfmon.time".monotonic() - began < 15)
    assert.are.equal(60, #r)
    assert.are.equal("timeout", r[1].code)
    assert.are.equal(2, #r[3].values)
    assert.are.equal("220 mail.example ready", r[4].banner)
    assert.are.same({}, net.all {})
  end)
end)
