-- Certificates that end soon, have ended, or are not trusted.
local http = require "selfmon.http"
local log = require "selfmon.log"

monitor{
  title = "TLS certificates",
  doc = [[
    Connects to each host over HTTPS and looks at the certificate it shows: how many days it is still valid,
    and whether it is issued for that name by somebody this machine trusts.
  ]],
  schedule = "H */6 * * *",
  tags = { "tls" },
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

  for _, host in ipairs(params.hosts) do
    local function report(status, title, message)
      reporter:report{ title = title, status = status, message = message, dimension_tags = { host = host } }
    end
    local res, err = http.head("https://" .. host .. "/",
      { verify = false, follow = false, timeout = params.timeout })
    local tls = res and res.tls
    if not tls then
      report("critical", host .. " shows no certificate", ("`%s` cannot be asked for its certificate: %s"):format(host, err))
    else
      local facts = ("\n\n- issued to %s\n- by %s\n- for %s"):format(tls.subject, tls.issuer, table.concat(tls.san, ", "))
      if tls.days_left < 0 then
        report("critical", host .. ": the certificate has expired",
          ("The certificate of `%s` expired **%.0f days ago**: clients refuse it."):format(host, -tls.days_left) .. facts)
      elseif params.trusted and not tls.verified then
        report("critical", host .. ": the certificate is not trusted",
          ("Clients refuse the certificate of `%s`: wrong name, unknown issuer or missing chain. It is valid for %.0f more days.")
            :format(host, tls.days_left) .. facts)
      elseif tls.days_left < math.max(params.warning, params.critical) then
        report(tls.days_left < params.critical and "critical" or "warning",
          ("%s: the certificate ends in %.0f days"):format(host, tls.days_left),
          ("The certificate of `%s` is valid for **%.1f more days**; then clients refuse it.\n\nWarning below %g days, critical below %g.")
            :format(host, tls.days_left, params.warning, params.critical) .. facts)
      end
    end
  end
end
