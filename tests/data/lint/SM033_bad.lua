local http = require "selfmon.http"

local s = require "selfmon"

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  print(s.host.file.reed, s.stats.meen)
  print(http.gett, s.hots, s.time.nwo(), string.fromat("a"), os.execute)
end
