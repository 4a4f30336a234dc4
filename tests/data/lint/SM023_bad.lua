monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  EventReporter():report{
    title = "Shop is slow",
    status = "warning",
    message = ("**%s**\n\n| disk | used |\n|---|---|\n"):format("a") .. [[
      # A heading
      ![plot](https://shop.example/plot.png)
      <br/>]],
    dimension_tags = { shop = "de" },
  }
end
