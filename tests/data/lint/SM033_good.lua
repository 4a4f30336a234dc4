local http = require "selfmon.http"

local s = require "selfmon"
local get, format = http.get, string.format

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  print(get("https://shop.example/", { timeout = 5 }), format("%d", s.time.now() // 1), os.date())
end
