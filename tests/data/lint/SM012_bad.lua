monitor{ title = "T", schedule = "*/5 * * * *", limits = { events = 5000 } }
function run(params)
end
