limit = 3
function helper(n) limit = limit + n end

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local count = 1
  helper(count)
end
