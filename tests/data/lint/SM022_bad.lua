local http = require "selfmon.http"

local time = require "selfmon.time"
local crypto = require "selfmon.crypto"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local res, err = http.get("https://shop.example/", { timeout = 5 })
  local ms = res and res.timings.total * 1000
  EventReporter():report{
    title = "Shop is slow",
    status = "warning",
    message = "it took long",
    dimension_tags = {
      host = "a", at = time.format(), took = ("%d ms"):format(ms), why = err, nonce = crypto.uuid(),
      request_id = res.headers["x-request-id"], body = res.body, clock = os.time(), dice = math.random(6),
    },
  }
end
