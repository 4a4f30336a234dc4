monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  print(1 +)
end
