local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local opts = { timeout = 3, headers = { a = "b" } }
  print(http.get("https://shop.example/", opts))
  print(http.all{ { url = "https://shop.example/", timeout = 3 } })
end
