-- Certificates that end soon, have ended, or are not trusted.
local http = require "selfmon.http"
local log = require "selfmon.log"
local time = require "selfmon.time"

monitor{
  title = "TLS certificates",
  doc = [[
    Connects to each host over HTTPS and looks at the certificate it shows: how many days it is still valid,
    and whether it is issued for that name by somebody this machine trusts.
  ]],
  schedule = "H */6 * * *",
  tags = { "tls" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "2m",
  params = {
    hosts    = { type = "list", items = "string", default = {}, order = 1,
      doc = "hosts, with :port where it is not 443, such as example.com or mail.example.com:8443" },
    warning  = { type = "number", default = 21, min = 0, order = 2, doc = "days left that are a warning" },
    critical = { type = "number", default = 7, min = 0, order = 3, doc = "days left that are critical" },
    trusted  = { type = "boolean", default = true, order = 4, doc = "report a certificate that is not trusted" },
    timeout  = { type = "duration", default = "10s", order = 5, doc = "how long a host may take" },
  },
}
function run(params)
  local reporter = EventReporter()
  if #params.hosts == 0 then
    return log.info("no hosts to look at: set the parameter hosts")
  end

  local requests = {}
  for i, host in ipairs(params.hosts) do
    requests[i] = { method = "HEAD", url = "https://" .. host .. "/", verify = false, follow = false,
      timeout = params.timeout }
  end
  for i, res in ipairs(http.all(requests)) do
    local host, tls = params.hosts[i], res.tls
    local function report(status, title, sentence)
      local facts = tls and ("\n\n- issued to %s\n- by %s\n- for %s\n- ends %s"):format(tls.subject, tls.issuer,
        table.concat(tls.san, ", "), time.format(tls.not_after)) or ""
      reporter:report{ title = host .. ": " .. title, status = status, message = sentence .. facts,
        dimension_tags = { host = host } }
    end

    if not tls then
      report("critical", "no certificate",
        ("`%s` cannot be asked for its certificate: %s"):format(host, res.error or "it does not speak TLS"))
    elseif tls.days_left < 0 then
      report("critical", "the certificate has expired",
        ("The certificate of `%s` expired **%.0f days ago**: clients refuse it."):format(host, -tls.days_left))
    elseif params.trusted and not tls.verified then
      report("critical", "the certificate is not trusted",
        ("Clients refuse the certificate of `%s`: wrong name, unknown issuer or missing chain."):format(host))
    elseif tls.days_left < math.max(params.warning, params.critical) then
      report(tls.days_left < params.critical and "critical" or "warning",
        ("the certificate ends in %.0f days"):format(tls.days_left),
        ("The certificate of `%s` is valid for **%.1f more days**; then clients refuse it."):format(host, tls.days_left))
    end
  end
end
