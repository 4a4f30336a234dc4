local secret = require "selfmon.secret"
local http = require "selfmon.http"
local host = require "selfmon.host"

monitor{ title = "T", schedule = "@hourly",
  permissions = { "secret:shop", "file:/etc/*.pem", "file:/backup/*.tar", "file:/var/log/*" } }
function run()
  local res = http.get("https://shop.example/", { timeout = 5, cert = "/etc/shop.pem",
    auth = { bearer = secret "shop" } })
  print(res, host.file.list("/backup", { pattern = "*.tar" }), host.file.list("/var/log"))
end
