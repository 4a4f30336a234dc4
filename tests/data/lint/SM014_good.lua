monitor{ title = "Often", schedule = "@every 10s", timeout = 8 }
function run() end
