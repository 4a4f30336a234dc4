monitor{ title = "In leap years", schedule = "0 0 29 2 *" }
function run() end
