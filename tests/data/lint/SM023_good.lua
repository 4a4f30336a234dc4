monitor{ title = "T", schedule = "*/5 * * * *" }
function run(params)
  EventReporter():report{
    title = "Shop is slow",
    status = "warning",
    message = [[
      **Shop** is slow: `ps | grep # x`, see [the plot](https://shop.example/plot.png).

      - 3 of 4 < 5 | 6 > 2
      - #4 is the worst
    ]],
    dimension_tags = { shop = "de" },
  }
end
