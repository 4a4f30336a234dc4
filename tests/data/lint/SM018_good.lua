local function show(all) for k, v in pairs(all) do print(k, v) end end

monitor{ title = "T", schedule = "*/5 * * * *", params = { limit = 3, hosts = { "a" } } }
function run(params)
  show(params)
end
