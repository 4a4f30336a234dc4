-- Every script of tests/data/hostile that can end inside one process, each as the body of an inspection with
-- a timeout of 1 or 2 s: its true outcome, none has found a hole, and the next run is not disturbed. Those that end
-- only with their process are tests/e2e/test_hostile.py's.
local internal = require "selfmon.internal"

local DIR = "tests/data/hostile/"

-- Why a script is not run here.
local SKIPPED = {
  ["d04_pattern_exponential.lua"] = "one C call that does not return: the worker is killed (e2e)",
  ["d05_pattern_polynomial.lua"] = "one C call that does not return in time: the worker is killed",
  ["d13_pattern_trap_in_pcall.lua"] = "one C call that does not return: the worker is killed",
  ["d14_weak_metatable.lua"] = "corrupts the heap of Lua 5.4.4: the worker dies (e2e)",
  ["f05_close_chain.lua"] = "crashes Lua 5.4.4: the worker dies (e2e)",
  ["h10_http_ssrf.lua"] = "needs the address policy of the real engine, not a fake answer (unit tests of netpolicy and fetch)",
}

-- file -> outcomes that are right, words of the error or of the log, check of the result
local EXPECTED = {
  ["a01_dump_load.lua"] = { "ok failed" },
  ["a02_crafted_bytecode.lua"] = { "ok failed" },
  ["a04_load_reader_endless.lua"] = { "failed", "string expected, got function" },
  ["a05_load_env_real_globals.lua"] = { "ok failed" },
  ["a07_parser_depth.lua"] = { "ok failed" },
  ["a08_parser_long.lua"] = { "ok failed limit" },
  ["b01_debug_registry.lua"] = { "ok failed" },
  ["b02_debug_via_loaded.lua"] = { "ok failed" },
  ["b04_os_calls.lua"] = { "ok failed" },
  ["b05_io.lua"] = { "ok failed" },
  ["b07_string_metatable.lua"] = { "ok failed" },
  ["b08_library_poison.lua"] = { "ok failed" },
  ["b10_collectgarbage.lua"] = { "ok failed" },
  ["b11_gc_stop_garbage.lua"] = { "failed limit timeout" },
  ["c01_while_true.lua"] = { "timeout", "time limit of 1 s reached" },
  ["c02_goto_loop.lua"] = { "timeout" },
  ["c04_tailcall.lua"] = { "timeout" },
  ["c05_pcall_swallow.lua"] = { "timeout" },
  ["c06_xpcall_handler.lua"] = { "timeout" },
  ["c07_coroutine_swallow.lua"] = { "timeout" },
  ["c08_close_loop.lua"] = { "timeout" },
  ["c10_metamethod_loop.lua"] = { "timeout" },
  ["c11_coroutine_tree.lua"] = { "timeout" },
  ["d01_empty_rep.lua"] = { "ok" },
  ["d02_table_move.lua"] = { "timeout" },
  ["d07_gc_loop.lua"] = { "failed", "__gc is not available" },
  ["d08_gc_at_close.lua"] = { "failed", "__gc is not available" },
  ["d10_gc_calls_api.lua"] = { "failed", "__gc is not available" },
  ["d11_sort_lying.lua"] = { "ok failed timeout" },
  ["e01_rep_bomb.lua"] = { "limit", "memory limit of 32 MiB reached" },
  ["e02_concat_double.lua"] = { "limit", "memory limit" },
  ["e04_mem_error_swallow.lua"] = { "limit", "memory limit" },
  ["e05_coroutines_kept.lua"] = { "limit" },
  ["e07_unpack_many.lua"] = { "failed", "too many results to unpack" },
  ["e08_format_width.lua"] = { "ok failed" },
  ["e10_gsub_growth.lua"] = { "limit", "memory limit" },
  ["f01_lua_recursion.lua"] = { "failed", "stack overflow" },
  ["f02_c_recursion.lua"] = { "failed", "stack overflow" },
  ["f04_coroutine_nest.lua"] = { "ok failed" },
  ["f07_index_chain.lua"] = { "failed", "chain too long" },
  ["f08_vararg_stack.lua"] = { "failed limit timeout" },
  ["g01_error_tostring_loop.lua"] = { "failed", "(error object is a table value)" },
  ["g02_error_tostring_error.lua"] = { "failed", "(error object is a table value)" },
  ["g04_error_huge.lua"] = { "failed limit" },
  ["g05_error_forged_log.lua"] = { "failed" },
  ["g07_print_flood.lua"] = { "limit", "log limit of 256 KiB reached" },
  ["g08_print_tostring.lua"] = { "timeout" },
  ["h01_event_flood.lua"] = { "limit", "limit of 1000 events", function(r) assert.are.equal(1000, #r.events) end },
  ["h02_event_huge.lua"] = { "ok limit", "", function(r)
    for _, e in ipairs(r.events) do assert.is_true(#e.title <= 1024 and #e.message <= 65536) end
  end },
  ["h04_event_cycle.lua"] = { "ok limit", "", function(r) assert.are.same({}, r.events) end },
  ["h05_event_metamethods.lua"] = { "ok", "", function(r) assert.are.same({}, r.events) end },
  ["h07_event_in_places.lua"] = { "ok", "", function(r)
    local seen = {}
    for _, e in ipairs(r.events) do seen[e.title] = (seen[e.title] or 0) + 1 end
    assert.is_true(seen.sort > 0)
    seen.sort = nil
    assert.are.same({ coroutine = 1, ["gsub a"] = 1, ["gsub b"] = 1, close = 1 }, seen)
  end },
  ["h08_report_then_die.lua"] = { "timeout", "", function(r) assert.are.equal(1, #r.events) end },
  ["h11_http_header_injection.lua"] = { "ok", "", function(_, asked)
    for _, request in ipairs(asked) do
      assert.is_nil(request.url:find("[\r\n ]"))
      assert.is_nil(request.method:find("[^%u]"))
      for name, value in pairs(request.headers) do assert.is_nil((name .. value):find("[%c]")) end
      assert.is_nil(request.headers["Content-Length"])
      assert.is_nil(request.headers["Transfer-Encoding"])
    end
  end },
  ["h13_http_limits_args.lua"] = { "ok", "", function(_, asked)
    for _, request in ipairs(asked) do assert.is_true(request.timeout > 0 and request.timeout <= 3600) end
  end },
  ["h14_secret_leak.lua"] = { "failed" },
  ["h16_state_carry_over.lua"] = { "ok" },
  ["h17_userdata_misuse.lua"] = { "ok" },
}

local SCRIPT = [[
monitor{ title = "h", timeout = 2 }
function run(params, ctx)
  local http, sleep, log = require "selfmon.http", require "selfmon.time".sleep, require "selfmon.log"
  local secret = require "selfmon.secret"
  local report = function(e) return EventReporter():report(e) end
%s
end
]]

local function body_of(file)
  local f = assert(io.open(DIR .. file, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function run(body, timeout)
  local asked = {}
  local r = internal.run(body:byte() == 27 and body or SCRIPT:gsub("%%s", function() return body end), "run", {}, {
    file = "hostile.lua", timeout = timeout or 2, grants = { "secret:API_KEY" }, secrets = { API_KEY = "sk-1234567890" },
    http = function(request)
      asked[#asked + 1] = request
      return { status = 200, body = "ok" }
    end,
  })
  return r, asked
end

local files = {}
for line in io.lines(DIR .. "index.tsv") do
  local file, attack = line:match "^(%S+%.lua)\t([^\t]+)\t"
  if file then files[#files + 1] = { file, attack } end
end

describe("the index", function()
  it("names each script once, and each is run here or says why not", function()
    assert.is_true(#files > 50)
    for _, f in ipairs(files) do
      assert.is_truthy((EXPECTED[f[1]] ~= nil) ~= (SKIPPED[f[1]] ~= nil), f[1])
    end
  end)
end)

describe("a hostile script", function()
  for _, f in ipairs(files) do
    local file, want = f[1], EXPECTED[f[1]]
    if want then
      it(file .. ": " .. f[2], function()
        local r, asked = run(body_of(file), want[1] == "timeout" and 1 or 2) -- the same end, sooner
        local all = (r.error or "") .. (r.traceback or "") .. r.log .. require "cjson".encode(r.events)
        assert.is_truthy((" " .. want[1] .. " "):find(" " .. r.outcome .. " ", 1, true), r.outcome .. ": " .. tostring(r.error))
        if want[2] then assert.is_truthy(all:find(want[2], 1, true), all:sub(1, 500)) end
        if want[3] then want[3](r, asked) end
        for _, hole in ipairs { "ESCAPE", "ACCEPTED", "CONNECTED", "sk-1234567890" } do
          assert.is_nil(all:find(hole, 1, true), file .. ": " .. tostring(r.error))
        end
        assert.is_true(r.seconds < 3, r.seconds)
        if r.error then
          assert.is_true(#r.error <= 8 << 10)
          assert.is_nil(r.error:find "[%z\1-\8\10-\31\127]")
          assert.is_truthy(utf8.len(r.error))
        end
        assert.is_nil(r.log:find "[%z\1-\8\11-\31\127]")
        local next_run = run "assert(LEFTOVER == nil and ('x'):upper() == 'X' and #table.pack(1, 2) == 2 and tostring(1) == '1')"
        assert.are.equal("ok", next_run.outcome, next_run.error)
      end)
    end
  end
end)
