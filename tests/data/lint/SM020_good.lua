monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local row = { title = "a", status = "ok", message = "b", cells = 3 }
  print(row.cells)
  EventReporter():report{
    title = "Shop is slow",
    status = "warning",
    message = "it took long",
    dimension_tags = { shop = "de" },
  }
end
