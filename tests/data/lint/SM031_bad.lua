monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local threshold = 3
  print(treshold, threshold, io.open)
end
