local http = require "selfmon.http"

monitor{ title = "T", schedule = "*/5 * * * *", params = { message = "m", url = "https://shop.example/" } }
function run(params)
  local res, err = http.get(params.url, { timeout = 5 })
  EventReporter():report{
    title = "Shop is slow",
    status = "warning",
    message = "it took long",
    dimension_tags = {
      host = "a", url = params.url, code = res and res.status, text = params.message, error = err and "yes" or "no",
      class = res and res.timings.total > 1 and "slow" or "fast",
    },
  }
end
