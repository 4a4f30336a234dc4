local secret = require "selfmon.secret"

monitor{ title = "T", schedule = "@hourly", permissions = { "secret:shop*" } }
function run()
  local name = "shop"
  print(secret(name .. "_de"))
end
