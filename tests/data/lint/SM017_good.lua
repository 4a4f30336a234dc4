local secret = require "selfmon.secret"
local exec = require "selfmon.exec"
local host = require "selfmon.host"
local http = require "selfmon.http"

monitor{ title = "T", schedule = "@hourly",
  permissions = { "secret:shop", "file:/etc/*.pem", "file:/var/log/**", "exec:/usr/bin/df", "file:/backup/*.tar", "file:/var/log/*" } }
function run()
  local res = http.get("https://shop.example/", { timeout = 5, cert = "/etc/shop.pem",
    auth = { bearer = secret "shop" } })
  print(host.file.read("/var/log/a/b"), exec.run{ cmd = "/usr/bin/df", timeout = 3 })
  print(host.processes{ name = "java" })
  print(res, host.file.list("/backup", { pattern = "*.tar" }), host.file.list("/var/log"))
end
