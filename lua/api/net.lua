-- selfmon.net: the network below HTTP.
local FAILED = { { "message", "string?" }, { "code", "string?" } }

local function returns(name, type, text)
  return { { name, type, text }, FAILED[1], FAILED[2] }
end

return {
  module = "selfmon.net", since = "0.1.0",
  doc = [[The network below HTTP: TCP, TLS with its certificates, DNS, ping and NTP. Each call blocks only its run, within its
own timeout, and counts against `limits.http`. Free for every script; `net` in the configuration narrows which addresses are
reached, also through names; link-local and cloud metadata addresses never are. Codes of failures: "dns", "connect",
"timeout", "tls", "denied", "closed", "protocol", "too_large".]],
  setup = [[
    t.net("tcp *", true) t.net("tls *", true) t.net("ntp *", true) t.net("ping *", true)
    t.net("tcp mail.example:25", { banner = "220 mail.example ESMTP" })
    t.net("dns *", { "192.0.2.7" })
    t.net("open *", { greeting = "220 mail.example ESMTP\r\n", talk = { ["QUIT\r\n"] = "221 bye\r\n", ["PING\r\n"] = "+PONG\r\n",
      ["STARTTLS\r\n"] = "220 go ahead\r\n" } })]],
  types = {
    { name = "selfmon.net.Timings", doc = "Lengths of the phases, in seconds.", fields = {
      { "dns", "number", "looking the name up" }, { "connect", "number", "until the connection was there" },
      { "tls", "number?", "the TLS handshake" }, { "total", "number", "everything" },
    } },
    { name = "selfmon.net.TcpOptions", doc = "What to do with the connection.", fields = {
      { "timeout", "number?", "seconds for everything; 10" },
      { "send", "string|selfmon.Secret|nil", "sent first" },
      { "expect", "string?", "a plain text that must come; the answer's `banner` is all that came until then" },
      { "read", "integer|\"line\"|nil", "read a line, or so many bytes, as `banner`" },
    } },
    { name = "selfmon.net.Tcp", doc = "A port that answered.", fields = {
      { "ip", "string", "the address that was reached" }, { "port", "integer" },
      { "timings", "selfmon.net.Timings" }, { "banner", "string?", "with `read` or `expect`" },
    } },
    { name = "selfmon.net.TlsOptions", doc = "How to look at a server's certificates.", fields = {
      { "timeout", "number?", "seconds for everything; 10" },
      { "servername", "string?", "the name asked for and expected; the host unless told" },
      { "starttls", "\"smtp\"|\"imap\"|\"pop3\"|\"ftp\"|\"postgres\"|\"mysql\"|nil", "what is spoken before TLS" },
      { "verify_time", "integer?", "Unix seconds to judge by; now" },
      { "ca", "string?", "PEM text, or the path of a PEM file, instead of the system's certificates" },
    } },
    { name = "selfmon.net.Certificate", doc = "One certificate.", fields = {
      { "subject", "string", "RFC 2253 text" }, { "issuer", "string" }, { "not_before", "integer", "Unix seconds" },
      { "not_after", "integer", "Unix seconds" }, { "days_left", "number", "negative when expired" },
      { "san", "string[]", "names and addresses it is for" }, { "serial", "string", "hexadecimal" },
      { "sha256", "string", "fingerprint, hexadecimal" }, { "key", "string", "such as \"RSA 2048\" or \"EC P-256\"" },
      { "signature", "string", "such as \"RSA-SHA256\"" },
    } },
    { name = "selfmon.net.Tls", doc = "What a server shows.", fields = {
      { "verified", "boolean", "chain, dates and name are good" },
      { "error", "string?", "why not, one sentence" },
      { "problems", "string[]", "expired not_yet_valid name self_signed untrusted weak purpose invalid" },
      { "chain", "selfmon.net.Certificate[]", "as sent, the server's own first" },
      { "days_left", "number", "of the first certificate" },
      { "protocol", "string?", "such as \"TLSv1.3\"" }, { "cipher", "string?" },
      { "handshake", "string?", "why it broke off after the certificate was shown, such as a missing certificate of ours" },
      { "ip", "string" }, { "port", "integer" }, { "timings", "selfmon.net.Timings" },
    } },
    { name = "selfmon.net.DnsOptions", doc = "Whom to ask.", fields = {
      { "server", "string?", "address of a name server, with :port if not 53; the system's unless told" },
      { "protocol", "\"udp\"|\"tcp\"|nil", "udp; a cut answer is asked for again by tcp" },
      { "timeout", "number?", "seconds; 5, with repeats in between" },
    } },
    { name = "selfmon.net.Record", doc = [[One record. Besides: MX `preference exchange`; SRV `priority weight port target`;
SOA `mname rname serial refresh retry expire minimum`; CAA `flags tag`.]], fields = {
      { "name", "string" }, { "type", "string" }, { "ttl", "integer", "seconds" }, { "value", "string", "as in a zone file" },
    } },
    { name = "selfmon.net.Dns", doc = "An answer.", fields = {
      { "rcode", "string", "NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …" },
      { "records", "selfmon.net.Record[]", "all of the answer, aliases included" },
      { "values", "string[]", "of the type asked for" }, { "ttl", "integer?", "the smallest" },
      { "authoritative", "boolean" }, { "truncated", "boolean" }, { "server", "string", "who answered" },
      { "protocol", "string" }, { "timings", "table", "total" },
    } },
    { name = "selfmon.net.PingOptions", doc = "How to ping.", fields = {
      { "count", "integer?", "1 to 100; 3" }, { "interval", "number?", "seconds between two; 0.2" },
      { "timeout", "number?", "seconds to wait for each answer; 1" }, { "size", "integer?", "bytes of data; 56" },
    } },
    { name = "selfmon.net.Ping", doc = "What came back; seconds.", fields = {
      { "sent", "integer" }, { "received", "integer" }, { "loss", "number", "0 to 1" }, { "ip", "string" },
      { "min", "number?", "nil when nothing came back, as are the next three" }, { "avg", "number?" }, { "max", "number?" },
      { "stdev", "number?" }, { "reason", "string?", "what the network said of one that was lost" },
    } },
    { name = "selfmon.net.NtpOptions", doc = "Whom to ask.", fields = {
      { "port", "integer?", "123" }, { "timeout", "number?", "seconds; 5" },
    } },
    { name = "selfmon.net.Ntp", doc = "A time server's answer; seconds.", fields = {
      { "offset", "number", "what our clock lacks: positive when it is behind" }, { "delay", "number", "of the way there and back" },
      { "stratum", "integer" }, { "time", "number", "the server's, Unix seconds" }, { "leap", "integer" },
      { "root_delay", "number" }, { "root_dispersion", "number" }, { "ip", "string" },
    } },
    { name = "selfmon.net.ConnTls", doc = "TLS of a connection.", fields = {
      { "servername", "string?", "the name expected; the host unless told" }, { "verify", "boolean?", "true" },
      { "ca", "string?", "PEM text or path instead of the system's certificates" },
    } },
    { name = "selfmon.net.OpenOptions", doc = "How to connect.", fields = {
      { "timeout", "number?", "seconds to connect, and for each later step; 10" },
      { "tls", "boolean|selfmon.net.ConnTls|nil", "speak TLS from the start" },
    } },
    { name = "selfmon.net.Connection", doc = "A connection; closed with the run, by `close`, or as a `<close>` variable.",
      methods = {
        { name = "send", discard = true, doc = [[Sends its arguments one after the other: strings, secrets, and {length = text or secret}, whose
length goes out in digits, as protocols want it that announce what follows.]],
          params = { { "...", "string|number|selfmon.Secret|table" } }, returns = returns("sent", "true?"),
          example = [[
local net = require "selfmon.net"
local conn <close> = assert(net.open("redis.example", 6379))
conn:send("PING\r\n")]] },
        { name = "receive", discard = true, doc = [[Waits for a line (without its end), for so many bytes (up to 1 MiB), or for whatever comes
next ("available"). What came too early stays for the next call.]],
          params = { { "how?", "\"line\"|\"available\"|integer", "\"line\"" }, { "timeout?", "number", "seconds" } },
          returns = returns("text", "string?"),
          example = [[
local net = require "selfmon.net"
local conn <close> = assert(net.open("mail.example", 25))
print(conn:receive "line")]] },
        { name = "starttls", discard = true, doc = "Begins TLS on the open connection, after the protocol's own words for it.",
          params = { { "opts?", "selfmon.net.ConnTls" } }, returns = returns("begun", "true?"),
          example = [[
local net = require "selfmon.net"
local conn <close> = assert(net.open("mail.example", 25))
conn:receive()
conn:send("STARTTLS\r\n")
conn:receive()
assert(conn:starttls())]] },
        { name = "info", doc = "Where it leads: {ip, port, timings, protocol}; `protocol` is that of TLS.",
          params = {}, returns = { { "info", "table" } },
          example = [[
local net = require "selfmon.net"
local conn <close> = assert(net.open("mail.example", 25))
print(conn:info().ip)]] },
        { name = "close", doc = "Closes it; again is harmless.", params = {}, returns = {},
          example = [[
local net = require "selfmon.net"
local conn = assert(net.open("mail.example", 25))
conn:close()]] },
      } },
  },
  functions = {
    { name = "tcp", doc = [[Connects to a port, says something and reads something if told to, and closes.]],
      params = { { "host", "string" }, { "port", "integer" }, { "opts?", "selfmon.net.TcpOptions" } },
      returns = returns("result", "selfmon.net.Tcp?"),
      example = [[
local net = require "selfmon.net"
local res, message = net.tcp("mail.example", 25, { read = "line", timeout = 5 })
if res then print(res.banner, res.timings.connect) else print(message) end]] },
    { name = "open", doc = [[Connects and keeps the connection, for protocols of more than one question. At most 64 are open in a run.]],
      params = { { "host", "string" }, { "port", "integer" }, { "opts?", "selfmon.net.OpenOptions" } },
      returns = returns("connection", "selfmon.net.Connection?"),
      example = [[
local net = require "selfmon.net"
local conn <close> = assert(net.open("redis.example", 6379, { timeout = 3 }))
conn:send("PING\r\n")
print(conn:receive "line")]] },
    { name = "tls", doc = [[Shakes hands and shows the certificates, also when they are not valid: then `verified` is false, `error`
and `problems` say why. Fails only when no certificate was seen.]],
      params = { { "host", "string" }, { "port?", "integer", "443, or that of `starttls`" }, { "opts?", "selfmon.net.TlsOptions" } },
      returns = returns("result", "selfmon.net.Tls?"),
      example = [[
local net = require "selfmon.net"
local res = assert(net.tls("shop.example"))
print(res.verified, res.days_left, res.chain[1].subject)]] },
    { name = "dns", doc = [[Asks a name server. An answer without records, or that there is no such name, is an answer: look at `rcode` and
`values`. Types: A AAAA CNAME MX NS TXT SOA SRV CAA PTR (PTR also of an address).]],
      params = { { "name", "string" }, { "type?", "string", "\"A\"" }, { "opts?", "selfmon.net.DnsOptions" } },
      returns = returns("answer", "selfmon.net.Dns?"),
      example = [[
local net = require "selfmon.net"
local res = assert(net.dns("shop.example", "A", { server = "192.0.2.53" }))
print(res.rcode, table.concat(res.values, ", "))]] },
    { name = "ping", doc = [[Sends echo requests (ICMP, v4 or v6) without privileges. Where the kernel forbids that to our group
(sysctl net.ipv4.ping_group_range) the code is "denied". A host that does not answer is a result with `loss` 1.]],
      params = { { "host", "string" }, { "opts?", "selfmon.net.PingOptions" } },
      returns = returns("result", "selfmon.net.Ping?"),
      example = [[
local net = require "selfmon.net"
local res, message = net.ping("gw.example", { count = 5 })
if res and res.avg then print(res.loss, res.avg * 1000) else print(message) end]] },
    { name = "ntp", doc = "Asks a time server (SNTP) how far this machine's clock is off.",
      params = { { "host", "string" }, { "opts?", "selfmon.net.NtpOptions" } },
      returns = returns("result", "selfmon.net.Ntp?"),
      example = [[
local net = require "selfmon.net"
local res = assert(net.ntp("time.example"))
print(res.offset, res.stratum)]] },
    { name = "all", doc = [[Does many at once (at most `limits.http_parallel`, 64), each within its own timeout. The answers come in the same
order; one that failed is {error = sentence, code = code}.]],
      params = { { "calls", "table[]", "{\"tcp\", host, port, opts}, {\"dns\", name, type, opts}, …: tcp tls dns ping ntp" } },
      returns = { { "results", "table[]" } },
      example = [[
local net = require "selfmon.net"
for i, res in ipairs(net.all{ { "tcp", "db.example", 5432 }, { "dns", "shop.example", "A" } }) do
  print(i, res.error or "fine")
end]] },
  },
}
