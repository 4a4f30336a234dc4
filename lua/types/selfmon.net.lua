-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.net

---Lengths of the phases, in seconds.
---@class selfmon.net.Timings
---@field dns number looking the name up
---@field connect number until the connection was there
---@field tls number? the TLS handshake
---@field total number everything

---What to do with the connection.
---@class selfmon.net.TcpOptions
---@field timeout number? seconds for everything; 10
---@field send string|selfmon.Secret|nil sent first
---@field expect string? a plain text that must come; the answer's `banner` is all that came until then
---@field read integer|"line"|nil read a line, or so many bytes, as `banner`

---A port that answered.
---@class selfmon.net.Tcp
---@field ip string the address that was reached
---@field port integer
---@field timings selfmon.net.Timings
---@field banner string? with `read` or `expect`

---How to look at a server's certificates.
---@class selfmon.net.TlsOptions
---@field timeout number? seconds for everything; 10
---@field servername string? the name asked for and expected; the host unless told
---@field starttls "smtp"|"imap"|"pop3"|"ftp"|"postgres"|"mysql"|nil what is spoken before TLS
---@field verify_time integer? Unix seconds to judge by; now
---@field ca string? PEM text, or the path of a PEM file, instead of the system's certificates

---One certificate.
---@class selfmon.net.Certificate
---@field subject string RFC 2253 text
---@field issuer string
---@field not_before integer Unix seconds
---@field not_after integer Unix seconds
---@field days_left number negative when expired
---@field san string[] names and addresses it is for
---@field serial string hexadecimal
---@field sha256 string fingerprint, hexadecimal
---@field key string such as "RSA 2048" or "EC P-256"
---@field signature string such as "RSA-SHA256"

---What a server shows.
---@class selfmon.net.Tls
---@field verified boolean chain, dates and name are good
---@field error string? why not, one sentence
---@field problems string[] expired not_yet_valid name self_signed untrusted weak purpose invalid
---@field chain selfmon.net.Certificate[] as sent, the server's own first
---@field days_left number of the first certificate
---@field protocol string? such as "TLSv1.3"
---@field cipher string?
---@field handshake string? why it broke off after the certificate was shown, such as a missing certificate of ours
---@field ip string
---@field port integer
---@field timings selfmon.net.Timings

---Whom to ask.
---@class selfmon.net.DnsOptions
---@field server string? address of a name server, with :port if not 53; the system's unless told
---@field protocol "udp"|"tcp"|nil udp; a cut answer is asked for again by tcp
---@field timeout number? seconds; 5, with repeats in between

---One record. Besides: MX `preference exchange`; SRV `priority weight port target`;
---SOA `mname rname serial refresh retry expire minimum`; CAA `flags tag`.
---@class selfmon.net.Record
---@field name string
---@field type string
---@field ttl integer seconds
---@field value string as in a zone file

---An answer.
---@class selfmon.net.Dns
---@field rcode string NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …
---@field records selfmon.net.Record[] all of the answer, aliases included
---@field values string[] of the type asked for
---@field ttl integer? the smallest
---@field authoritative boolean
---@field truncated boolean
---@field server string who answered
---@field protocol string
---@field timings table total

---How to ping.
---@class selfmon.net.PingOptions
---@field count integer? 1 to 100; 3
---@field interval number? seconds between two; 0.2
---@field timeout number? seconds to wait for each answer; 1
---@field size integer? bytes of data; 56

---What came back; seconds.
---@class selfmon.net.Ping
---@field sent integer
---@field received integer
---@field loss number 0 to 1
---@field ip string
---@field min number? nil when nothing came back, as are the next three
---@field avg number?
---@field max number?
---@field stdev number?
---@field reason string? what the network said of one that was lost

---Whom to ask.
---@class selfmon.net.NtpOptions
---@field port integer? 123
---@field timeout number? seconds; 5

---A time server's answer; seconds.
---@class selfmon.net.Ntp
---@field offset number what our clock lacks: positive when it is behind
---@field delay number of the way there and back
---@field stratum integer
---@field time number the server's, Unix seconds
---@field leap integer
---@field root_delay number
---@field root_dispersion number
---@field ip string

---TLS of a connection.
---@class selfmon.net.ConnTls
---@field servername string? the name expected; the host unless told
---@field verify boolean? true
---@field ca string? PEM text or path instead of the system's certificates

---How to connect.
---@class selfmon.net.OpenOptions
---@field timeout number? seconds to connect, and for each later step; 10
---@field tls boolean|selfmon.net.ConnTls|nil speak TLS from the start

---A connection; closed with the run, by `close`, or as a `<close>` variable.
---@class selfmon.net.Connection
local Connection = {}

---Sends its arguments one after the other: strings, secrets, and {length = text or secret}, whose
---length goes out in digits, as protocols want it that announce what follows.
---```lua
---local net = require "selfmon.net"
---local conn <close> = assert(net.open("redis.example", 6379))
---conn:send("PING\r\n")
---```
---@param ... string|number|selfmon.Secret|table
---@return true? sent
---@return string? message
---@return string? code
function Connection:send(...) end

---Waits for a line (without its end), for so many bytes (up to 1 MiB), or for whatever comes
---next ("available"). What came too early stays for the next call.
---```lua
---local net = require "selfmon.net"
---local conn <close> = assert(net.open("mail.example", 25))
---print(conn:receive "line")
---```
---@param how? "line"|"available"|integer "line"
---@param timeout? number seconds
---@return string? text
---@return string? message
---@return string? code
function Connection:receive(how, timeout) end

