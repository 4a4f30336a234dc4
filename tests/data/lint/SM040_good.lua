local exec = require "selfmon.exec"
local http = require "selfmon.http"
local net = require "selfmon.net"

monitor{ title = "T", schedule = "*/5 * * * *", permissions = { "exec:/usr/bin/df" } }
function run(params)
  print(exec.run{ cmd = "/usr/bin/df", timeout = 3 }, net.tcp("shop.example", 443, { timeout = 2 }))
  local opts, more = { follow = false }, {}
  opts.timeout = 3
  print(http.get("https://shop.example/", opts), http.get("https://shop.example/", { timeout = 3 }))
  for i = 1, 3 do more[i] = { url = "https://shop.example/" .. i, timeout = 3 } end
  print(http.all(more))
end
