-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.host

---Shares of all cores together, in percent.
---@class selfmon.host.Cpu
---@field percent number what is neither idle nor waiting for a disk
---@field user number
---@field system number
---@field iowait number idle, but for a disk that is waited for
---@field steal number given to other machines by the hypervisor
---@field idle number
---@field cores integer

---How long to measure.
---@class selfmon.host.CpuOptions
---@field interval number? seconds, 0.01 to 60; 0.2

---Memory and swap.
---@class selfmon.host.Memory
---@field total integer
---@field available integer what programs could have at once; caches count
---@field used integer total less available
---@field percent number used
---@field free integer
---@field buffers integer
---@field cached integer
---@field swap_total integer 0: there is none
---@field swap_used integer
---@field swap_percent number

---Load averages and tasks.
---@class selfmon.host.Load
---@field one number over one minute
---@field five number
---@field fifteen number
---@field running integer tasks that run or want to
---@field threads integer tasks in all
---@field cores integer

---A real local file system, each device once.
---@class selfmon.host.Disk
---@field mount string
---@field device string
---@field fstype string
---@field read_only boolean the file system itself, not this process's view of it
---@field size integer
---@field used integer
---@field available integer
---@field percent number as df says
---@field inodes integer? nil where they are not counted (btrfs, vfat)
---@field inodes_used integer?
---@field inodes_percent number?

---Something that is mounted.
---@class selfmon.host.Mount
---@field mount string
---@field device string
---@field fstype string
---@field options string
---@field read_only boolean
---@field kind "disk"|"remote"|"pseudo"

---Share of time, in percent, in which tasks were held up.
---@class selfmon.host.PressureLine
---@field avg10 number over 10 s
---@field avg60 number
---@field avg300 number
---@field total number seconds since the start

---Pressure on one resource.
---@class selfmon.host.PressureKind
---@field some selfmon.host.PressureLine? at least one task waited
---@field full selfmon.host.PressureLine? all of them did

---What tasks wait for (PSI).
---@class selfmon.host.Pressure
---@field cpu selfmon.host.PressureKind
---@field memory selfmon.host.PressureKind
---@field io selfmon.host.PressureKind

---A number with a ceiling.
---@class selfmon.host.Used
---@field used integer
---@field max integer
---@field percent number

---Transfers of a device since the machine started.
---@class selfmon.host.DiskIo
---@field device string
---@field reads integer
---@field writes integer
---@field read_bytes integer
---@field written_bytes integer
---@field read_seconds number waited for, by all
---@field write_seconds number
---@field busy_seconds number in which it had work
---@field in_flight integer now

---Counters of a network interface.
---@class selfmon.host.Interface
---@field name string
---@field rx_bytes integer received
---@field rx_packets integer
---@field rx_errors integer
---@field rx_dropped integer
---@field tx_bytes integer sent
---@field tx_packets integer
---@field tx_errors integer
---@field tx_dropped integer

---Which processes; what is left out does not matter.
---@class selfmon.host.ProcessFilter
---@field name string? of the program; * is any text, ? one character
---@field user string?
---@field uid integer?
---@field pid integer?
---@field ppid integer?
---@field state "running"|"sleeping"|"waiting"|"stopped"|"zombie"|"idle"|"dead"|nil
---@field kernel boolean? true: threads of the kernel only; false: none of them
---@field cmdline boolean? show command lines; needs processes:cmdline
---@field match string? plain text in the command line; needs processes:cmdline

---A process.
---@class selfmon.host.Process
---@field pid integer
---@field ppid integer
---@field name string of its program
---@field cmdline string? when asked for: at most 1 KiB, known secrets masked
---@field uid integer
---@field user string? nil when /etc/passwd does not name the uid
---@field state string as in the filter; waiting is waiting for a disk
---@field threads integer
---@field rss integer bytes in memory
---@field cpu_seconds number used so far
---@field started number Unix time
---@field kernel boolean a thread of the kernel

---Which sockets; what is left out does not matter.
---@class selfmon.host.SocketFilter
---@field protocol "tcp"|"udp"|nil
---@field state string? such as listen, established, time_wait, close_wait
---@field local_port integer?
---@field remote_port integer?

---A TCP or UDP socket.
---@class selfmon.host.Socket
---@field protocol "tcp"|"udp"
---@field family 4|6
---@field local_address string
---@field local_port integer
---@field remote_address string
---@field remote_port integer
---@field state string
---@field uid integer
---@field inode integer

---Sockets by state, each state also with 0, and `total`.
---@class selfmon.host.SocketCounts
---@field tcp table<string, integer>
---@field udp table<string, integer>

