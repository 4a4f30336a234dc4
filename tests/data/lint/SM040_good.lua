local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local opts, more = { follow = false }, {}
  opts.timeout = 3
  print(http.get("https://shop.example/", opts), http.get("https://shop.example/", { timeout = 3 }))
  for i = 1, 3 do more[i] = { url = "https://shop.example/" .. i, timeout = 3 } end
  print(http.all(more))
end
