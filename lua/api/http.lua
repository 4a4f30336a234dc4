-- selfmon.http
local RETURNS = {
  { "result", "selfmon.http.Result?" },
  { "message", "string?" },
  { "code", "string?", "dns connect timeout tls redirect denied too_large partial closed protocol cancelled" },
}

local function verb(name, doc, example)
  return {
    name = name, discard = name ~= "get" and name ~= "head",
    doc = doc .. [[ Blocks only this run; not while a script is loading. A wrong call raises at your line.]],
    params = { { "url", "string" }, { "opts?", "selfmon.http.Options" } },
    returns = RETURNS,
    example = example,
  }
end

local OPTIONS = {
  { "query", "table<string, string|number|boolean|table>?", "appended to the URL, sorted by name; a list gives a name several times" },
  { "headers", "table<string, string|number|selfmon.Secret|table>?", "names and values; a list gives a header several times" },
  { "body", "string|selfmon.Secret|nil", "one of body, json and form" },
  { "json", "any", "a value for cjson.encode" },
  { "form", "table<string, string|number|boolean|table>?", "sent as a form" },
  { "timeout", "number?", "seconds for the whole request, redirects included; 10" },
  { "follow", "boolean|integer|nil", "redirects: true (5), false, or a count up to 10" },
  { "auth", "table?", "`{ user, password }` or `{ bearer = token }`; strings or secrets" },
  { "verify", "boolean?", "false takes any certificate; true" },
  { "ca", "string?", "PEM text or file of the certificates to trust, instead of the system's" },
  { "cert", "string|table|nil", "client certificate: PEM text with key, or `{ cert =, key = }`; a path of a key needs `file:PATH`" },
  { "proxy", "string?", "URL; without it none is used" },
  { "max_body", "integer?", "bytes after decompression; 8 MiB" },
}

local REQUEST = {
  { "url", "string" },
  { "method", "string?", "GET unless given" },
}
for _, field in ipairs(OPTIONS) do REQUEST[#REQUEST + 1] = field end

return {
  module = "selfmon.http", since = "0.1.0",
  doc = [[Asks web servers. What the world does wrong is returned as `nil, sentence, code`. `net` in the configuration narrows
which addresses scripts reach; link-local and cloud metadata addresses never are. A run may make 1,000 requests
(`limits.http`), 64 at once.]],
  types = {
    { name = "selfmon.http.Options", doc = "How to ask.", fields = OPTIONS },
    { name = "selfmon.http.Request", doc = "Options with the address among them.", fields = REQUEST },
    { name = "selfmon.http.Timings", doc = "Seconds. `dns`, `connect` and `tls` are lengths of phases, 0 on a kept connection.",
      fields = { { "dns", "number" }, { "connect", "number" }, { "tls", "number" },
                 { "ttfb", "number", "first byte, since the start" }, { "total", "number", "since the start" } } },
    { name = "selfmon.http.Tls", doc = "The server's certificate, on https.",
      fields = { { "subject", "string" }, { "issuer", "string" }, { "not_before", "integer", "Unix seconds" },
                 { "not_after", "integer", "Unix seconds" }, { "days_left", "number", "negative when expired" },
                 { "san", "string[]" }, { "verified", "boolean" } } },
    {
      name = "selfmon.http.Result", doc = "An answer, whatever its status.",
      fields = {
        { "status", "integer" },
        { "headers", "table<string, string|string[]>", "names in any case; repeated ones joined by `, `; `set-cookie` is a list" },
        { "body", "string" },
        { "url", "string", "the last one asked" },
        { "remote_ip", "string" },
        { "http_version", "string" },
        { "timings", "selfmon.http.Timings" },
        { "tls", "selfmon.http.Tls?" },
        { "error", "string?", "of `all`: why there is no answer" },
        { "code", "string?", "of `all`: its code" },
      },
      methods = {
        {
          name = "json", doc = "The body as a value.",
          returns = { { "value", "any" }, { "message", "string?" }, { "code", "string?", '`"json"`' } },
          example = [[
            local res = assert(http.get("https://shop.example/health", { timeout = 5 }))
            local health = assert(res:json())
            print(health.status)
          ]],
        },
        {
          name = "raise_for_status", discard = true,
          doc = "Raises for a status of 400 and above; else the result itself.",
          returns = { { "result", "selfmon.http.Result" } },
          example = [[
            local res = assert(http.get("https://shop.example/", { timeout = 5 })):raise_for_status()
            print(#res.body)
          ]],
        },
      },
    },
  },
  functions = {
    verb("get", "A GET request.", [[
      local res, err, code = http.get("https://shop.example/", { timeout = 5, query = { q = "disk" } })
      if not res then return print("no answer:", err, code) end
      print(res.status, res.timings.total)
    ]]),
    verb("head", "A HEAD request: everything but the body.", [[
      local res = assert(http.head("https://shop.example/", { timeout = 5 }))
      print(res.headers["Content-Type"])
    ]]),
    verb("post", "A POST request.", [[
      local res = assert(http.post("https://hooks.example/alarm", { json = { text = "disk full" }, timeout = 5 }))
      print(res.status)
    ]]),
    verb("put", "A PUT request.", 'print(http.put("https://api.example/flag", { body = "on", timeout = 5 }))'),
    verb("patch", "A PATCH request.", 'print(http.patch("https://api.example/flag", { json = { on = true }, timeout = 5 }))'),
    verb("delete", "A DELETE request.", 'print(http.delete("https://api.example/lock", { timeout = 5 }))'),
    {
      name = "request", discard = true,
      doc = "A request with any method; `url` and `method` are among the options.",
      params = { { "opts", "selfmon.http.Request" } },
      returns = RETURNS,
      example = 'print(http.request{ method = "GET", url = "https://shop.example/", timeout = 5 })',
    },
    {
      name = "all",
      doc = [[Many requests at once, at most 64 at a time. The answers come in the same order; one that failed is `{ error =
sentence, code = code }`.]],
      params = { { "requests", "(string|selfmon.http.Request)[]" } },
      returns = { { "results", "selfmon.http.Result[]" } },
      example = [[
        local urls = { "https://shop.example/", "https://www.example/" }
        for i, res in ipairs(http.all{ { url = urls[1], timeout = 5 }, { url = urls[2], timeout = 5 } }) do
          print(urls[i], res.error or res.status)
        end
      ]],
    },
  },
}
