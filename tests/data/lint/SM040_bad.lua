local exec = require "selfmon.exec"
local http = require "selfmon.http"
local net = require "selfmon.net"

monitor{ title = "T", schedule = "*/5 * * * *", permissions = { "exec:/usr/bin/df" } }
function run(params)
  print(exec.run{ cmd = "/usr/bin/df" }, net.tcp("shop.example", 443), net.ping("shop.example", { count = 2 }))
  local opts = { follow = false }
  print(http.get("https://shop.example/"), http.post("https://shop.example/", { body = "x" }))
  print(http.request{ url = "https://shop.example/" }, http.get("https://shop.example/", opts))
  print(http.all{ "https://shop.example/", { url = "https://shop.example/", timeout = 3 } })
end
