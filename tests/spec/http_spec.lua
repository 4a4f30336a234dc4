-- selfmon.http as authors see it: in a run against fake answers, and for real against a server on loopback.
local internal = require "selfmon.internal"
local cjson = require "cjson"

-- Runs the body with `http` in scope; answer(request) plays the world. Answers the result and the requests.
local function run(body, answer, opts)
  local asked = {}
  opts = opts or {}
  opts.file = "demo/h.lua"
  opts.http = function(request)
    asked[#asked + 1] = request
    if answer then return answer(request) end
    return { status = 200, body = "ok" }
  end
  local r = internal.run("local http = require 'selfmon.http'\nmonitor{ title = 'H' }\nfunction run(params, ctx)\n" .. body .. "\nend", "run", {}, opts)
  return r, asked
end

local function fine(body, answer, opts)
  local r, asked = run(body, answer, opts)
  assert.are.equal("ok", r.outcome, r.error)
  return asked, r
end

local function raises(call, ...)
  local r, asked = run(call)
  assert.are.equal("failed", r.outcome, call)
  assert.are.equal(0, #asked, call)
  for _, words in ipairs { "inspections/demo/h.lua:4: ", ... } do
    assert.is_truthy(r.error:find(words, 1, true), ("%s\nexpected: %s\ngot: %s"):format(call, words, r.error))
  end
end

local U = "'https://shop.example/'"

describe("a request", function()
  it("has a function for each method", function()
    local asked = fine(([[
      http.get(%s) http.post(%s) http.put(%s) http.patch(%s) http.delete(%s) http.head(%s)
      http.request{ url = %s, method = "OPTIONS" } http.request{ url = %s, method = "purge" } http.request{ url = %s }
    ]]):gsub("%%s", U), nil)
    local methods = {}
    for i, r in ipairs(asked) do methods[i] = r.method end
    assert.are.same({ "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE", "GET" }, methods)
  end)

  it("has a timeout of 10 s, checks certificates and has no body, unless it says otherwise", function()
    local asked = fine("http.get(" .. U .. ") http.get(" .. U .. ", { timeout = 2.5, verify = false })")
    assert.are.equal(10, asked[1].timeout)
    assert.is_true(asked[1].verify)
    assert.is_nil(asked[1].body)
    assert.are.equal(2.5, asked[2].timeout)
    assert.is_false(asked[2].verify)
  end)

  it("carries headers, with lists and numbers", function()
    local asked = fine("http.get(" .. U .. ", { headers = { ['X-A'] = 'b', Accept = { 'c', 'd' }, ['X-N'] = 5 } })")
    assert.are.equal("b", asked[1].headers["X-A"])
    assert.are.equal("5", asked[1].headers["X-N"])
  end)

  it("puts the query on the URL, encoded, in byte order", function()
    local asked = fine("http.get('https://shop.example/s?x=1', { query = { q = 'a b&c', n = 5, l = { 1, 2 }, t = true } })")
    assert.are.equal("https://shop.example/s?x=1&l=1&l=2&n=5&q=a%20b%26c&t=true", asked[1].url)
  end)

  it("has a body as text, JSON or form", function()
    local asked = fine(([[
      http.post(U, { body = "raw\0" }) http.post(U, { json = { a = 1 } }) http.post(U, { form = { q = "a b", n = 5 } })
    ]]):gsub("U", U), nil)
    assert.are.equal("raw\0", asked[1].body)
    assert.are.equal('{"a":1}', asked[2].body)
    assert.are.equal("application/json", asked[2].content_type)
    assert.are.equal("n=5&q=a+b", asked[3].body)
    assert.are.equal("application/x-www-form-urlencoded", asked[3].content_type)
  end)

  it("takes credentials as strings and secrets", function()
    local asked = fine(([[
      local s = require "selfmon.secret" "k"
      http.get(U, { auth = { "me", "pw" } }) http.get(U, { auth = { user = "me", pass = s } }) http.get(U, { auth = { bearer = s } })
      http.get(U, { headers = { ["X-Key"] = s } }) http.post(U, { body = s })
    ]]):gsub("U", U), nil, { grants = { "secret:k" }, secrets = { k = "correct horse" } })
    assert.are.same({ "basic", "me", "pw" }, { asked[1].auth, asked[1].user, asked[1].password })
    assert.are.equal("correct horse", asked[2].password)
    assert.are.equal("bearer", asked[3].auth)
    assert.are.equal("correct horse", asked[4].headers["X-Key"])
    assert.are.equal("correct horse", asked[5].body)
  end)

  it("clamps what is above the host's ceilings", function()
    local asked = fine("assert(http.get(" .. U .. ", { timeout = 1e9, max_body = 1 << 40, follow = 1000 }))")
    assert.is_true(asked[1].timeout <= 3600)
  end)
end)

describe("a wrong call raises at the script's line:", function()
  for call, words in pairs {
    ["http.get()"] = "http.get: url: expected a string, got n",
    ["http.get(5)"] = "http.get: url: expected a string, got number",
    ["http:get('https://x.example/')"] = "with a dot",
    ["http.get('ftp://x.example/')"] = "http.get: url",
    ["http.get('x.example')"] = "http.get: url",
    ["http.get('https://')"] = "http.get: url",
    ["http.get('https://x.example/\\n')"] = "http.get: the url",
    ["http.get(U, 5)"] = "expected a table of options",
    ["http.get(U, { timout = 5 })"] = 'unknown option "timout"; did you mean "timeout"?',
    ["http.get(U, { method = 'POST' })"] = 'option "method" is for http.request and http.all only',
    ["http.get(U, { timeout = 0 })"] = "above 0",
    ["http.get(U, { timeout = 0/0 })"] = "above 0",
    ["http.get(U, { timeout = '5' })"] = 'option "timeout": expected a number of seconds, got string',
    ["http.get(U, { follow = -1 })"] = 'option "follow"',
    ["http.get(U, { follow = 1.5 })"] = 'option "follow"',
    ["http.get(U, { max_body = 0 })"] = 'option "max_body"',
    ["http.get(U, { verify = 'no' })"] = 'option "verify": expected a boolean',
    ["http.get(U, { headers = 'x' })"] = 'option "headers"',
    ["http.get(U, { headers = { ['A: b\\r\\nC'] = 'd' } })"] = 'option "headers"',
    ["http.get(U, { headers = { A = 'b\\r\\nC: d' } })"] = 'option "headers"',
    ["http.get(U, { headers = { ['Content-Length'] = '5' } })"] = 'option "headers"',
    ["http.get(U, { headers = { A = {{}} } })"] = 'option "headers"',
    ["http.get(U, { query = 'a=1' })"] = 'option "query"',
    ["http.get(U, { query = { a = {{}} } })"] = 'option "query"',
    ["http.post(U, { body = 5 })"] = 'option "body": expected a string or a secret, got number',
    ["http.post(U, { body = 'x', json = {} })"] = "give only one of body, json and form",
    ["http.post(U, { json = { f = print } })"] = 'option "json"',
    ["http.head(U, { body = 'x' })"] = "a HEAD request has no body",
    ["http.get(U, { auth = 'x' })"] = 'option "auth": expected {user, pass} or {bearer = token}',
    ["http.get(U, { auth = { 'a' } })"] = "the password is missing",
    ["http.get(U, { proxy = 'ftp://x' })"] = 'option "proxy"',
    ["http.get(U, { ca = 'not pem' })"] = 'option "ca"',
    ["http.get(U, { cert = '/etc/ssl/x.pem' })"] = 'permission "file:/etc/ssl/x.pem" is not granted to demo/h.run: add it to grant in selfmon.conf.lua',
    ["http.request{}"] = "url is missing",
    ["http.request('https://x.example/')"] = "expected a table of options",
    ["http.request{ url = U, method = 'G ET' }"] = "not an HTTP method",
    ["http.request{ url = U, method = 'CONNECT' }"] = 'use the option "proxy"',
    ["http.all(5)"] = "expected a list of URLs",
    ["http.all{ url = U }"] = "put one request in a table of its own",
    ["http.all{ U, 5 }"] = "http.all[2]",
    ["http.all{ U, { url = U, timout = 1 } }"] = 'http.all[2]: unknown option "timout"',
  } do
    it(call, function()
      raises((call:gsub("U", U)), words)
    end)
  end

  it("never with what stands before an @", function()
    local r = run("http.get('ftp://me:hunter2@x.example/')")
    assert.is_nil(r.error:find("hunter2", 1, true), r.error)
  end)
end)

describe("an answer", function()
  it("has status headers body timings url remote_ip http_version", function()
    fine([[
      local res = assert(http.get("https://shop.example/x"))
      assert(res.status == 404 and math.type(res.status) == "integer")
      assert(res.body == "gone\0" and res.url == "https://shop.example/x" and res.http_version == "1.1" and res.remote_ip == "192.0.2.7")
      assert(res.headers["content-type"] == "text/plain" and res.headers["Content-Type"] == "text/plain" and res.headers.none == nil)
      assert(res.timings.dns == 0.01 and res.timings.connect == 0.02 and res.timings.tls == 0.03 and res.timings.ttfb == 0.1 and res.timings.total == 0.25)
      assert(res.tls == nil and tostring(res) == "<http result 404>")
    ]], function()
      return { status = 404, body = "gone\0", headers = { ["Content-Type"] = "text/plain" }, remote_ip = "192.0.2.7",
               timings = { dns = 0.01, connect = 0.02, tls = 0.03, ttfb = 0.1, total = 0.25 } }
    end)
  end)

  it("has tls of the certificate", function()
    fine([[
      local tls = assert(http.get("https://shop.example/")).tls
      assert(tls.subject == "CN=shop" and tls.issuer == "CN=ca" and tls.not_before == 1 and tls.not_after == 2 and tls.days_left == 12.5
        and tls.verified == true and #tls.san == 2 and tls.san[2] == "www.shop.example")
    ]], function()
      return { tls = { subject = "CN=shop", issuer = "CN=ca", not_before = 1, not_after = 2, days_left = 12.5, san = { "shop.example", "www.shop.example" } } }
    end)
  end)

  it("reads JSON, or says what is wrong with it", function()
    fine([[
      assert(http.get("https://a.example/"):json().n == 9007199254740993)
      local v, err, code = http.get("https://b.example/"):json()
      assert(v == nil and code == "json", code)
      assert(err:find("b.example: the body is not JSON", 1, true), err)
    ]], function(request)
      return { body = request.url:find "a%.example" and '{"n":9007199254740993}' or "<html>" }
    end)
  end)

  it("raises for a status of 400 and above, when asked", function()
    local r = run("print(http.get('https://shop.example/'):raise_for_status().status)")
    assert.is_truthy(r.log:find("200", 1, true))
    r = run("http.get('https://shop.example/'):raise_for_status()", function() return { status = 503 } end)
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("demo/h.lua:4: shop.example answered 503", 1, true), r.error)
  end)

  it("wants a colon for its methods", function()
    local r = run("http.get('https://shop.example/').json()")
    assert.is_truthy(r.error:find("with a colon", 1, true), r.error)
  end)

  it("keeps all cookies", function()
    fine([[local c = http.get("https://shop.example/").headers["set-cookie"] assert(type(c) == "table" and c[1] == "a=1")]],
      function() return { headers = { ["Set-Cookie"] = "a=1" } } end)
  end)
end)

describe("what the world does wrong", function()
  it("is nil, a sentence and a code", function()
    fine([[
      local res, err, code = http.get("https://shop.example/")
      assert(res == nil and err == "no route to host" and code == "connect")
    ]], function() return nil, "no route to host", "connect" end)
  end)

  it("is no error for a status of 400 and above", function()
    fine("assert(http.get('https://shop.example/').status == 500)", function() return { status = 500 } end)
  end)
end)

describe("redirects", function()
  local function hops(request)
    local n = tonumber(request.url:match "/(%d+)$")
    if n > 0 then return { status = 302, headers = { Location = "/" .. n - 1 } } end
    return { status = 200, body = request.method }
  end

  it("are followed, and url is the last one", function()
    local asked = fine("local res = http.get('https://shop.example/3') assert(res.status == 200 and res.url == 'https://shop.example/0')", hops)
    assert.are.equal(4, #asked)
  end)

  it("are not followed with follow = false, and a count bounds them", function()
    local asked = fine("assert(http.get('https://shop.example/3', { follow = false }).status == 302)", hops)
    assert.are.equal(1, #asked)
    fine("local res, err, code = http.get('https://shop.example/3', { follow = 2 }) assert(res == nil and code == 'redirect', err)", hops)
  end)

  it("do not take credentials to another host", function()
    local asked = fine("http.get('https://a.example/', { auth = { 'me', 'pw' } })", function(request)
      if request.url:find "a%.example" then return { status = 302, headers = { Location = "https://b.example/" } } end
      return { status = 200 }
    end)
    assert.are.equal("pw", asked[1].password)
    assert.is_nil(asked[2].password)
  end)
end)

describe("http.all", function()
  it("keeps the order and gives errors a place", function()
    fine([[
      local list = http.all{ "https://a.example/", { url = "https://b.example/", method = "POST", body = "x" }, "https://c.example/" }
      assert(#list == 3 and list[1].body == "https://a.example/" and list[3].body == "https://c.example/")
      assert(list[2].error == "refused" and list[2].code == "connect" and list[2].status == nil)
      assert(#http.all{} == 0)
    ]], function(request)
      if request.method == "POST" then return nil, "refused", "connect" end
      return { body = request.url }
    end)
  end)
end)

describe("the limit of requests", function()
  it("is 1,000 a run; pcall does not catch it", function()
    local r, asked = run("while true do pcall(http.get, 'https://shop.example/') end")
    assert.are.equal("limit", r.outcome)
    assert.are.equal(1000, #asked)
    assert.is_truthy(r.error:find("demo/h.lua:4: limit of 1000 requests reached (1001 asked for, over HTTP and selfmon.net); see limits.http", 1, true), r.error)
  end)
end)

describe("for real", function()
  local http = require "selfmon.http"
  local server, pid, base

  setup(function()
    server = assert(io.popen("echo $$; exec /usr/bin/python3 tests/fakes/http_server.py"))
    pid = server:read "l"
    base = "http://127.0.0.1:" .. assert(server:read "l")
  end)

  teardown(function()
    os.execute("kill " .. pid)
    server:close()
  end)

  it("asks and answers", function()
    local res = assert(http.get(base .. "/ok"))
    assert.are.equal(200, res.status)
    assert.are.equal("ok\n", res.body)
    assert.are.equal("127.0.0.1", res.remote_ip)
    assert.are.equal("text/plain", res.headers["Content-Type"])
    assert.is_nil(res.tls)
    for _, name in ipairs { "dns", "connect", "tls", "ttfb", "total" } do assert.is_true(res.timings[name] >= 0, name) end
    assert.is_true(res.timings.total > 0 and res.timings.total < 5)
  end)

  it("sends what was asked for", function()
    local seen = assert(http.request { url = base .. "/echo", method = "PUT", json = { a = 1 }, headers = { ["X-A"] = "b" },
                                       query = { q = "a b" }, auth = { "me", "pw" } }):json()
    assert.are.equal("PUT", seen.method)
    assert.are.equal("/echo?q=a%20b", seen.path)
    assert.are.equal('{"a":1}', seen.body)
    local headers = {}
    for _, pair in ipairs(seen.headers) do headers[pair[1]:lower()] = pair[2] end
    assert.are.equal("b", headers["x-a"])
    assert.are.equal("application/json", headers["content-type"])
    assert.are.equal("Basic " .. require "selfmon.crypto".base64 "me:pw", headers.authorization)
  end)

  it("unpacks, follows, and keeps repeated headers", function()
    assert.are.equal("unpacked\n", assert(http.get(base .. "/gzip")).body)
    local res = assert(http.get(base .. "/redirect?n=3"))
    assert.are.equal(base .. "/ok", res.url)
    res = assert(http.get(base .. "/headers"))
    assert.are.equal("a, b", res.headers["x-list"])
    assert.are.equal(2, #res.headers["Set-Cookie"])
  end)

  for path, row in pairs { ["/hang"] = "timeout", ["/close"] = "closed", ["/short-content-length"] = "partial", ["/garbage"] = "protocol",
                           ["/gzipbomb?mib=16"] = "too_large", ["/bytes?n=2000000"] = "too_large", ["/redirect?n=50"] = "redirect" } do
    it("answers nil, sentence, code for " .. path, function()
      local res, err, code = http.get(base .. path, { timeout = path == "/hang" and 0.3 or 10, max_body = 1 << 20 })
      assert.is_nil(res)
      assert.is_string(err)
      assert.are.equal(row, code, err)
    end)
  end

  it("answers nil, sentence, code for a closed port and an unknown name", function()
    local _, err, code = http.get("http://127.0.0.1:1/")
    assert.are.equal("connect", code, err)
    _, err, code = http.get("http://no-such-host.invalid/")
    assert.are.equal("dns", code, err)
  end)

  it("runs in parallel and keeps order", function()
    local list, began = {}, require "selfmon.time".monotonic()
    for i = 1, 20 do list[i] = base .. "/drip?n=2&s=0.2" end
    list[3] = base .. "/bytes?n=3"
    local results = http.all(list)
    local took = require "selfmon.time".monotonic() - began
    assert.are.equal(20, #results)
    assert.are.equal("xxx", results[3].body)
    assert.are.equal("..", results[20].body, cjson.encode { results[20].error })
    assert.is_true(took < 4, took)
  end)
end)
