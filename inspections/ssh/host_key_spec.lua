local crypto = require "selfmon.crypto"
local t = require "selfmon.testing"

local function packet(payload)
  local pad = 8 - (#payload + 5) % 8
  if pad < 4 then pad = pad + 8 end
  return (">I4B"):pack(#payload + pad + 1, pad) .. payload .. ("\0"):rep(pad)
end

local function blob(key)
  return (">s4s4"):pack("ssh-ed25519", key:rep(32):sub(1, 32))
end

local function fingerprint(key)
  return "SHA256:" .. crypto.sha256(blob(key), "base64"):match "^[^=]+"
end

-- A server that shows `key`, with a line and packets that clients pass over.
local function server(key)
  t.net("open web1.example:22", { greeting = "some banner\r\nSSH-2.0-OpenSSH_9.2\r\n", talk = function(sent)
    assert(sent:find "^SSH%-2%.0%-selfmon_lua\r\n")
    return packet("\20" .. ("x"):rep(200)) .. packet "\2ignore" .. packet("\31" .. (">s4s4s4"):pack(blob(key), "q", "sig"))
  end })
end

local function run(hosts)
  local r = t.run("ssh/host_key.run", { hosts = hosts })
  assert.are.equal("ok", r.outcome, r.error)
  return r.events, r
end

describe("ssh/host_key", function()
  it("without hosts says so in the log and stays quiet", function()
    local r = t.run("ssh/host_key.run")
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameter hosts", 1, true))
  end)

  it("remembers the first key and keeps quiet about it", function()
    server "a"
    local events, r = run { "web1.example" }
    assert.are.same({}, events)
    assert.is_truthy(r.log:find(fingerprint "a", 1, true), r.log)
    assert.are.same({}, run { "web1.example" })
  end)

  it("alarms when another is shown, until that one is accepted", function()
    server "a"
    run { "web1.example" }
    server "b"
    local events = run { "web1.example" }
    assert.are.equal("critical", events[1].status)
    assert.are.equal("web1.example: the host key changed", events[1].title)
    assert.is_truthy(events[1].message:find(fingerprint "a", 1, true))
    assert.is_truthy(events[1].message:find(fingerprint "b", 1, true))
    assert.are.same({ host = "web1.example" }, events[1].dimension_tags)
    assert.are.equal(1, #run { "web1.example" })
    assert.are.same({}, run { "web1.example " .. fingerprint "b" })
    assert.are.same({}, run { "web1.example" })
  end)

  it("compares with a configured fingerprint from the first run on", function()
    server "a"
    assert.are.equal("critical", run { "web1.example " .. fingerprint "b" }[1].status)
    assert.are.same({}, run { "web1.example " .. fingerprint "a" })
  end)

  it("reports a server that shows none", function()
    t.net("open web1.example:22", { error = "web1.example:22: no connection to 192.0.2.1: Connection refused", code = "connect" })
    assert.is_truthy(run { "web1.example" }[1].message:find("Connection refused", 1, true))
    for _, case in ipairs { { "220 mail\r\n" }, { "SSH-1.5-old\r\n" }, { "SSH-2.0-x\r\n", packet("\1" .. (">I4s4"):pack(3, "no kex")) },
                            { "SSH-2.0-x\r\n", "\xff\xff\xff\xff\0" }, { "SSH-2.0-x\r\n", packet "\31\0\0\xff\xff" } } do
      t.net("open web1.example:22", { greeting = case[1], talk = function() return case[2] end })
      local events = run { "web1.example" }
      assert.are.equal("error", events[1].status)
      assert.are.equal("web1.example: the host key cannot be read", events[1].title)
    end
  end)

  it("refuses what is no fingerprint", function()
    local r = t.run("ssh/host_key.run", { hosts = { "web1.example abc" } })
    assert.are.equal("failed", r.outcome)
  end)
end)