---What is known of a file.
---@class selfmon.host.Stat
---@field type "file"|"directory"|"link"|"fifo"|"socket"|"device"
---@field size integer
---@field mtime number last change of what it holds, Unix time
---@field atime number
---@field ctime number
---@field mode integer permissions
---@field uid integer
---@field gid integer
---@field inode integer
---@field device integer
---@field links integer
---@field name string? in a list
---@field path string? in a list

---Which files.
---@class selfmon.host.ListOptions
---@field pattern string? of names; * is any text, ? one character; *. Names that begin with a dot only when it does

---Which part of a file.
---@class selfmon.host.ReadOptions
---@field offset integer? first byte; 0
---@field max integer? bytes at most; 1 MiB, up to 8 MiB

---Where to begin, and how much.
---@class selfmon.host.TailOptions
---@field cursor table? where the last tail stopped; as it was given
---@field lines integer? without a cursor: how many of the last lines; 10, up to 10,000; 0 only makes a cursor
---@field start boolean? without a cursor: true begins at the first byte instead
---@field bytes integer? to read at most; 1 MiB, 1 KiB to 8 MiB

---New lines of a file.
---@class selfmon.host.Tail
---@field lines string[] complete ones, oldest first, without line ends
---@field cursor table for the next tail; selfmon.store keeps it
---@field partial string? a last line that is not complete yet; it comes again
---@field rotated boolean the file is another one, or was emptied
---@field truncated boolean there is more: call again with the cursor
---@field skipped string? a sentence: lines were lost in a rotation

---This machine, read-only. Sizes are bytes, lengths seconds, percents 0..100. Free for every script, but files
---and command lines need a permission. What it shows of processes and files is read by the daemon, which checks the permission
---again; nothing is written, ever.
---@class selfmon.host
local M = {}

---The machine's host name.
---```lua
---local host = require "selfmon.host"
---print(host.name())
---```
---@return string? hostname
---@return string? message
---@return string? code
---@nodiscard
function M.name() end

---Seconds since the machine started.
---```lua
---local host = require "selfmon.host"
---print(host.uptime())
---```
---@return number? uptime
---@return string? message
---@return string? code
---@nodiscard
function M.uptime() end

---How busy the CPU is, measured over an interval; the run waits for it.
---```lua
---local host = require "selfmon.host"
---local cpu = assert(host.cpu{ interval = 1 })
---print(cpu.percent, cpu.steal)
---```
---@param opts? selfmon.host.CpuOptions
---@return selfmon.host.Cpu? cpu
---@return string? message
---@return string? code
---@nodiscard
function M.cpu(opts) end

---Load averages.
---```lua
---local host = require "selfmon.host"
---local load = assert(host.load())
---print(load.five / load.cores)
---```
---@return selfmon.host.Load? load
---@return string? message
---@return string? code
---@nodiscard
function M.load() end

---Memory and swap.
---```lua
---local host = require "selfmon.host"
---local memory = assert(host.memory())
---print(memory.percent, memory.swap_percent)
---```
---@return selfmon.host.Memory? memory
---@return string? message
---@return string? code
---@nodiscard
function M.memory() end

---Real local file systems, by mount point; network and pseudo ones are left out.
---```lua
---local host = require "selfmon.host"
---for _, disk in ipairs(assert(host.disks())) do print(disk.mount, disk.percent) end
---```
---@return selfmon.host.Disk[]? disks
---@return string? message
---@return string? code
---@nodiscard
function M.disks() end

---Everything that is mounted.
---```lua
---local host = require "selfmon.host"
---for _, mount in ipairs(assert(host.mounts())) do print(mount.mount, mount.kind) end
---```
---@return selfmon.host.Mount[]? mounts
---@return string? message
---@return string? code
---@nodiscard
function M.mounts() end

---What tasks wait for; nil, message, "not_found" on kernels without PSI.
---```lua
---local host = require "selfmon.host"
---local pressure = host.pressure()
---if pressure then print(pressure.cpu.some.avg60) end
---```
---@return selfmon.host.Pressure? pressure
---@return string? message
---@return string? code
---@nodiscard
function M.pressure() end

---Open files of the whole machine and how many there may be.
---```lua
---local host = require "selfmon.host"
---print(assert(host.open_files()).percent)
---```
---@return selfmon.host.Used? open_files
---@return string? message
---@return string? code
---@nodiscard
function M.open_files() end

---Tracked connections; nil, message, "not_found" where none are tracked.
---```lua
---local host = require "selfmon.host"
---local c = host.conntrack()
---if c then print(c.used, c.max) end
---```
---@return selfmon.host.Used? conntrack
---@return string? message
---@return string? code
---@nodiscard
function M.conntrack() end

