-- selfmon.log
local function level(name, when)
  return {
    name = name,
    doc = ("Writes a line of the run's log%s. `fields` follow in byte order of their names, `name=value`. A text of "
      .. "several lines is several lines, each is cut at 4 KiB, and known secrets are masked. A wrong call raises.")
      :format(when),
    params = { { "text", "string" }, { "fields?", "table<string, any>", "values to show with it" } },
    example = ('log.%s("answered", { status = 200, ms = 41.5 })'):format(name),
  }
end

return {
  module = "selfmon.log", since = "0.1.0",
  doc = [[Lines of the run's log, which `selfmon-lua runs --log` shows. May be used while a script loads; its lines
show then, not in each run. A run may write 256 KiB (`limits.log`), `print` included; beyond it ends as `limit`.]],
  functions = {
    level("debug", ", shown by `runs --log` and by `run --once -v`"),
    level("info", ""),
    level("warn", ", marked as a warning"),
    level("error", ", marked as an error. It does not end the run: `error(text)` does"),
  },
}
