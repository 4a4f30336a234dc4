monitor{ title = "By itself", schedule = "@hourly" }
function run() end
