local t = require "selfmon.testing"

local GIB = 2^30 // 1

local function disk(percent, fields)
  local d = { mount = "/", device = "/dev/sda1", fstype = "ext4", read_only = false, size = 100 * GIB,
              used = percent * GIB // 1, available = (100 - percent) * GIB // 1, percent = percent }
  for k, v in pairs(fields or {}) do d[k] = v end
  return d
end

-- Runs it every quarter of an hour; percent(hours since the first run). Answers the last run.
local function watch(hours, percent, params, fields)
  local r
  for i = 0, hours * 4 do
    t.machine { name = "web1", disks = { disk(percent(i / 4), fields) } }
    r = t.run("host/disk_forecast.run", params)
    assert.are.equal("ok", r.outcome, r.error)
    t.advance "15m"
  end
  return r
end

describe("host/disk_forecast", function()
  before_each(function()
    t.clock "2026-11-22T00:00:00Z"
  end)

  it("says nothing of a disk that does not grow, or slowly", function()
    assert.are.same({}, watch(8, function(h) return 60 + h * 4 % 3 / 10 end).events)
    t.store {}
    assert.are.same({}, watch(8, function(h) return 60 + h * 0.1 end).events)
  end)

  it("says when a disk will be full, and when the danger is over", function()
    local r = watch(6, function(h) return 70 + h * 1.5 end)
    assert.are.equal(1, #r.events)
    local event = r.events[1]
    assert.are.equal("web1: disk / is full in 7 hours", event.title)
    assert.are.equal("critical", event.status)
    assert.are.same({ host = "web1", mount = "/" }, event.dimension_tags)
    assert.is_truthy(event.message:find("**79.0 %** and grows by 36.0 points a day", 1, true), event.message)
    assert.is_truthy(event.message:find("21.0 GiB left", 1, true), event.message)
    r = watch(4, function(h) return 30 + h * 0.01 end)
    assert.are.same({}, r.events)
  end)

  it("also speaks of a disk that has reached the limit", function()
    local r = watch(4, function() return 93 end)
    assert.are.equal("web1: disk / has reached 90 %", r.events[1].title)
    assert.are.equal("critical", r.events[1].status)
  end)

  it("waits for three hours of history, and begins anew when a disk is made larger", function()
    local r = watch(2, function(h) return 80 + h * 3 end)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("too little history mount=/", 1, true), r.log)
    assert.are.equal(1, #watch(3, function(h) return 82 + h * 1.5 end).events)
    r = watch(1, function(h) return 45 + h end, nil, { size = 200 * GIB })
    assert.are.same({}, r.events)
    assert.are.equal(5, #t.store()["disk:/"].t)
  end)

  it("keeps a bounded history that reaches far back", function()
    local history = { size = 100 * GIB, t = { t.now() - 20 * 86400 }, p = { 1 } }
    for i = 1, 399 do history.t[i + 1], history.p[i + 1] = math.floor(t.now()) - (400 - i) * 3000, 40 end
    local first = history.t[2]
    t.store { ["disk:/"] = history }
    watch(1, function() return 40 end)
    history = t.store()["disk:/"]
    assert.is_true(#history.t > 290 and #history.t < 310, #history.t)
    assert.is_true(history.t[1] - first < 7000) -- the sample of 20 days ago is gone, what is younger reaches as far
    assert.are.equal(3000, history.t[250] - history.t[249])
    assert.are.equal(6000, history.t[20] - history.t[19])
    for i = 2, #history.t do assert.is_true(history.t[i] > history.t[i - 1]) end
  end)

  it("leaves out what it is told, and what is read-only", function()
    t.machine { name = "web1", disks = { disk(99, { mount = "/mnt/backup" }), disk(100, { mount = "/iso", read_only = true }) } }
    local r = t.run("host/disk_forecast.run", { exclude = "/mnt/backup" })
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.are.same({}, t.store())
  end)

  it("survives a clock that is set back", function()
    watch(4, function(h) return 70 + h end)
    t.clock "2026-11-22T01:00:00Z"
    local r = watch(4, function(h) return 74 + h end)
    assert.are.equal("ok", r.outcome, r.error)
    for i, at in ipairs(t.store()["disk:/"].t) do
      if i > 1 then assert.is_true(at > t.store()["disk:/"].t[i - 1]) end
    end
  end)

  it("fails loudly when the machine does not say, or nothing can be kept", function()
    local r = t.run("host/disk_forecast.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("cannot read the disks of this machine", 1, true))
    t.machine { name = "web1", disks = { disk(50) } }
    t.store_fails()
    r = t.run("host/disk_forecast.run")
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find("cannot keep the history of /", 1, true), r.error)
  end)
end)
