-- Configuration of this project. It is Lua, with only env(name, default), file(path) and secret(name), and returns
-- a table. A change takes effect without a restart. As it stands everything is the default: events stay on this
-- machine, in the directory .selfmon; see them with `selfmon-lua events`.
return {
  -- Where the inspections are, seen from this file.
  inspections = "inspections",

  -- Zone of schedules that name none.
  -- timezone = "Europe/Berlin",

  -- A workspace of TrueWatch or Guance Cloud, instead of this machine (`selfmon-lua nodes` lists the nodes).
  -- accounts = {
  --   default = { node = "truewatch/us1", api_key_id = "wsak_...", api_key = secret "api-key" },
  -- },
  -- secrets = {
  --   ["api-key"] = { file = "/etc/selfmon/api-key" },  -- mode 600
  -- },

  -- Parameters and schedules, by the id of an inspection (`selfmon-lua list`).
  -- params = { ["memory.run"] = { warning = 80 } },
  -- schedule = { ["memory.run"] = "*/5 * * * *" },

  -- What scripts may do beyond the free modules, by pattern of their id (`selfmon-lua doc permissions`).
  -- grant = { ["host/*"] = { "exec:/usr/bin/df" } },
}
