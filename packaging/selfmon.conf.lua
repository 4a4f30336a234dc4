-- Configuration of selfmon-lua. It is Lua: evaluated in a process of its own, with only env(name, default),
-- file(path) and secret(name), and returns a table. A change takes effect without a restart; a mistake is
-- said, and the last good configuration stays in force. See selfmon.conf.lua(5) and
-- /usr/share/doc/selfmon-lua/operations.md.
--
-- As it stands it runs the inspections in /etc/selfmon-lua/inspections with the embedded platform: events
-- stay on this machine. See them with
--
--   sudo selfmon-lua events -c /etc/selfmon-lua/selfmon.conf.lua

return {
  inspections = "/etc/selfmon-lua/inspections",
  state_dir = "/var/lib/selfmon",

  -- Zone of schedules that name none.
  -- timezone = "Europe/Berlin",

  -- A workspace of TrueWatch or Guance Cloud (nodes: `selfmon-lua nodes`). `secret` makes the identity of the
  -- inspections in the workspace: keep a copy outside of this machine.
  -- accounts = {
  --   default = { node = "truewatch/us1", api_key_id = "wsak_...", api_key = secret "key" },
  -- },
  -- secrets = {
  --   key = { credential = "api-key" },  -- LoadCredential=api-key:/root/selfmon.key in a drop-in of the unit
  -- },
  -- secret_file = "/etc/selfmon-lua/identity",  -- mode 600, owner selfmon

  -- Parameters, schedules and instances, by function id.
  -- params = { ["host/disk.run"] = { warning = 80, exclude = { "/mnt/backup" } } },
  -- schedule = { ["host/load.run"] = "@every 30s" },
  -- instances = { ["http/endpoint.run"] = { shop = { params = { urls = { "https://shop.example/" } } } } },

  -- What scripts may reach over HTTP: "public" denies private and loopback addresses.
  -- net = "public",

  -- What one run may take.
  -- limits = { wall = "30s", cpu = "10s", memory = "32MiB" },

  -- /healthz, /ready and /metrics, without a password.
  -- health_listen = "127.0.0.1:8788",

  -- An address that is fetched each minute while all is well; alarm elsewhere when it is not.
  -- heartbeat = "https://ping.example/selfmon",

  -- log = { level = "info", format = "auto" },
}
