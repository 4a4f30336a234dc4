monitor{ title = "No such day", schedule = "0 0 30 2 *" }
function run() end
