local reporter = EventReporter()

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  reporter:report{ title = "a", status = "ok", message = "b" }
end
