monitor<title = "Slips", schedul = "* * * * *", schedule = "*/5 * * * *",
  events = { recovr = true },
  params = { limit = { type = "number", default = 1, mn = 0 } }>
function run(params)
  print(params.limit)
end
