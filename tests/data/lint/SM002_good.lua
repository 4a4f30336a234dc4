-- selfmon: ignore SM011, it is run by hand
monitor{ title = "By hand" }
function run() end
