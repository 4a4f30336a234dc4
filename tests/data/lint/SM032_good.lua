local s = require "selfmon"
local cjson = require "cjson.safe"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  print(s.host.name(), cjson.encode{})
end
