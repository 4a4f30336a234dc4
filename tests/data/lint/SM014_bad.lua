monitor{ title = "Too often", schedule = { "@every 10s", "@daily" } }
function run() end
