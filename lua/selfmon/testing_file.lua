-- selfmon.host's file functions in a test: files that the test names; every other one is not there. A file whose
-- text is set anew grows when the new text begins with the old one, else it was rotated: the old one was read to
-- its end.
local clock = require "selfmon.testing_clock"

local M = { api = {} }

local files, inodes -- of the current test

function M.reset()
  files, inodes = {}, 0
end
M.reset()

local FIELDS = { text = "string", size = "number", mtime = "number", atime = "number", ctime = "number",
                 mode = "number", uid = "number", gid = "number", links = "number", type = "string",
                 error = "string", code = "string" }

--- Puts a file in place, for the runs of this test: a text, or `{ text=, size=, mtime=, … }` (as `host.file.stat`
--- answers; a size without a text is a file of that size), `{ error=, code= }` for one that cannot be looked at, or
--- false for one that is gone.
function M.api.file(path, what)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error(("t.file: expected an absolute path, got %s"):format(tostring(path)), 2)
  end
  if what == false then
    files[path] = nil
    return
  end
  if type(what) == "string" then what = { text = what } end
  if type(what) ~= "table" then
    error(("t.file: expected a text, a table of fields or false, got %s"):format(type(what)), 2)
  end
  for key, value in pairs(what) do
    if FIELDS[key] ~= type(value) then
      error(FIELDS[key] and ("t.file: %s: expected a %s, got %s"):format(key, FIELDS[key], type(value))
        or ("t.file: unknown field %s; known are text, size, mtime, atime, ctime, mode, uid, gid, links, type, error, code")
          :format(tostring(key)), 2)
    end
  end
  local old, f = files[path], { mtime = clock.now(), mode = 420, uid = 0, gid = 0, links = 1, type = "file", device = 1 }
  for key, value in pairs(what) do f[key] = value end
  f.text = f.text or ""
  f.size = math.tointeger(f.size or #f.text) or f.size
  if old and f.text:sub(1, #old.text) == old.text then
    f.inode = old.inode
  else
    inodes = inodes + 1
    f.inode = inodes
  end
  files[path] = f
end

local function stat(f)
  return { type = f.type, size = f.size, mtime = f.mtime, atime = f.atime or f.mtime, ctime = f.ctime or f.mtime,
           mode = f.mode, uid = f.uid, gid = f.gid, inode = f.inode, device = f.device, links = f.links }
end

-- As the daemon's glob for one name: * any text, ? one character.
local function matcher(pattern)
  local lua = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*+", ".*"):gsub("%?", utf8.charpattern)
  return "^" .. lua .. "$"
end

local function lines_of(text, from)
  local lines, at = {}, from
  for line, stop in text:gmatch("([^\n]*)\n()", from + 1) do
    lines[#lines + 1] = (line:gsub("\r$", ""))
    at = stop - 1
  end
  return lines, at
end

local ops = {}

function ops.stat(f)
  return stat(f)
end

function ops.read(f, args)
  local from, max = args.offset or 0, args.max or 1 << 20
  return { more = from + max < #f.text, size = f.size }, f.text:sub(from + 1, from + max)
end

function ops.tail(f, args)
  local cursor, rotated = args.cursor, false
  local from = 0
  if cursor then
    if math.type(cursor.offset) ~= "integer" or math.type(cursor.inode) ~= "integer" then
      return nil, "the cursor is not one that an earlier tail gave", "invalid"
    end
    rotated = cursor.inode ~= f.inode
    from = rotated and 0 or cursor.offset
  end
  local lines, at = lines_of(f.text, from)
  if not cursor and not args.start then
    local want = args.lines or 10
    if #lines > want then lines = table.move(lines, #lines - want + 1, #lines, 1, {}) end
  end
  local value = { count = #lines, rotated = rotated, truncated = false,
                  cursor = { inode = f.inode, device = f.device, offset = at, head = "", tail = "", inside = false } }
  if at < #f.text then value.partial = f.text:sub(at + 1) end
  return value, table.concat(lines, "\n")
end

local function list(args)
  local found, pattern = {}, matcher(args.pattern or "*")
  local there = false
  for path, f in pairs(files) do
    local dir, name = path:match "^(.*)/([^/]+)$"
    if dir == args.path or dir == "" and args.path == "/" then
      there = true
      if name:match(pattern) and (name:sub(1, 1) ~= "." or (args.pattern or ""):sub(1, 1) == ".") then
        if f.error then return nil, f.error, f.code or "io" end
        local entry = stat(f)
        entry.name, entry.path = name, path
        found[#found + 1] = entry
      end
    end
  end
  local itself = files[args.path]
  if itself and itself.error then return nil, itself.error, itself.code or "io" end
  if not there and not itself then return nil, ("cannot open %s: No such file or directory"):format(args.path), "not_found" end
  table.sort(found, function(a, b) return a.name < b.name end)
  return found
end

function M.ask(args)
  if args.op == "list" then return list(args) end
  local f = files[args.path]
  if not f then return nil, ("cannot open %s: No such file or directory"):format(args.path), "not_found" end
  if f.error then return nil, f.error, f.code or "io" end
  if args.op ~= "stat" and f.type ~= "file" then
    return nil, ("%s is a %s; only regular files are read"):format(args.path, f.type), "invalid"
  end
  return ops[args.op](f, args)
end

return M
