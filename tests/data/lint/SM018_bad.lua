monitor{ title = "T", schedule = "*/5 * * * *", params = { limit = 3, hosts = { "a" } } }
function run(params)
  print(params.limit)
end
