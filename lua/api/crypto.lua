-- selfmon.crypto
local form = { "form?", '"hex"|"raw"|"base64"', "how it is shown; `\"hex\"` (lower case) unless given" }

local function digest(name, known)
  return {
    name = name,
    doc = ("The %s digest of a text of any bytes. Raises for a wrong argument."):format(known),
    params = { { "text", "string" }, form },
    returns = { { "digest", "string" } },
    example = ('print(crypto.%s "abc", crypto.%s("abc", "base64"))'):format(name, name),
  }
end

return {
  module = "selfmon.crypto", since = "0.1.0",
  doc = [[Digests, HMAC, encodings and random bytes. Texts are strings of any bytes. Nothing blocks, and all of it
may be used while a script loads. MD5 and SHA-1 are for protocols that ask for them, not for new ones.]],
  functions = {
    digest("md5", "MD5"),
    digest("sha1", "SHA-1"),
    digest("sha256", "SHA-256"),
    {
      name = "hmac",
      doc = [[Keyed digest, such as signatures of webhooks are made of. The key is a string or a secret, whose bytes
the script never sees. Raises for a wrong argument.]],
      params = {
        { "algorithm", '"sha256"|"sha1"|"md5"|"sha512"' },
        { "key", "string|selfmon.Secret" },
        { "text", "string" },
        form,
      },
      returns = { { "digest", "string" } },
      example = [[
        local stamp = "1700000000"
        local sign = crypto.hmac("sha256", "key", stamp .. "\nbody", "base64")
        assert(#sign == 44)
      ]],
    },
    {
      name = "base64",
      doc = "A text in base64 (RFC 4648), with padding, on one line.",
      params = { { "text", "string" } },
      returns = { { "encoded", "string" } },
      example = 'assert(crypto.base64 "user:pass" == "dXNlcjpwYXNz")',
    },
    {
      name = "unbase64",
      doc = "The bytes of a base64 text: both alphabets, padding optional, blanks and line ends skipped.",
      params = { { "text", "string" } },
      returns = { { "bytes", "string?" }, { "message", "string?" }, { "code", "string?", '`"invalid"`' } },
      example = [[
        assert(crypto.unbase64 "dXNlcjpwYXNz" == "user:pass")
        local bytes, err = crypto.unbase64 "!"
        assert(bytes == nil and err)
      ]],
    },
    {
      name = "hex",
      doc = "A text's bytes in lower-case hex digits.",
      params = { { "text", "string" } },
      returns = { { "digits", "string" } },
      example = 'assert(crypto.hex "\\1\\255" == "01ff")',
    },
    {
      name = "unhex",
      doc = "The bytes of a text of hex digits.",
      params = { { "text", "string" } },
      returns = { { "bytes", "string?" }, { "message", "string?" }, { "code", "string?", '`"invalid"`' } },
      example = 'assert(crypto.unhex "01FF" == "\\1\\255")',
    },
    {
      name = "uuid",
      doc = "A random UUID (version 4), such as `0b7f1d8e-91c2-4b0e-8f53-0d6f2f2f9a11`.",
      returns = { { "uuid", "string" } },
      example = "assert(#crypto.uuid() == 36)",
    },
    {
      name = "random",
      doc = "Random bytes, fit for keys.",
      params = { { "n", "integer", "how many, 0 to 65536" } },
      returns = { { "bytes", "string" } },
      example = "print(crypto.hex(crypto.random(8)))",
    },
  },
}
