monitor{ title = "Never by itself" }
function run() end
