-- selfmon.host on the machine that runs the specs: shapes and plausibility. The parsers have their own
-- unit tests (tests/unit/worker/hostinfo_test.c).
local host = require "selfmon.host"
local time = require "selfmon.time"

local function percent(v, name)
  assert.is_number(v, name)
  assert.is_true(v >= 0 and v <= 100, name .. " is " .. v)
end

describe("selfmon.host", function()
  it("memory", function()
    local m = assert(host.memory())
    assert.are.equal("integer", math.type(m.total))
    assert.is_true(m.total > 0 and m.available <= m.total)
    assert.are.equal(m.total, m.used + m.available)
    percent(m.percent, "percent")
    percent(m.swap_percent, "swap_percent")
    for _, k in ipairs { "free", "buffers", "cached", "swap_total", "swap_used" } do assert.is_number(m[k], k) end
  end)

  it("load", function()
    local l = assert(host.load())
    for _, k in ipairs { "one", "five", "fifteen" } do assert.is_true(l[k] >= 0) end
    assert.is_true(l.cores >= 1 and l.threads >= l.running)
    assert.are.equal("integer", math.type(l.cores))
  end)

  it("cpu measures an interval", function()
    local before = time.monotonic()
    local c = assert(host.cpu { interval = 0.05 })
    assert.is_true(time.monotonic() - before >= 0.05)
    for _, k in ipairs { "user", "system", "iowait", "steal", "idle", "percent" } do percent(c[k], k) end
    local sum = c.user + c.system + c.iowait + c.steal + c.idle
    assert.is_true(sum > 99.9 and sum < 100.1, "sum is " .. sum)
    assert.is_true(math.abs(c.percent + c.iowait + c.idle - 100) < 0.1)
  end)

  it("cpu reads its options strictly", function()
    assert.has_error(function() host.cpu { intervall = 1 } end,
      'host.cpu: unknown option "intervall"; did you mean "interval"?')
    for _, v in ipairs { 0, -1, 61, 0 / 0, "x", true } do
      assert.has_error(function() host.cpu { interval = v } end)
    end
  end)

  it("uptime", function()
    assert.is_true(host.uptime() > 0)
  end)

  it("name", function()
    assert.is_truthy(#host.name() > 0)
  end)

  it("disks are real, local, and listed once", function()
    local seen = {}
    for _, d in ipairs(assert(host.disks())) do
      assert.is_nil(seen[d.mount])
      seen[d.mount] = true
      assert.is_true(d.size > 0 and d.used >= 0 and d.used <= d.size)
      percent(d.percent, "percent")
      if d.inodes then
        percent(d.inodes_percent, "inodes_percent")
      end
      assert.is_boolean(d.read_only)
      for _, k in ipairs { "device", "fstype" } do assert.is_string(d[k]) end
      assert.is_nil(({ proc = 1, sysfs = 1, tmpfs = 1, squashfs = 1, nfs4 = 1 })[d.fstype])
    end
  end)

  it("mounts lists everything with its kind", function()
    local kinds, proc = {}, false
    for _, m in ipairs(assert(host.mounts())) do
      kinds[m.kind] = true
      proc = proc or (m.mount == "/proc" and m.fstype == "proc" and m.kind == "pseudo")
      assert.is_string(m.options)
    end
    assert.is_true(proc)
    for kind in pairs(kinds) do assert.is_truthy(({ disk = 1, remote = 1, pseudo = 1 })[kind]) end
  end)

  it("takes no arguments where none are meant", function()
    for _, name in ipairs { "memory", "load", "disks", "mounts", "uptime", "name" } do
      assert.has_error(function() host[name] {} end)
    end
  end)
end)
