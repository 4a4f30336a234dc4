local secret = require "selfmon.secret"
local exec = require "selfmon.exec"
local host = require "selfmon.host"
local http = require "selfmon.http"

monitor{ title = "T", schedule = "@hourly", permissions = { "secret:shop" } }
function run()
  local res = http.get("https://shop.example/", { timeout = 5, cert = "/etc/shop.pem",
    auth = { bearer = secret "shop" }, headers = { ["X-Shop"] = secret "shop_de" } })
  print(res, host.file.read("/var/log/syslog"), exec.run{ cmd = "/usr/bin/df", timeout = 3 })
  print(host.processes{ match = "java" }, host.processes{ name = "java" })
end
