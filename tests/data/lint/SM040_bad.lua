local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local opts = { follow = false }
  print(http.get("https://shop.example/"), http.post("https://shop.example/", { body = "x" }))
  print(http.request{ url = "https://shop.example/" }, http.get("https://shop.example/", opts))
  print(http.all{ "https://shop.example/", { url = "https://shop.example/", timeout = 3 } })
end
