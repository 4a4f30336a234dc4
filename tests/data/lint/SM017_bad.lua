local secret = require "selfmon.secret"
local http = require "selfmon.http"

monitor{ title = "T", schedule = "@hourly", permissions = { "secret:shop" } }
function run()
  local res = http.get("https://shop.example/", { timeout = 5, cert = "/etc/shop.pem",
    auth = { bearer = secret "shop" }, headers = { ["X-Shop"] = secret "shop_de" } })
  print(res)
end
