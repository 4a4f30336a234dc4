monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local http = require "selfmon.htttp"
  local util = require "lib.nothing"
  print(http, util, require("socket"))
end
