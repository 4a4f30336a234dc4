-- SSH servers that show another host key than before.
local log = require "selfmon.log"
local ssh = require "lib.ssh"
local store = require "selfmon.store"
local target = require "lib.target"

monitor{
  title = "SSH host keys",
  doc = [[
    Reads the host key that each SSH server shows and compares it with the expected fingerprint, or with the
    one seen first. Another key means that the server was set up anew, or that somebody else answers.

    A host is written `HOST[:PORT] [FINGERPRINT]`, the fingerprint as `ssh-keygen -l` prints it:
    `web1.example SHA256:Wyb7…`. To accept a new key, write its fingerprint behind the host.
  ]],
  schedule = "H * * * *",
  tags = { "ssh", "security" },
  events = { recover = true, on_change = true, remind = "1d" },
  timeout = "5m",
  params = {
    hosts   = { type = "list", items = "string", default = {}, order = 1, doc = "HOST[:PORT] [FINGERPRINT]" },
    timeout = { type = "duration", default = "10s", order = 2, doc = "how long each step may take" },
  },
}
function run(params)
  if #params.hosts == 0 then return log.info "nothing to look at: set the parameter hosts" end
  local reporter = EventReporter()
  for _, text in ipairs(params.hosts) do
    local name, expected = text:match "^(%S+)%s*(%S*)$"
    if not name or (expected ~= "" and not expected:find "^SHA256:[%w+/]+$") then
      error(("%q: write HOST[:PORT] [SHA256:…]"):format(text), 0)
    end
    local host, port = target.split(name, 22)
    local function report(status, title, message)
      reporter:report{ title = name .. ": " .. title, status = status, message = message, dimension_tags = { host = name } }
    end
    local key, message = ssh.host_key(host, port, params.timeout)
    local seen = store.get(name)
    local known = expected ~= "" and expected or seen and seen.fingerprint
    if not key then
      report("error", "the host key cannot be read", ("`%s` does not show its SSH host key:\n\n- %s"):format(name, message))
    elseif known and key.fingerprint ~= known then
      report("critical", "the host key changed", ([[
        `%s` shows **another host key** than %s.

        - expected: `%s`
        - shown: `%s` (%s)
        - server: %s
        - if it was set up anew: write the new fingerprint behind the host in the parameter hosts
        - if not: somebody else answers there; do not log in
      ]]):format(name, expected ~= "" and "the configured one" or "the one seen first", known, key.fingerprint, key.type,
        key.version))
    elseif not seen or seen.fingerprint ~= key.fingerprint then
      assert(store.set(name, { fingerprint = key.fingerprint, type = key.type }))
      log.info("host key remembered", { host = name, fingerprint = key.fingerprint })
    end
  end
end
