local function tell(text)
  EventReporter():report{ title = "a", status = "ok", message = text }
end

monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  tell("b")
end
