monitor{ title = "T", schedule = "*/5 * * * *", account = "default" }
function run(params)
end