---Begins TLS on the open connection, after the protocol's own words for it.
---```lua
---local net = require "selfmon.net"
---local conn <close> = assert(net.open("mail.example", 25))
---conn:receive()
---conn:send("STARTTLS\r\n")
---conn:receive()
---assert(conn:starttls())
---```
---@param opts? selfmon.net.ConnTls
---@return true? begun
---@return string? message
---@return string? code
function Connection:starttls(opts) end

---Where it leads: {ip, port, timings, protocol}; `protocol` is that of TLS.
---```lua
---local net = require "selfmon.net"
---local conn <close> = assert(net.open("mail.example", 25))
---print(conn:info().ip)
---```
---@return table info
---@nodiscard
function Connection:info() end

---Closes it; again is harmless.
---```lua
---local net = require "selfmon.net"
---local conn = assert(net.open("mail.example", 25))
---conn:close()
---```
function Connection:close() end

---The network below HTTP: TCP, TLS with its certificates, DNS, ping and NTP. Each call blocks only its run, within its
---own timeout, and counts against `limits.http`. Free for every script; `net` in the configuration narrows which addresses are
---reached, also through names; link-local and cloud metadata addresses never are. Codes of failures: "dns", "connect",
---"timeout", "tls", "denied", "closed", "protocol", "too_large".
---@class selfmon.net
local M = {}

---Connects to a port, says something and reads something if told to, and closes.
---```lua
---local net = require "selfmon.net"
---local res, message = net.tcp("mail.example", 25, { read = "line", timeout = 5 })
---if res then print(res.banner, res.timings.connect) else print(message) end
---```
---@param host string
---@param port integer
---@param opts? selfmon.net.TcpOptions
---@return selfmon.net.Tcp? result
---@return string? message
---@return string? code
---@nodiscard
function M.tcp(host, port, opts) end

---Connects and keeps the connection, for protocols of more than one question. At most 64 are open in a run.
---```lua
---local net = require "selfmon.net"
---local conn <close> = assert(net.open("redis.example", 6379, { timeout = 3 }))
---conn:send("PING\r\n")
---print(conn:receive "line")
---```
---@param host string
---@param port integer
---@param opts? selfmon.net.OpenOptions
---@return selfmon.net.Connection? connection
---@return string? message
---@return string? code
---@nodiscard
function M.open(host, port, opts) end

---Shakes hands and shows the certificates, also when they are not valid: then `verified` is false, `error`
---and `problems` say why. Fails only when no certificate was seen.
---```lua
---local net = require "selfmon.net"
---local res = assert(net.tls("shop.example"))
---print(res.verified, res.days_left, res.chain[1].subject)
---```
---@param host string
---@param port? integer 443, or that of `starttls`
---@param opts? selfmon.net.TlsOptions
---@return selfmon.net.Tls? result
---@return string? message
---@return string? code
---@nodiscard
function M.tls(host, port, opts) end

---Asks a name server. An answer without records, or that there is no such name, is an answer: look at `rcode` and
---`values`. Types: A AAAA CNAME MX NS TXT SOA SRV CAA PTR (PTR also of an address).
---```lua
---local net = require "selfmon.net"
---local res = assert(net.dns("shop.example", "A", { server = "192.0.2.53" }))
---print(res.rcode, table.concat(res.values, ", "))
---```
---@param name string
---@param type? string "A"
---@param opts? selfmon.net.DnsOptions
---@return selfmon.net.Dns? answer
---@return string? message
---@return string? code
---@nodiscard
function M.dns(name, type, opts) end

---Sends echo requests (ICMP, v4 or v6) without privileges. Where the kernel forbids that to our group
---(sysctl net.ipv4.ping_group_range) the code is "denied". A host that does not answer is a result with `loss` 1.
---```lua
---local net = require "selfmon.net"
---local res, message = net.ping("gw.example", { count = 5 })
---if res and res.avg then print(res.loss, res.avg * 1000) else print(message) end
---```
---@param host string
---@param opts? selfmon.net.PingOptions
---@return selfmon.net.Ping? result
---@return string? message
---@return string? code
---@nodiscard
function M.ping(host, opts) end

---Asks a time server (SNTP) how far this machine's clock is off.
---```lua
---local net = require "selfmon.net"
---local res = assert(net.ntp("time.example"))
---print(res.offset, res.stratum)
---```
---@param host string
---@param opts? selfmon.net.NtpOptions
---@return selfmon.net.Ntp? result
---@return string? message
---@return string? code
---@nodiscard
function M.ntp(host, opts) end

---Does many at once (at most `limits.http_parallel`, 64), each within its own timeout. The answers come in the same
---order; one that failed is {error = sentence, code = code}.
---```lua
---local net = require "selfmon.net"
---for i, res in ipairs(net.all{ { "tcp", "db.example", 5432 }, { "dns", "shop.example", "A" } }) do
---  print(i, res.error or "fine")
---end
---```
---@param calls table[] {"tcp", host, port, opts}, {"dns", name, type, opts}, …: tcp tls dns ping ntp
---@return table[] results
---@nodiscard
function M.all(calls) end

return M
