monitor{ title = "T", schedule = "*/5 * * * *", params = { limit = 3 } }
function run(params)
  print(params.limt, params.limit)
end
