monitor{ title = "T", schedule = "*/5 * * * *", api_key_id = "wsak_one", api_key = "7d0f2c4e9b8a6135", node = "truewatch/us1" }
function run(params)
end
