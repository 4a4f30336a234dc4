monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  local events = {}
  events[#events + 1] = { title = "a", status = "ok", mesage = "b" }
  EventReporter():report(events)
  EventReporter():report{
    title = "Shop is slow",
    status = "warning",
    message = "it took long",
    dimension_tags = { shop = "de" },
    dimension_tag = { host = "a" },
  }
end
