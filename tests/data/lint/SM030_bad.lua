monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  count = 1
  function helper() return count end
  print(helper())
end
