monitor<title = "No slips", schedule = "*/5 * * * *",
  events = { recover = true },
  params = { limit = { type = "number", default = 1, min = 0 }, map = { typ = "free", min = 1 } }>
function run(params)
  print(params.limit, params.map)
end
