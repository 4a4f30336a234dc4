local crypto = require "selfmon.crypto"

describe("digests", function()
  for _, row in ipairs {
    { "md5", "", "d41d8cd98f00b204e9800998ecf8427e" },
    { "md5", "abc", "900150983cd24fb0d6963f7d28e17f72" },
    { "sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
    { "sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
  } do
    it(("%s of %q"):format(row[1], row[2]), function()
      assert.are.equal(row[3], crypto[row[1]](row[2]))
      assert.are.equal(crypto.unhex(row[3]), crypto[row[1]](row[2], "raw"))
      assert.are.equal(crypto.base64(crypto.unhex(row[3])), crypto[row[1]](row[2], "base64"))
    end)
  end
end)

describe("hmac", function()
  -- RFC 4231 test cases 1 and 2, RFC 2202
  for _, row in ipairs {
    { "sha256", ("\x0b"):rep(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    { "sha256", "Jefe", "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
    { "sha1", "Jefe", "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79" },
    { "md5", "Jefe", "what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738" },
  } do
    it(row[1] .. " with " .. crypto.hex(row[2]), function()
      assert.are.equal(row[4], crypto.hmac(row[1], row[2], row[3]))
      assert.are.equal(crypto.base64(crypto.unhex(row[4])), crypto.hmac(row[1], row[2], row[3], "base64"))
    end)
  end

  it("names what it expects", function()
    assert.has_error(function() crypto.hmac("sha3", "k", "t") end)
    assert.has_error(function() crypto.hmac("sha256", "k", "t", "octal") end)
    assert.has_error(function() crypto.hmac("sha256", {}, "t") end)
  end)
end)

describe("base64", function()
  it("follows RFC 4648", function()
    for text, coded in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
                               foobar = "Zm9vYmFy", ["\0\xff\xfe"] = "AP/+" } do
      assert.are.equal(coded, crypto.base64(text))
      assert.are.equal(text, crypto.unbase64(coded))
      assert.are.equal(text, crypto.unbase64((coded:gsub("=", "")))) -- padding may be missing
    end
  end)

  it("reads the URL alphabet and lines", function()
    assert.are.equal("\0\xff\xfe", crypto.unbase64 "AP_-")
    assert.are.equal("foobar", crypto.unbase64 "Zm9v\r\nYmFy\n")
  end)

  it("refuses other texts", function()
    for _, text in ipairs { "Z", "Zg=", "Zg===", "Zm9v=", "Z!==", "Zg==Zg==", "Zm9vY", "\0\0\0\0" } do
      local v, err, code = crypto.unbase64(text)
      assert.is_nil(v, text)
      assert.is_string(err)
      assert.are.equal("invalid", code)
    end
  end)

  it("keeps every byte", function()
    for n = 0, 70 do
      local bytes = crypto.random(n)
      assert.are.equal(n, #bytes)
      assert.are.equal(bytes, crypto.unbase64(crypto.base64(bytes)))
      assert.are.equal(bytes, crypto.unhex(crypto.hex(bytes)))
    end
  end)
end)

describe("hex", function()
  it("writes lower case, reads both, refuses others", function()
    assert.are.equal("00ff7f", crypto.hex "\0\xff\x7f")
    assert.are.equal("\0\xff\x7f", crypto.unhex "00FF7f")
    assert.are.equal("invalid", select(3, crypto.unhex "0"))
    assert.are.equal("invalid", select(3, crypto.unhex "0g"))
  end)
end)

describe("chance", function()
  it("makes version 4 UUIDs", function()
    local seen = {}
    for _ = 1, 100 do
      local u = crypto.uuid()
      assert.is_truthy(u:match "^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$", u)
      assert.are.equal(36, #u)
      assert.is_nil(seen[u])
      seen[u] = true
    end
  end)

  it("bounds random", function()
    assert.has_error(function() crypto.random(-1) end)
    assert.has_error(function() crypto.random(65537) end)
    assert.are_not.equal(crypto.random(16), crypto.random(16))
  end)
end)
