-- selfmon: ignore SM999
monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
end
