-- The host key of an SSH server, as `ssh-keyscan` reads it: by the first half of a key exchange.
local crypto = require "selfmon.crypto"
local net = require "selfmon.net"

local M = {}

local KEXINIT, ECDH_INIT, ECDH_REPLY, DISCONNECT = 20, 30, 31, 1
local ALGORITHMS = {
  "curve25519-sha256,curve25519-sha256@libssh.org",
  "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256,ssh-rsa",
  "aes128-ctr,aes256-ctr,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com",
  "hmac-sha2-256,hmac-sha2-512,hmac-sha2-256-etm@openssh.com",
  "none,zlib@openssh.com",
}

-- A packet before encryption: length, padding to a multiple of 8, payload (RFC 4253, 6).
local function packet(payload)
  local pad = 8 - (#payload + 5) % 8
  if pad < 4 then pad = pad + 8 end
  return (">I4B"):pack(#payload + pad + 1, pad) .. payload .. ("\0"):rep(pad)
end

local function kexinit()
  local a = ALGORITHMS
  local text = string.char(KEXINIT) .. crypto.random(16)
  for _, list in ipairs { a[1], a[2], a[3], a[3], a[4], a[4], a[5], a[5], "", "" } do text = text .. (">s4"):pack(list) end
  return packet(text .. "\0\0\0\0\0")
end

local function receive(conn)
  local head, message, code = conn:receive(5)
  if not head then return nil, message, code end
  local length, pad = (">I4B"):unpack(head)
  if length < pad + 2 or length > 35000 then return nil, "it sends a packet of impossible length", "protocol" end
  local rest
  rest, message, code = conn:receive(length - 1)
  if not rest then return nil, message, code end
  return rest:sub(1, length - 1 - pad)
end

-- The host key in the answer to our half of the exchange; what else may come is passed over.
local function host_key(conn)
  for _ = 1, 20 do
    local payload, message, code = receive(conn)
    if not payload then return nil, message, code end
    local kind = payload:byte()
    if kind == DISCONNECT then
      local ok, why = pcall(string.unpack, ">s4", payload, 6)
      return nil, "it breaks off: " .. (ok and why or "no reason given"), "protocol"
    elseif kind == ECDH_REPLY then
      local ok, blob = pcall(string.unpack, ">s4", payload, 2)
      if not ok then return nil, "its host key cannot be read", "protocol" end
      return blob
    end
  end
  return nil, "it does not send its host key", "protocol"
end

--- { type = "ssh-ed25519", fingerprint = "SHA256:…", version = "SSH-2.0-…" } of a server, or nil, sentence, code.
--- It is the key that the server shows; nothing here proves that it owns the private half.
function M.host_key(host, port, timeout)
  local conn <close>, message, code = net.open(host, port, { timeout = timeout })
  if not conn then return nil, message, code end
  local version
  for _ = 1, 20 do
    version, message, code = conn:receive "line"
    if not version then return nil, message, code end
    if version:find "^SSH%-" then break end
  end
  if not version:find "^SSH%-2%.0%-" and not version:find "^SSH%-1%.99%-" then
    return nil, "it does not speak SSH 2", "protocol"
  end
  conn:send("SSH-2.0-selfmon_lua\r\n", kexinit(), packet(string.char(ECDH_INIT) .. (">s4"):pack(crypto.random(32))))
  local blob
  blob, message, code = host_key(conn)
  if not blob then return nil, message, code end
  local ok, kind = pcall(string.unpack, ">s4", blob)
  if not ok then return nil, "its host key cannot be read", "protocol" end
  return { type = kind, fingerprint = "SHA256:" .. crypto.sha256(blob, "base64"):match "^[^=]+", version = version }
end

return M
