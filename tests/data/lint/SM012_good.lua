monitor{ title = "T", schedule = "*/5 * * * *", limits = { events = 500 } }
function run(params)
end
