local t = require "selfmon.testing"

local function disk(fields)
  local d = { mount = "/", device = "/dev/sda1", fstype = "ext4", read_only = false, size = 100 * 2^30 // 1,
              used = 40 * 2^30 // 1, available = 60 * 2^30 // 1, percent = 40,
              inodes = 1000000, inodes_used = 100000, inodes_percent = 10 }
  for k, v in pairs(fields) do d[k] = v end
  return d
end

describe("host/disk", function()
  it("says nothing while there is room", function()
    t.machine { disks = { disk {}, disk { mount = "/var", percent = 84.9 } } }
    local r = t.run("host/disk.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
  end)

  it("warns of space, then alarms", function()
    t.machine { name = "web1", disks = { disk { percent = 85 }, disk { mount = "/var", percent = 97.2 } } }
    local r = t.run("host/disk.run")
    assert.are.equal(2, #r.events)
    assert.are.equal("warning", r.events[1].status)
    assert.are.equal("critical", r.events[2].status)
    assert.are.equal("web1: disk /var is 97 % full", r.events[2].title)
    assert.are.same({ host = "web1", mount = "/var", resource = "space" }, r.events[2].dimension_tags)
    assert.is_truthy(r.events[2].message:find("**97.2 %** full: 40.0 GiB used, 60.0 GiB left", 1, true))
  end)

  it("looks at inodes, where the file system counts them", function()
    local btrfs = disk { mount = "/b" }
    btrfs.inodes, btrfs.inodes_used, btrfs.inodes_percent = nil, nil, nil
    t.machine { disks = { disk { inodes_percent = 99, inodes_used = 990000 }, btrfs } }
    local r = t.run("host/disk.run")
    assert.are.equal(1, #r.events)
    assert.are.equal("critical", r.events[1].status)
    assert.are.equal("inodes", r.events[1].dimension_tags.resource)
    assert.is_truthy(r.events[1].message:find("10000 of 1000000", 1, true))
  end)

  it("takes limits and exclusions", function()
    t.machine { disks = { disk { percent = 50 }, disk { mount = "/mnt/backup", percent = 99 },
                          disk { mount = "/iso", percent = 100, read_only = true } } }
    local r = t.run("host/disk.run", { warning = "45", exclude = "/mnt/backup" })
    assert.are.equal(1, #r.events)
    assert.are.equal("/", r.events[1].dimension_tags.mount)
    assert.are.equal("warning", r.events[1].status)
  end)

  it("alarms when a disk became read-only, or must be writable", function()
    t.machine { name = "web1", disks = { disk {}, disk { mount = "/iso", read_only = true, percent = 100 } } }
    assert.are.same({}, t.run("host/disk.run").events)
    t.machine { disks = { disk { read_only = true }, disk { mount = "/iso", read_only = true } } }
    local r = t.run("host/disk.run")
    assert.are.equal(1, #r.events)
    assert.are.equal("web1: disk / is read-only", r.events[1].title)
    assert.are.equal("critical", r.events[1].status)
    assert.are.same({ host = "web1", mount = "/", resource = "read-only" }, r.events[1].dimension_tags)
    assert.is_truthy(r.events[1].message:find("it was writable before", 1, true))
    assert.are.equal(2, #t.run("host/disk.run", { writable = { "/iso" } }).events)
    assert.are.same({}, t.run("host/disk.run", { exclude = "/" }).events)
  end)

  it("needs no store to look at the disks", function()
    t.store_fails()
    t.machine { disks = { disk { percent = 99 } } }
    local r = t.run("host/disk.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.equal(1, #r.events)
  end)

  it("fails loudly when the machine does not say", function()
    local r = t.run("host/disk.run")
    assert.are.equal("failed", r.outcome)
    assert.are.same({}, r.events)
    assert.is_truthy(r.error:find("cannot read the disks of this machine", 1, true))
  end)
end)
