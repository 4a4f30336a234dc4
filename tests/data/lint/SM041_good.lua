local http = require "selfmon.http"

local secret = require "selfmon.secret"

monitor{ title = "T", schedule = "*/5 * * * *",
  permissions = { "secret:shop" }, params = { token_name = "shop", password = "" } }
function run(params)
  local token = secret "shop"
  print(http.get("https://shop.example/?page=2", { timeout = 5, auth = { bearer = token },
    headers = { ["X-Api-Key"] = token, Accept = "application/json" } }))
  print(params.token_name, params.password, "/usr/lib/nagios/plugins/check_http", "d41d8cd98f00b204e9800998ecf8427e")
end
