-- Certificates that end soon, have ended, or are not trusted.
local log = require "selfmon.log"
local net = require "selfmon.net"
local target = require "lib.target"
local time = require "selfmon.time"

monitor{
  title = "TLS certificates",
  doc = [[
    Shakes hands with each host and looks at the certificates it shows: how many days they are still valid,
    and whether the first is issued for that name by somebody this machine trusts. Nothing is asked of the
    server beyond TLS, so that mail servers and databases can be inspected as well as web servers.
  ]],
  schedule = "H */6 * * *",
  tags = { "tls" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "2m",
  params = {
    hosts    = { type = "list", items = "string", default = {}, order = 1,
      doc = "hosts, with :port where it is not 443, such as example.com or mail.example.com:8443; before a host that "
        .. "begins in the clear its protocol: smtp://mail.example.com (imap, pop3, ftp, postgres, mysql)" },
    warning  = { type = "number", default = 21, min = 0, order = 2, doc = "days left that are a warning" },
    critical = { type = "number", default = 7, min = 0, order = 3, doc = "days left that are critical" },
    trusted  = { type = "boolean", default = true, order = 4, doc = "report a certificate that is not trusted" },
    timeout  = { type = "duration", default = "10s", order = 5, doc = "how long a host may take" },
  },
}
function run(params)
  local reporter, calls = EventReporter(), {}
  if #params.hosts == 0 then return log.info("no hosts to look at: set the parameter hosts") end

  local ports = { smtp = 25, imap = 143, pop3 = 110, ftp = 21, postgres = 5432, mysql = 3306 }
  for i, text in ipairs(params.hosts) do
    local protocol, rest = text:match "^(%l[%l%d]*)://(.*)$"
    local host, port = target.split(((rest or text):gsub("/$", "")), ports[protocol] or 443)
    calls[i] = { "tls", host, port, { timeout = params.timeout, starttls = protocol ~= "https" and protocol or nil } }
  end
  for i, res in ipairs(net.all(calls)) do
    local host, cert = params.hosts[i], res.chain and res.chain[1]
    local function report(status, title, sentence)
      local facts = cert and ("\n\n- issued to %s\n- by %s\n- for %s\n- ends %s"):format(cert.subject, cert.issuer,
        table.concat(cert.san, ", "), time.format(cert.not_after)) or ""
      reporter:report{ title = host .. ": " .. title, status = status, message = sentence .. facts,
        dimension_tags = { host = host } }
    end
    -- The chain ends with its first certificate that ends; the server's own is not always the first to.
    local left, whose = res.days_left, "The certificate"
    for k = 2, cert and #res.chain or 0 do
      local other = res.chain[k]
      if other.days_left < left and other.subject ~= other.issuer then
        left, whose = other.days_left, ("The intermediate certificate %s"):format(other.subject)
      end
    end

    if not cert then
      report("critical", "no certificate",
        ("`%s` cannot be asked for its certificate: %s"):format(host, res.error or "it does not speak TLS"))
    elseif res.days_left < 0 then
      report("critical", "the certificate has expired",
        ("The certificate of `%s` expired **%.0f days ago**: clients refuse it."):format(host, -res.days_left))
    elseif params.trusted and not res.verified then
      report("critical", "the certificate is not trusted",
        ("Clients refuse the certificate of `%s`: **%s**."):format(host, res.error))
    elseif left < math.max(params.warning, params.critical) then
      report(left < params.critical and "critical" or "warning",
        ("the certificate ends in %.0f days"):format(left),
        ("%s of `%s` is valid for **%.1f more days**; then clients refuse it."):format(whose, host, left))
    end
  end
end
