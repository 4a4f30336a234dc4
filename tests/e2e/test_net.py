"""selfmon.net in confined workers: everything works there, `net` narrows it, and a run that is stopped is rid of its
waits at once, without a loss to its worker."""
import contextlib
import json
import subprocess
import sys

from harness import ROOT, project, run_all, simple, wait_for, workers_of

HEAD = '  local net, cjson = require "selfmon.net", require "cjson"\n  local H = "127.0.0.1"\n'


@contextlib.contextmanager
def servers():
    process = subprocess.Popen([sys.executable, ROOT / "tests/fakes/net_servers.py"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(30)


def one(p, *args, **env):
    done = p.once("--json", *args, env=env)
    assert done.out and len(done.json()) == 1, done
    return done.json()[0]


def test_in_a_worker():
    """tcp, open, tls, STARTTLS, dns, ntp, many at once and a PEM file through the daemon, in a confined worker"""
    with servers() as s, project() as p:
        p.script("a.lua", simple(HEAD + f'''
  assert(assert(net.tcp("localhost", {s["banner"]}, {{ read = "line" }})).banner == "220 mail.example ready")
  local conn <close> = assert(net.open("localhost", {s["good"]}, {{ tls = {{ ca = "{s["ca"]}" }} }}))
  assert(conn:send("hello\\n") and conn:receive() == "hello")
  local trusted = assert(net.tls("localhost", {s["good"]}))
  assert(trusted.verified, trusted.error)
  local bad = assert(net.tls("localhost", {s["expired"]}))
  assert(bad.problems[1] == "expired" and bad.chain[1].subject == "CN=expired")
  assert(assert(net.tls("localhost", {s["smtp"]}, {{ starttls = "smtp" }})).verified)
  local a = assert(net.dns("a.test", "A", {{ server = H .. ":{s["dns"]}" }}))
  assert(#a.values == 2)
  assert(#assert(net.dns("big.test", "TXT", {{ server = H .. ":{s["dns"]}" }})).values[1] == 2000)
  local offset = assert(net.ntp(H, {{ port = {s["ntp"]} }})).offset
  assert(math.abs(offset - 100) < 10, offset)
  local list = {{}}
  for i = 1, 100 do list[i] = {{ "tcp", H, {s["echo"]}, {{ send = "n" .. i .. "\\n", read = "line", timeout = 20 }} }} end
  for i, res in ipairs(net.all(list)) do assert(res.banner == "n" .. i, cjson.encode(res)) end
  local _, message, code = net.tcp("no-such-host.invalid", 80)
  assert(code == "dns", message)'''))
        run = one(p, SSL_CERT_FILE=s["ca"])
        assert run["outcome"] == "ok", run


def test_narrowed():
    """`net` in the configuration holds for every function, also through names and for name servers"""
    with servers() as s, project() as p:
        p.write("selfmon.conf.lua", f'return {{ net = {{ allow = {{ "127.0.0.1:{s["echo"]}" }} }} }}')
        p.script("a.lua", simple(HEAD + f'''
  assert(net.tcp(H, {s["echo"]}))
  assert(net.tcp("localhost", {s["echo"]}))
  local function denied(_, message, code) assert(code == "denied", tostring(message)) end
  denied(net.tcp(H, {s["banner"]}))
  denied(net.open("localhost", {s["banner"]}))
  denied(net.tls("localhost", {s["good"]}))
  denied(net.dns("a.test", "A", {{ server = H .. ":{s["dns"]}" }}))
  denied(net.dns("a.test"))
  denied(net.ntp(H, {{ port = {s["ntp"]} }}))
  denied(net.ping(H))
  assert(net.all{{ {{ "tcp", H, {s["banner"]} }} }}[1].code == "denied")'''))
        run = one(p)
        assert run["outcome"] == "ok", run


def test_spellings():
    """with net = "public" no spelling of a loopback, link-local or metadata address is reached"""
    with servers() as s, project() as p:
        p.write("selfmon.conf.lua", 'return { net = "public" }')
        p.script("a.lua", simple(HEAD + f'''
  for _, host in ipairs{{ H, "127.1", "0", "0x7f000001", "2130706433", "017700000001", "::1", "[::1]", "::ffff:127.0.0.1", "::",
      "localhost", "LOCALHOST", "localhost.", "0.0.0.0", "169.254.169.254", "fd00:ec2::254", "0xa9fea9fe", "::ffff:a9fe:a9fe" }} do
    for _, port in ipairs{{ {s["echo"]}, {s["good"]} }} do
      for _, what in ipairs{{ "tcp", "tls", "open" }} do
        local res, message, code = net[what](host, port, {{ timeout = 2 }})
        assert(res == nil and (code == "denied" or code == "dns"), host .. ": " .. tostring(message))
      end
    end
    local res, message, code = net.ping(host, {{ count = 1 }})
    assert(res == nil and (code == "denied" or code == "dns"), host .. ": " .. tostring(message))
  end'''))
        run = one(p)
        assert run["outcome"] == "ok", run


WAITS = {
    "tcp": 'net.tcp(H, {silent}, {{ read = "line", timeout = 600 }})',
    "open": 'local conn <close> = assert(net.open(H, {silent})) conn:receive("line", 600)',
    "tls": 'net.tls(H, {silent}, {{ timeout = 600 }})',
    "dns": 'net.dns("never.evil.test", "A", {{ server = H .. ":{deaf}", timeout = 600 }})',
    "ntp": 'net.ntp(H, {{ port = {deaf}, timeout = 600 }})',
    "all": 'local l = {{}} for i = 1, 100 do l[i] = {{ "tcp", H, {silent}, {{ read = 1, timeout = 600 }} }} end net.all(l)',
}


def test_stopped():
    """a wait of ten minutes ends with the run's timeout, no pcall helps, and the worker serves on"""
    with servers() as s, project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1, report_failures = false }")
        for name, text in WAITS.items():
            p.script(f"{name}.lua", f'monitor{{ title = "T", timeout = "1s" }}\nfunction run()\n{HEAD}'
                     f"  pcall(function() {text.format(**s)} end)\n  pcall(function() {text.format(**s)} end)\nend\n")
        p.script("fine.lua", 'monitor{ title = "F", schedule = "@every 1s" }\nfunction run() end\n')
        daemon = p.daemon()
        wait_for(lambda: len({r["id"] for r in p.runs("-n", "1000") if r["outcome"]}) >= len(WAITS) + 1, "each has ended", 60)
        rows = {r["id"]: r for r in p.runs("-n", "1000")}
        assert all(rows[f"{name}.run"]["outcome"] == "timeout" for name in WAITS), rows
        workers = workers_of(daemon.pid)

        def fine():
            return sum(r["id"] == "fine.run" and r["outcome"] == "ok" for r in p.runs("-n", "1000"))
        before = fine()  # a worker that hangs is replaced within seconds of the deadline
        wait_for(lambda: fine() >= before + 3, "three more runs of another", 60)
        assert workers_of(daemon.pid) == workers and len(workers) >= 1, workers
        assert "does not return" not in daemon.out + daemon.err and "killed" not in daemon.err, daemon.out + daemon.err
        assert not any(r["outcome"] == "crashed" for r in p.runs("-n", "1000"))
        assert daemon.stop() == 0


def test_specs_reach_nothing():
    """neither a script under test nor its spec reaches a server, also one that is there"""
    with servers() as s, project() as p:
        call = f'require "selfmon.net".tcp("127.0.0.1", {s["echo"]})'
        p.script("a.lua", simple(f"  {call}"))
        p.script("a_spec.lua", f'''local t = require "selfmon.testing"
it("script", function() t.run "a.run" end)
it("spec", function()
  local res, message, code = {call}
  assert.are.equal("denied", code)
  assert.are.equal("specs reach no network: fake it with t.net", message)
end)''')
        done = p.run("test")
        assert "1 success / 0 failures / 1 error" in done.out, done
        assert f'unfaked net.tcp 127.0.0.1:{s["echo"]} (inspections/a.lua:3); add t.net("tcp 127.0.0.1:' in done.out, done


run_all(globals())
