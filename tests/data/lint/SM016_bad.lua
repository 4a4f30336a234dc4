local secret = require "selfmon.secret"

monitor{ title = "T", schedule = "@hourly", permissions = { "secret:shop", "secret:old", "exec:/bin/df", "sercet:x" } }
function run()
  print(secret "shop")
end
