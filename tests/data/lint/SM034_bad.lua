local dql = require "selfmon.dql"
local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  print(dql.query("M::cpu", { limt = 3, timeout = 5 }))
  local opts = { timeout = 3, header = { a = "b" } }
  print(http.get("https://shop.example/", opts))
  print(http.all{ { url = "https://shop.example/", timeuot = 3, timeout = 3 } })
end
