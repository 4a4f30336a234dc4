-- selfmon.host: this machine, read-only.
local FAILED = { { "message", "string?" }, { "code", "string?" } }

local function returns(name, type, text)
  return { { name, type, text }, FAILED[1], FAILED[2] }
end

local function reading(name, type, doc, example)
  return { name = name, doc = doc, params = {}, returns = returns(name == "name" and "hostname" or name, type .. "?"),
           example = 'local host = require "selfmon.host"\n' .. example }
end

return {
  module = "selfmon.host", since = "0.1.0",
  doc = [[This machine, read-only. Sizes are bytes, lengths seconds, percents 0..100. Free for every script, but files
and command lines need a permission. What it shows of processes and files is read by the daemon, which checks the permission
again; nothing is written, ever.]],
  setup = [[
    t.machine {
      processes = { { pid = 1, ppid = 0, name = "nginx", uid = 33, user = "www-data", state = "sleeping", threads = 1,
        rss = 1 << 20, cpu_seconds = 2.5, started = 1700000000, kernel = false, cmdline = "nginx -g daemon off" } },
      sockets = { { protocol = "tcp", family = 4, local_address = "0.0.0.0", local_port = 80, remote_address = "0.0.0.0",
        remote_port = 0, state = "listen", uid = 0, inode = 1 } },
      pressure = { cpu = { some = { avg10 = 1, avg60 = 2, avg300 = 3, total = 4 } }, memory = {}, io = {} },
      open_files = { used = 10, max = 100, percent = 10 }, conntrack = { used = 1, max = 4, percent = 25 },
      disk_io = { { device = "sda", reads = 1, writes = 1, read_bytes = 512, written_bytes = 512, read_seconds = 0.1,
        write_seconds = 0.1, busy_seconds = 0.2, in_flight = 0 } },
      interfaces = { { name = "eth0", rx_bytes = 1, rx_packets = 1, rx_errors = 0, rx_dropped = 0, tx_bytes = 1,
        tx_packets = 1, tx_errors = 0, tx_dropped = 0 } },
    }
    t.file("/var/log/app.log", "one\ntwo\nthree\n")]],
  values = { { "file", "table", "files of this machine that are granted: stat, list, read, tail" } },
  types = {
    { name = "selfmon.host.Cpu", doc = "Shares of all cores together, in percent.", fields = {
      { "percent", "number", "what is neither idle nor waiting for a disk" }, { "user", "number" },
      { "system", "number" }, { "iowait", "number", "idle, but for a disk that is waited for" },
      { "steal", "number", "given to other machines by the hypervisor" }, { "idle", "number" }, { "cores", "integer" },
    } },
    { name = "selfmon.host.CpuOptions", doc = "How long to measure.", fields = {
      { "interval", "number?", "seconds, 0.01 to 60; 0.2" } } },
    { name = "selfmon.host.Memory", doc = "Memory and swap.", fields = {
      { "total", "integer" }, { "available", "integer", "what programs could have at once; caches count" },
      { "used", "integer", "total less available" }, { "percent", "number", "used" }, { "free", "integer" },
      { "buffers", "integer" }, { "cached", "integer" }, { "swap_total", "integer", "0: there is none" },
      { "swap_used", "integer" }, { "swap_percent", "number" },
    } },
    { name = "selfmon.host.Load", doc = "Load averages and tasks.", fields = {
      { "one", "number", "over one minute" }, { "five", "number" }, { "fifteen", "number" },
      { "running", "integer", "tasks that run or want to" }, { "threads", "integer", "tasks in all" }, { "cores", "integer" },
    } },
    { name = "selfmon.host.Disk", doc = "A real local file system, each device once.", fields = {
      { "mount", "string" }, { "device", "string" }, { "fstype", "string" },
      { "read_only", "boolean", "the file system itself, not this process's view of it" }, { "size", "integer" },
      { "used", "integer" }, { "available", "integer" }, { "percent", "number", "as df says" },
      { "inodes", "integer?", "nil where they are not counted (btrfs, vfat)" }, { "inodes_used", "integer?" },
      { "inodes_percent", "number?" },
    } },
    { name = "selfmon.host.Mount", doc = "Something that is mounted.", fields = {
      { "mount", "string" }, { "device", "string" }, { "fstype", "string" }, { "options", "string" },
      { "read_only", "boolean" }, { "kind", '"disk"|"remote"|"pseudo"' },
    } },
    { name = "selfmon.host.PressureLine", doc = "Share of time, in percent, in which tasks were held up.", fields = {
      { "avg10", "number", "over 10 s" }, { "avg60", "number" }, { "avg300", "number" },
      { "total", "number", "seconds since the start" } } },
    { name = "selfmon.host.PressureKind", doc = "Pressure on one resource.", fields = {
      { "some", "selfmon.host.PressureLine?", "at least one task waited" },
      { "full", "selfmon.host.PressureLine?", "all of them did" } } },
    { name = "selfmon.host.Pressure", doc = "What tasks wait for (PSI).", fields = {
      { "cpu", "selfmon.host.PressureKind" }, { "memory", "selfmon.host.PressureKind" },
      { "io", "selfmon.host.PressureKind" } } },
    { name = "selfmon.host.Used", doc = "A number with a ceiling.", fields = {
      { "used", "integer" }, { "max", "integer" }, { "percent", "number" } } },
    { name = "selfmon.host.DiskIo", doc = "Transfers of a device since the machine started.", fields = {
      { "device", "string" }, { "reads", "integer" }, { "writes", "integer" }, { "read_bytes", "integer" },
      { "written_bytes", "integer" }, { "read_seconds", "number", "waited for, by all" }, { "write_seconds", "number" },
      { "busy_seconds", "number", "in which it had work" }, { "in_flight", "integer", "now" },
    } },
    { name = "selfmon.host.Interface", doc = "Counters of a network interface.", fields = {
      { "name", "string" }, { "rx_bytes", "integer", "received" }, { "rx_packets", "integer" },
      { "rx_errors", "integer" }, { "rx_dropped", "integer" }, { "tx_bytes", "integer", "sent" },
      { "tx_packets", "integer" }, { "tx_errors", "integer" }, { "tx_dropped", "integer" },
    } },
    { name = "selfmon.host.ProcessFilter", doc = "Which processes; what is left out does not matter.", fields = {
      { "name", "string?", "of the program; * is any text, ? one character" }, { "user", "string?" }, { "uid", "integer?" },
      { "pid", "integer?" }, { "ppid", "integer?" },
      { "state", '"running"|"sleeping"|"waiting"|"stopped"|"zombie"|"idle"|"dead"|nil' },
      { "kernel", "boolean?", "true: threads of the kernel only; false: none of them" },
      { "cmdline", "boolean?", "show command lines; needs processes:cmdline" },
      { "match", "string?", "plain text in the command line; needs processes:cmdline" },
    } },
    { name = "selfmon.host.Process", doc = "A process.", fields = {
      { "pid", "integer" }, { "ppid", "integer" }, { "name", "string", "of its program" },
      { "cmdline", "string?", "when asked for: at most 1 KiB, known secrets masked" }, { "uid", "integer" },
      { "user", "string?", "nil when /etc/passwd does not name the uid" },
      { "state", "string", "as in the filter; waiting is waiting for a disk" }, { "threads", "integer" },
      { "rss", "integer", "bytes in memory" }, { "cpu_seconds", "number", "used so far" },
      { "started", "number", "Unix time" }, { "kernel", "boolean", "a thread of the kernel" },
    } },
    { name = "selfmon.host.SocketFilter", doc = "Which sockets; what is left out does not matter.", fields = {
      { "protocol", '"tcp"|"udp"|nil' }, { "state", "string?", "such as listen, established, time_wait, close_wait" },
      { "local_port", "integer?" }, { "remote_port", "integer?" },
    } },
    { name = "selfmon.host.Socket", doc = "A TCP or UDP socket.", fields = {
      { "protocol", '"tcp"|"udp"' }, { "family", "4|6" }, { "local_address", "string" }, { "local_port", "integer" },
      { "remote_address", "string" }, { "remote_port", "integer" }, { "state", "string" }, { "uid", "integer" },
      { "inode", "integer" },
    } },
    { name = "selfmon.host.SocketCounts", doc = "Sockets by state, each state also with 0, and `total`.", fields = {
      { "tcp", "table<string, integer>" }, { "udp", "table<string, integer>" } } },
    { name = "selfmon.host.Stat", doc = "What is known of a file.", fields = {
      { "type", '"file"|"directory"|"link"|"fifo"|"socket"|"device"' }, { "size", "integer" },
      { "mtime", "number", "last change of what it holds, Unix time" }, { "atime", "number" }, { "ctime", "number" },
      { "mode", "integer", "permissions" }, { "uid", "integer" }, { "gid", "integer" }, { "inode", "integer" },
      { "device", "integer" }, { "links", "integer" },
      { "name", "string?", "in a list" }, { "path", "string?", "in a list" },
    } },
    { name = "selfmon.host.ListOptions", doc = "Which files.", fields = {
      { "pattern", "string?", "of names; * is any text, ? one character; *. Names that begin with a dot only when it does" } } },
    { name = "selfmon.host.ReadOptions", doc = "Which part of a file.", fields = {
      { "offset", "integer?", "first byte; 0" }, { "max", "integer?", "bytes at most; 1 MiB, up to 8 MiB" } } },
    { name = "selfmon.host.TailOptions", doc = "Where to begin, and how much.", fields = {
      { "cursor", "table?", "where the last tail stopped; as it was given" },
      { "lines", "integer?", "without a cursor: how many of the last lines; 10, up to 10,000; 0 only makes a cursor" },
      { "start", "boolean?", "without a cursor: true begins at the first byte instead" },
      { "bytes", "integer?", "to read at most; 1 MiB, 1 KiB to 8 MiB" },
    } },
    { name = "selfmon.host.Tail", doc = "New lines of a file.", fields = {
      { "lines", "string[]", "complete ones, oldest first, without line ends" },
      { "cursor", "table", "for the next tail; selfmon.store keeps it" },
      { "partial", "string?", "a last line that is not complete yet; it comes again" },
      { "rotated", "boolean", "the file is another one, or was emptied" },
      { "truncated", "boolean", "there is more: call again with the cursor" },
      { "skipped", "string?", "a sentence: lines were lost in a rotation" },
    } },
  },
  functions = {
    reading("name", "string", "The machine's host name.", "print(host.name())"),
    reading("uptime", "number", "Seconds since the machine started.", "print(host.uptime())"),
    { name = "cpu", doc = "How busy the CPU is, measured over an interval; the run waits for it.",
      params = { { "opts?", "selfmon.host.CpuOptions" } }, returns = returns("cpu", "selfmon.host.Cpu?"),
      example = 'local host = require "selfmon.host"\nlocal cpu = assert(host.cpu{ interval = 1 })\nprint(cpu.percent, cpu.steal)' },
    reading("load", "selfmon.host.Load", "Load averages.", "local load = assert(host.load())\nprint(load.five / load.cores)"),
    reading("memory", "selfmon.host.Memory", "Memory and swap.",
      "local memory = assert(host.memory())\nprint(memory.percent, memory.swap_percent)"),
    reading("disks", "selfmon.host.Disk[]", "Real local file systems, by mount point; network and pseudo ones are left out.",
      "for _, disk in ipairs(assert(host.disks())) do print(disk.mount, disk.percent) end"),
    reading("mounts", "selfmon.host.Mount[]", "Everything that is mounted.",
      "for _, mount in ipairs(assert(host.mounts())) do print(mount.mount, mount.kind) end"),
    reading("pressure", "selfmon.host.Pressure", "What tasks wait for; nil, message, \"not_found\" on kernels without PSI.",
      "local pressure = host.pressure()\nif pressure then print(pressure.cpu.some.avg60) end"),
    reading("open_files", "selfmon.host.Used", "Open files of the whole machine and how many there may be.",
      "print(assert(host.open_files()).percent)"),
    reading("conntrack", "selfmon.host.Used", "Tracked connections; nil, message, \"not_found\" where none are tracked.",
      "local c = host.conntrack()\nif c then print(c.used, c.max) end"),
    reading("disk_io", "selfmon.host.DiskIo[]", "Transfers of the block devices since the start.",
      "for _, d in ipairs(assert(host.disk_io())) do print(d.device, d.busy_seconds) end"),
    reading("interfaces", "selfmon.host.Interface[]", "Counters of the network interfaces.",
      "for _, i in ipairs(assert(host.interfaces())) do print(i.name, i.rx_errors) end"),
    { name = "processes",
      doc = [[The processes that the filter lets through, by pid, as the daemon sees them. Above 10,000: nil, message, "limit".
Command lines need the permission `processes:cmdline`, as they may hold what nobody should see; without it the call raises.]],
      params = { { "filter?", "selfmon.host.ProcessFilter" } }, returns = returns("processes", "selfmon.host.Process[]?"),
      example = 'local host = require "selfmon.host"\nlocal zombies = assert(host.processes{ state = "zombie" })\nprint(#zombies)' },
    { name = "sockets", doc = 'TCP and UDP sockets that the filter lets through. Above 10,000: nil, message, "limit".',
      params = { { "filter?", "selfmon.host.SocketFilter" } }, returns = returns("sockets", "selfmon.host.Socket[]?"),
      example = [[
local host = require "selfmon.host"
for _, s in ipairs(assert(host.sockets{ state = "listen" })) do print(s.protocol, s.local_address, s.local_port) end]] },
    { name = "socket_counts", doc = "How many sockets are in which state, however many there are.",
      params = {}, returns = returns("counts", "selfmon.host.SocketCounts?"),
      example = 'local host = require "selfmon.host"\nlocal counts = assert(host.socket_counts())\nprint(counts.tcp.close_wait)' },
    { name = "file.stat", permission = "file:/var/log/app.log", doc = [[What is known of a file or directory. Needs the permission `file:PATH`. A link is followed
when it leads to what is granted as well; else nil, message, "denied". "not_found": there is none.]],
      params = { { "path", "string", "absolute" } }, returns = returns("stat", "selfmon.host.Stat?"),
      example = [[
local host = require "selfmon.host"
local stat = assert(host.file.stat("/var/log/app.log"))
print(stat.size, stat.mtime)]] },
    { name = "file.list", permission = "file:/var/log/*", doc = [[Files of a directory, by name; links are not followed. Needs the permission `file:DIRECTORY/PATTERN`
(or one that covers it); files that are not granted are left out. Above 10,000: nil, message, "limit".]],
      params = { { "directory", "string", "absolute" }, { "opts?", "selfmon.host.ListOptions" } },
      returns = returns("files", "selfmon.host.Stat[]?"),
      example = [[
local host = require "selfmon.host"
for _, file in ipairs(assert(host.file.list("/var/log", { pattern = "*.log" }))) do print(file.path, file.size) end]] },
    { name = "file.read", permission = "file:/var/log/app.log", doc = [[Bytes of a regular file (no FIFO, no device). Needs the permission `file:PATH`.]],
      params = { { "path", "string", "absolute" }, { "opts?", "selfmon.host.ReadOptions" } },
      returns = { { "text", "string?", "as it is; may be no UTF-8" }, { "more", "boolean|string", "there is more behind it; or why not" },
                  { "code", "string?" } },
      example = [[
local host = require "selfmon.host"
local text, more = host.file.read("/var/log/app.log", { max = 4096 })
print(text, more)]] },
    { name = "file.tail", permission = "file:/var/log/app.log*", doc = [[Lines that were added to a file since the cursor; without one the last lines. Each line comes once,
however the file is rotated (renamed, or copied and emptied), as long as the rotated file is beside it, not compressed and
granted (`file:/var/log/app.log*`). Lines are cut at 8 KiB; bytes that are no UTF-8 become U+FFFD; at most 50,000 lines.]],
      params = { { "path", "string", "absolute" }, { "opts?", "selfmon.host.TailOptions" } },
      returns = returns("tail", "selfmon.host.Tail?"),
      example = [[
local host = require "selfmon.host"
local store = require "selfmon.store"
local new = assert(host.file.tail("/var/log/app.log", { cursor = store.get "app.log", lines = 0 }))
for _, line in ipairs(new.lines) do
  if line:find "ERROR" then print(line) end
end
store.set("app.log", new.cursor)]] },
  },
}
