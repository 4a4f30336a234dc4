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
    for _, name in ipairs { "memory", "load", "disks", "mounts", "uptime", "name", "pressure", "open_files",
                            "conntrack", "disk_io", "interfaces", "socket_counts" } do
      assert.has_error(function() host[name] {} end)
    end
  end)

  it("what the kernel counts", function()
    local files = assert(host.open_files())
    assert.is_true(files.used > 0 and files.used <= files.max)
    local names = {}
    for _, i in ipairs(assert(host.interfaces())) do names[i.name] = i.rx_bytes >= 0 and i.tx_errors >= 0 end
    assert.is_true(names.lo)
    for _, d in ipairs(assert(host.disk_io())) do assert.is_true(d.busy_seconds >= 0 and d.read_bytes >= 0) end
    local pressure, err, code = host.pressure()
    if pressure then percent(pressure.cpu.some.avg10, "avg10") else assert.are.equal("not_found", code, err) end
  end)

  it("processes", function()
    local all, names = assert(host.processes()), {}
    for _, p in ipairs(all) do
      names[p.name] = p
      assert.is_nil(p.cmdline)
      assert.is_true(p.pid > 0 and p.rss >= 0 and p.threads >= 0 and p.cpu_seconds >= 0)
    end
    local me = names["selfmon-lua"]
    assert.is_truthy(me)
    assert.is_true(math.abs(time.now() - me.started) < 86400 * 365)
    assert.are.same({}, assert(host.processes { name = "no-such-program" }))
    assert.is_true(#assert(host.processes { match = "host_spec.lua" }) >= 1)
    assert.has_error(function() host.processes { nam = "x" } end,
      'host.processes: unknown option "nam"; did you mean "name"?')
    assert.has_error(function() host.processes { state = "zombi" } end)
    assert.has_error(function() host.processes { pid = "1" } end)
  end)

  it("sockets", function()
    local counts = assert(host.socket_counts())
    assert.is_true(counts.tcp.total >= counts.tcp.listen and counts.udp.total >= 0)
    for _, s in ipairs(assert(host.sockets { state = "listen" })) do
      assert.are.equal("listen", s.state)
      assert.is_true(s.local_port > 0)
    end
    assert.has_error(function() host.sockets { protocol = "sctp" } end)
  end)
end)

describe("selfmon.host.file", function()
  local dir

  local function write(name, text)
    local f = assert(io.open(dir .. "/" .. name, "w"))
    f:write(text)
    f:close()
  end

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(require "lfs".mkdir(dir))
  end)

  teardown(function()
    for name in require "lfs".dir(dir) do os.remove(dir .. "/" .. name) end
    os.remove(dir)
  end)

  it("stat, read and list", function()
    write("a.txt", "0123456789")
    local s = assert(host.file.stat(dir .. "/a.txt"))
    assert.are.equal("file", s.type)
    assert.are.equal(10, s.size)
    assert.is_true(math.abs(time.now() - s.mtime) < 3600)
    assert.are.equal("directory", host.file.stat(dir).type)
    local text, more = host.file.read(dir .. "/a.txt")
    assert.are.equal("0123456789", text)
    assert.is_false(more)
    text, more = host.file.read(dir .. "/a.txt", { offset = 2, max = 3 })
    assert.are.equal("234", text)
    assert.is_true(more)
    write("b.tar", "")
    local names = {}
    for _, f in ipairs(assert(host.file.list(dir, { pattern = "*.t*" }))) do names[#names + 1] = f.name end
    assert.are.same({ "a.txt", "b.tar" }, names)
    local nothing, err, code = host.file.read(dir .. "/none")
    assert.is_nil(nothing)
    assert.are.equal("not_found", code)
    assert.is_truthy(err:find("No such file", 1, true))
    assert.are.equal("invalid", select(3, host.file.read(dir)))
  end)

  it("tail follows what is added", function()
    write("log", "one\ntwo\nhalf")
    local first = assert(host.file.tail(dir .. "/log", { lines = 1 }))
    assert.are.same({ "two" }, first.lines)
    assert.are.equal("half", first.partial)
    assert.is_nil(first.count)
    local next_one = assert(host.file.tail(dir .. "/log", { cursor = first.cursor }))
    assert.are.same({}, next_one.lines)
    local f = assert(io.open(dir .. "/log", "a"))
    f:write(" a line\n\nlast\n")
    f:close()
    next_one = assert(host.file.tail(dir .. "/log", { cursor = next_one.cursor }))
    assert.are.same({ "half a line", "", "last" }, next_one.lines)
    assert.is_false(next_one.rotated)
  end)

  it("reads its arguments strictly", function()
    for _, call in ipairs {
      { "read", "relative", "expected an absolute path" }, { "read", "/a/../b", "without" }, { "read", 7, "got number" },
      { "read", "/x", "a table of options", 7 }, { "read", "/x", 'did you mean "offset"', { ofset = 1 } },
      { "read", "/x", "from 1 to 8388608", { max = 1 << 30 } }, { "tail", "/x", "expected a table", { cursor = 1 } },
      { "list", "/x", "without slashes", { pattern = "a/b" } }, { "stat", "/x", "one argument", {} },
    } do
      local ok, err = pcall(host.file[call[1]], call[2], call[4])
      assert.is_false(ok)
      assert.is_truthy(err:find(call[3], 1, true), err)
    end
  end)
end)

