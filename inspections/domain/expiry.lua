-- Domains whose registration ends soon, by RDAP (what came after whois).
local http = require "selfmon.http"
local log = require "selfmon.log"
local time = require "selfmon.time"

-- The day the registration ends (seconds since 1970), or nil and why it is not known.
local function expiration(answer)
  for _, event in ipairs(answer.events or {}) do
    if event.eventAction == "expiration" then
      local at, unreadable = time.parse(event.eventDate)
      if not at and (tonumber(tostring(event.eventDate):match "^%d+") or 0) > 2200 then at = math.huge end -- for ever
      return at, unreadable
    end
  end
  return nil, "its registry does not say when the registration ends"
end

-- The registrar's name, or its handle.
local function registrar_of(answer)
  for _, entity in ipairs(answer.entities or {}) do
    for _, role in ipairs(entity.roles or {}) do
      if role == "registrar" then
        for _, field in ipairs(entity.vcardArray and entity.vcardArray[2] or {}) do
          if field[1] == "fn" then return tostring(field[4]) end
        end
        return entity.handle
      end
    end
  end
end

monitor{
  title = "Domain registration",
  doc = [[
    Asks for each domain when its registration ends, by RDAP: rdap.org leads to the registry that knows. Not
    every registry answers (some country domains do not); for a domain of which nothing can be learnt the run
    fails, and says which.
  ]],
  schedule = "H H * * *",
  tags = { "domain" },
  events = { recover = true, on_change = true, remind = "7d" },
  timeout = "5m",
  params = {
    domains  = { type = "list", items = "string", default = {}, order = 1, doc = "registered domains, such as example.com" },
    warning  = { type = "number", default = 30, min = 0, order = 2, doc = "days left that are a warning" },
    critical = { type = "number", default = 7, min = 0, order = 3, doc = "days left that are critical" },
    rdap     = { type = "string", default = "https://rdap.org/domain/", order = 4,
      doc = "address of the RDAP service, to which the name is appended" },
    timeout  = { type = "duration", default = "20s", order = 5, doc = "how long it may take for one domain" },
  },
}
function run(params)
  local reporter, unknown = EventReporter(), {}
  if #params.domains == 0 then return log.info("no domains to look at: set the parameter domains") end

  for _, domain in ipairs(params.domains) do -- one after the other: rdap.org counts
    local function report(status, title, message)
      reporter:report{ title = title, status = status, message = message, dimension_tags = { domain = domain } }
    end
    local res, err = http.get(params.rdap .. domain,
      { timeout = params.timeout, headers = { Accept = "application/rdap+json, application/json" } })
    local answer = res and res.status == 200 and res:json()
    local ends, why
    if answer then ends, why = expiration(answer) end

    if res and res.status == 404 then
      report("critical", domain .. " is not registered", ("The registry knows no domain **%s** (asked %s).")
        :format(domain, res.url))
    elseif not ends then
      unknown[#unknown + 1] = ("%s: %s"):format(domain, why or err or res.status ~= 200 and ("the service answered %d")
        :format(res.status) or "the answer is no JSON")
    else
      local days = (ends - time.now()) / 86400
      log.info(("%s: %.0f days"):format(domain, days))
      if days < math.max(params.warning, params.critical) then
        local registrar = registrar_of(answer)
        report(days < params.critical and "critical" or "warning",
          days < 0 and domain .. ": the registration has ended" or ("%s: the registration ends in %.0f days"):format(domain, days),
          ("The registration of **%s** %s **%s**.%s"):format(domain, days < 0 and "ended on" or "ends on",
            time.format(ends):sub(1, 10), registrar and "\n\nRegistrar: " .. registrar or ""))
      end
    end
  end
  if unknown[1] then error(table.concat(unknown, "; ")) end
end
