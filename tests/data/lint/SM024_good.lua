local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local reporter = EventReporter()
  local answer = http.get("https://shop.example/", { timeout = 5 })
  reporter:report{ title = "a", status = "ok", message = "b" .. answer:json().x }
end