-- What specs see: the fakes of selfmon.testing.
describe("a faked machine", function()
  local t = require "selfmon.testing"
  local root

  local function run(body, grants)
    local f = assert(io.open(root .. "/x.lua", "w"))
    f:write('monitor{ title = "x" }\nfunction run()\nlocal host = require "selfmon.host"\n' .. body .. "\nend\n")
    f:close()
    t.root(root)
    return t.run("x.run", {}, { grants = grants })
  end

  setup(function()
    root = os.tmpname()
    os.remove(root)
    assert(require "lfs".mkdir(root))
  end)

  teardown(function()
    os.remove(root .. "/x.lua")
    os.remove(root)
  end)

  it("shows processes and sockets through the same filters", function()
    t.machine { processes = { { pid = 1, name = "nginx", state = "sleeping", cmdline = "nginx -g x" },
                              { pid = 2, name = "cron", state = "zombie" } },
                sockets = { { protocol = "tcp", state = "listen", local_port = 80 } } }
    local r = run([[
      assert(#host.processes() == 2 and host.processes()[1].cmdline == nil)
      assert(host.processes{ state = "zombie" }[1].name == "cron")
      assert(#host.sockets{ local_port = 80 } == 1 and #host.sockets{ local_port = 81 } == 0)
      assert(host.socket_counts().tcp.listen == 1)
    ]])
    assert.are.equal("ok", r.outcome, r.error)
    r = run('host.processes{ match = "-g" }')
    assert.is_truthy(r.error:find('permission "processes:cmdline" is not granted to x.run', 1, true), r.error)
    r = run('assert(#host.processes{ match = "-g" } == 1)', { "processes:cmdline" })
    assert.are.equal("ok", r.outcome, r.error)
    t.machine { processes = {} }
    assert.are.equal("ok", run("assert(#host.processes() == 0)").outcome)
  end)

  it("has the files that the test names, and no others", function()
    t.file("/var/log/a.log", "one\ntwo\n")
    t.file("/var/log/big.tar", { size = 1 << 40, mtime = 5 })
    t.file("/var/log/bad", { error = "cannot open /var/log/bad: Input/output error", code = "io" })
    local r = run([[
      assert(host.file.stat("/var/log/big.tar").size == 1 << 40 and host.file.stat("/var/log/big.tar").mtime == 5)
      assert(host.file.read("/var/log/a.log") == "one\ntwo\n")
      assert(select(3, host.file.read("/var/log/none")) == "not_found")
      assert(select(3, host.file.stat("/var/log/bad")) == "io")
      local t = host.file.tail("/var/log/a.log", { lines = 1 })
      assert(t.lines[1] == "two" and #t.lines == 1 and #host.file.tail("/var/log/a.log", { cursor = t.cursor }).lines == 0)
      assert(host.file.list("/var/log", { pattern = "*.tar" })[1].name == "big.tar")
      assert(select(3, host.file.list("/var/log/none")) == "not_found")
    ]], { "file:/var/log/**" })
    assert.are.equal("ok", r.outcome, r.error)
    r = run('host.file.read("/etc/shadow")', { "file:/var/log/**" })
    assert.are.equal("failed", r.outcome)
    assert.is_truthy(r.error:find(
      'permission "file:/etc/shadow" is not granted to x.run: add it to grant in selfmon.conf.lua', 1, true), r.error)
    r = run('host.file.list("/var/log")', { "file:/var/log/*.log" })
    assert.is_truthy(r.error:find('"file:/var/log/*" is not granted', 1, true), r.error)
    assert.has_error(function() t.file("/x", { sice = 1 }) end)
    assert.has_error(function() t.file("x", "") end)
  end)

  it("files grow and rotate", function()
    local body = [[
      local store = require "selfmon.store"
      local t = assert(host.file.tail("/l", { cursor = store.get "c", lines = 0 }))
      store.set("c", t.cursor)
      print(table.concat(t.lines, "|"), t.rotated)
    ]]
    local function lines()
      local r = run(body, { "file:/l" })
      assert.are.equal("ok", r.outcome, r.error)
      return (r.log:match "([^\n]*)\n?$")
    end
    t.file("/l", "old\n")
    lines()
    t.file("/l", "old\nnew\nhal")
    assert.is_truthy(lines():find("new\tfalse", 1, true))
    t.file("/l", "old\nnew\nhalf\n")
    assert.is_truthy(lines():find("half\tfalse", 1, true))
    t.file("/l", "fresh\n")
    assert.is_truthy(lines():find("fresh\ttrue", 1, true))
  end)
end)
