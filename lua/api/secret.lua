-- selfmon.secret
return {
  module = "selfmon.secret", since = "0.1.0",
  doc = [[Secrets of the configuration, which a script may use and never sees. The module is the function itself.]],
  types = {
    { name = "selfmon.Secret", doc = [[A secret: only auth, headers and bodies of selfmon.http, what is sent by selfmon.net and
selfmon.exec, and `crypto.hmac` accept it. `tostring` shows `<secret shop>`; joining it with `..` raises; two compare by
identity, never by content.]] },
  },
  functions = {
    {
      name = "()", permission = "secret:shop",
      doc = [[The secret of that name in `secrets` of the configuration. Without a grant it raises and names the line to add; it
may not be called while a script is loading.]],
      params = { { "name", "string" } },
      returns = { { "secret", "selfmon.Secret?" }, { "message", "string?" }, { "code", "string?", '`"not_found"`: granted, but not configured' } },
      example = [[
        local http = require "selfmon.http"
        local secret = require "selfmon.secret"
        local res, err = http.get("https://shop.example/api", { auth = { bearer = assert(secret "shop") }, timeout = 5 })
        print(res and res.status or err)
      ]],
    },
  },
}
