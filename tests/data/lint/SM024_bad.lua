local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local reporter = EventReporter()
  local res = http:get("https://shop.example/", { timeout = 5 })
  local answer = http.get("https://shop.example/", { timeout = 5 })
  reporter.report{ title = "a", status = "ok", message = "b" .. res.status .. answer.json().x }
end
