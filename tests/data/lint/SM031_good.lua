function helper() return utf8.char(64) end

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local threshold <const> = 3
  print(threshold, helper(), _VERSION)
end
