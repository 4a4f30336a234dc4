monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  EventReporter():report{
    title = "Shop is slow",
    status = params and "crit" or "waring",
    message = "it took long",
    dimension_tags = { shop = "de" },
  }
end
