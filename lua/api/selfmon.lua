-- selfmon: all modules in one table.
return {
  module = "selfmon", since = "0.1.0", page = "docs/script-guide.md",
  doc = [[All modules of the host in one table, for those who like explicit imports: `local s = require "selfmon"`,
then `s.http.get(…)`.]],
  values = {
    { "http", "selfmon.http" }, { "net", "selfmon.net" }, { "host", "selfmon.host" }, { "time", "selfmon.time" },
    { "log", "selfmon.log" }, { "dql", "selfmon.dql" }, { "exec", "selfmon.exec" },
    { "crypto", "selfmon.crypto" }, { "secret", "selfmon.secret" }, { "cjson", "cjson" },
    { "stats", "selfmon.stats" }, { "markdown", "selfmon.markdown" }, { "store", "selfmon.store" },
    { "exec", "selfmon.exec" },
    { "monitor", "fun(spec: monitor.Spec)", "the global" },
    { "EventReporter", "fun(): selfmon.Reporter", "the global" },
  },
}
