local internal = require "selfmon.internal"

local function run(body, opts)
  opts = opts or {}
  opts.file = "s.lua"
  return internal.run(([[
    local secret = require "selfmon.secret"
    local crypto = require "selfmon.crypto"
    monitor{ title = "s", permissions = { "secret:shop" } }
    function run() %s end
  ]]):format(body), "run", {}, opts)
end

local GRANTED = { grants = { "secret:shop" }, secrets = { shop = "correct horse" } }

local function granted(extra)
  local opts = {}
  for k, v in pairs(GRANTED) do opts[k] = v end
  for k, v in pairs(extra or {}) do opts[k] = v end
  return opts
end

describe("selfmon.secret", function()
  it("raises the permission sentence without a grant", function()
    local r = run 'secret "shop"'
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find('permission "secret:shop" is not granted to', 1, true), r.error)
    assert.is_truthy(r.error:find("add it to grant in selfmon.conf.lua", 1, true))
    r = run('secret "other"', granted())
    assert.is_truthy(r.error:find('permission "secret:other" is not granted', 1, true))
  end)

  it("answers nil, message, code when it is granted but not configured", function()
    local r = run('local v, err, code = secret "shop"; assert(v == nil and code == "not_found", tostring(err)) print(err)',
      { grants = { "secret:*" } })
    assert.are.equal("ok", r.outcome, r.error)
  end)

  it("shows its name only", function()
    local r = run([[
      local s = secret "shop"
      print(tostring(s), s)
      print(pcall(function() return "x" .. s end))
      print(pcall(function() return #s end), pcall(function() return s.bytes end))
      print(type(s), getmetatable(s))
      print(s == secret "shop", s == s)
      print(pcall(require "cjson".encode, { s }))
      print(pcall(crypto.sha256, s), pcall(crypto.base64, s), pcall(string.format, "%s", s))
    ]], granted())
    assert.are.equal("ok", r.outcome, r.error)
    local log = type(r.log) == "table" and table.concat(r.log, "\n") or r.log
    assert.is_truthy(log:find("<secret shop>", 1, true))
    assert.is_truthy(log:find("a secret cannot become text", 1, true))
    assert.is_truthy(log:find("userdata", 1, true))
    assert.is_truthy(log:find("false", 1, true))
    assert.is_nil(log:find("correct horse", 1, true))
  end)

  it("is a key for hmac", function()
    local r = run([[assert(crypto.hmac("sha256", secret "shop", "t") == crypto.hmac("sha256", "correct horse", "t"))]],
      granted())
    assert.are.equal("ok", r.outcome, r.error)
  end)

  it("goes into a request, and nowhere else", function()
    local seen
    local r = run([[
      local http = require "selfmon.http"
      assert(http.get("https://shop.example/", { auth = { bearer = secret "shop" } }))
      error("x")
    ]], granted { http = function(request) seen = request return { status = 200 } end })
    assert.is_truthy(seen)
    assert.are.equal("failed", r.outcome)
    assert.is_nil(tostring(r.error):find("correct horse", 1, true))
  end)

  it("is refused while a script loads, and with a bad name", function()
    local loaded, err = internal.load([[
      local s = require "selfmon.secret" "shop"
      monitor{ title = "s" }
      function run() end
    ]], "s.lua")
    assert.is_nil(loaded)
    assert.is_truthy(err:find("cannot be called while a script is loading", 1, true), err)
    for _, name in ipairs { "''", "'a b'", "'../x'", "nil", "{}", ("'%s'"):format(("x"):rep(65)) } do
      local r = run("secret(" .. name .. ")", granted())
      assert.are.equal("failed", r.outcome, name)
      assert.is_nil(r.error:find("permission", 1, true), r.error)
    end
  end)
end)
