-- Writes lua/types anew from the table of the API: selfmon-lua lua tests/tools/stubs.lua
local lfs = require "lfs"
local stubs = require "kit.stubs"
for name in lfs.dir "lua/types" do
  if name:find "%.lua$" and name ~= "plugin.lua" then os.remove("lua/types/" .. name) end
end
for _, stub in ipairs(stubs.all()) do
  local f = assert(io.open("lua/types/" .. stub.name, "w"))
  f:write(stub.text)
  f:close()
end
