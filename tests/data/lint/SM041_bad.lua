local http = require "selfmon.http"

local password = "hunter2!"
local opts = {}

monitor{ title = "T", schedule = "*/5 * * * *", params = { token = { type = "string", default = "s3cr3t-t0ken" }, api_key = "a1b2c3d4" } }
function run(params)
  opts.auth = { bearer = "0f8c1e9a77" }
  print(http.get("https://user:geheim9@shop.example/", { timeout = 5, auth = opts.auth,
    headers = { Authorization = "Bearer Zx81aQ0pLm29vB7n", ["X-Api-Key"] = "key-" .. params.api_key } }))
  print(password, params.token, "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "qL9xT2vWz7Rk4mPb8YhJ3sNd6FgA1cEu")
end