---Transfers of the block devices since the start.
---```lua
---local host = require "selfmon.host"
---for _, d in ipairs(assert(host.disk_io())) do print(d.device, d.busy_seconds) end
---```
---@return selfmon.host.DiskIo[]? disk_io
---@return string? message
---@return string? code
---@nodiscard
function M.disk_io() end

---Counters of the network interfaces.
---```lua
---local host = require "selfmon.host"
---for _, i in ipairs(assert(host.interfaces())) do print(i.name, i.rx_errors) end
---```
---@return selfmon.host.Interface[]? interfaces
---@return string? message
---@return string? code
---@nodiscard
function M.interfaces() end

---The processes that the filter lets through, by pid, as the daemon sees them. Above 10,000: nil, message, "limit".
---Command lines need the permission `processes:cmdline`, as they may hold what nobody should see; without it the call raises.
---```lua
---local host = require "selfmon.host"
---local zombies = assert(host.processes{ state = "zombie" })
---print(#zombies)
---```
---@param filter? selfmon.host.ProcessFilter
---@return selfmon.host.Process[]? processes
---@return string? message
---@return string? code
---@nodiscard
function M.processes(filter) end

---TCP and UDP sockets that the filter lets through. Above 10,000: nil, message, "limit".
---```lua
---local host = require "selfmon.host"
---for _, s in ipairs(assert(host.sockets{ state = "listen" })) do print(s.protocol, s.local_address, s.local_port) end
---```
---@param filter? selfmon.host.SocketFilter
---@return selfmon.host.Socket[]? sockets
---@return string? message
---@return string? code
---@nodiscard
function M.sockets(filter) end

---How many sockets are in which state, however many there are.
---```lua
---local host = require "selfmon.host"
---local counts = assert(host.socket_counts())
---print(counts.tcp.close_wait)
---```
---@return selfmon.host.SocketCounts? counts
---@return string? message
---@return string? code
---@nodiscard
function M.socket_counts() end

M.file = {}

---What is known of a file or directory. Needs the permission `file:PATH`. A link is followed
---when it leads to what is granted as well; else nil, message, "denied". "not_found": there is none.
---Needs a permission, in the example `file:/var/log/app.log`.
---```lua
---local host = require "selfmon.host"
---local stat = assert(host.file.stat("/var/log/app.log"))
---print(stat.size, stat.mtime)
---```
---@param path string absolute
---@return selfmon.host.Stat? stat
---@return string? message
---@return string? code
---@nodiscard
function M.file.stat(path) end

---Files of a directory, by name; links are not followed. Needs the permission `file:DIRECTORY/PATTERN`
---(or one that covers it); files that are not granted are left out. Above 10,000: nil, message, "limit".
---Needs a permission, in the example `file:/var/log/*`.
---```lua
---local host = require "selfmon.host"
---for _, file in ipairs(assert(host.file.list("/var/log", { pattern = "*.log" }))) do print(file.path, file.size) end
---```
---@param directory string absolute
---@param opts? selfmon.host.ListOptions
---@return selfmon.host.Stat[]? files
---@return string? message
---@return string? code
---@nodiscard
function M.file.list(directory, opts) end

---Bytes of a regular file (no FIFO, no device). Needs the permission `file:PATH`.
---Needs a permission, in the example `file:/var/log/app.log`.
---```lua
---local host = require "selfmon.host"
---local text, more = host.file.read("/var/log/app.log", { max = 4096 })
---print(text, more)
---```
---@param path string absolute
---@param opts? selfmon.host.ReadOptions
---@return string? text as it is; may be no UTF-8
---@return boolean|string more there is more behind it; or why not
---@return string? code
---@nodiscard
function M.file.read(path, opts) end

---Lines that were added to a file since the cursor; without one the last lines. Each line comes once,
---however the file is rotated (renamed, or copied and emptied), as long as the rotated file is beside it, not compressed and
---granted (`file:/var/log/app.log*`). Lines are cut at 8 KiB; bytes that are no UTF-8 become U+FFFD; at most 50,000 lines.
---Needs a permission, in the example `file:/var/log/app.log*`.
---```lua
---local host = require "selfmon.host"
---local store = require "selfmon.store"
---local new = assert(host.file.tail("/var/log/app.log", { cursor = store.get "app.log", lines = 0 }))
---for _, line in ipairs(new.lines) do
---  if line:find "ERROR" then print(line) end
---end
---store.set("app.log", new.cursor)
---```
---@param path string absolute
---@param opts? selfmon.host.TailOptions
---@return selfmon.host.Tail? tail
---@return string? message
---@return string? code
---@nodiscard
function M.file.tail(path, opts) end

return M
