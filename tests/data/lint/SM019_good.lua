monitor{ title = "T", schedule = "*/5 * * * *", params = { limit = 3 } }
function run(params)
  params.limt = params.limit + 1
  print(params.limt)
end
