#!/usr/bin/python3
"""selfmon.exec with real programs: what they get, what becomes of hostile ones, that nothing is left of them, and
what ten stock monitoring plugins say."""
import json
import os
import pathlib

from harness import Skip, project, run_all, wait_for

PLUGINS = pathlib.Path("/usr/lib/nagios/plugins")
SECRET = "correct-horse-battery"

SCRIPT = '''
local exec = require "selfmon.exec"
local secret = require "selfmon.secret"
local json = require "cjson"
monitor{{ title = "x", schedule = "{schedule}", timeout = {timeout}, permissions = {{ "exec:/**" }},
  limits = {{ log = 4194304 }} }}
function run(params)
{body}
end
'''


def script(p, body, name="a/x.lua", timeout=60, schedule="0 0 1 1 *"):
    p.script(name, SCRIPT.format(body=body, timeout=timeout, schedule=schedule))


def configure(p, grants=("exec:/usr/**", "exec:/bin/*"), more=""):
    listed = ", ".join(f'"{g}"' for g in grants)
    p.write("selfmon.conf.lua", f'return {{ {more} grant = {{ ["a/**"] = {{ {listed} }} }} }}')


def lines(log):
    """What a script printed behind "J:"."""
    found = []
    for line in log:
        if line["text"].startswith("J:"):
            found.append(line["text"][2:])
    return found


def values(p, body, **kw):
    """Runs the body once; what it printed, decoded."""
    script(p, body, **kw)
    done = p.once("--json")
    assert done.json()[0]["outcome"] == "ok", done
    return [json.loads(line) for line in lines(p.runs("--log")[-1]["log"])]


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "XZ"
    except OSError:
        return False


def marked(mark):
    """Pids of processes whose arguments hold the mark."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes() and alive(entry.name):
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def test_what_a_program_gets():
    """a program gets its arguments as they are, a clean environment, no descriptor and no shell"""
    with project() as p:
        configure(p, more=f'secrets = {{ db = {{ env = "XX_DB" }} }},')
        body = '''
  local r = assert(exec.run{ cmd = "/usr/bin/printf", args = { "[%s]", "a b", "$HOME", "*", ";id", "" } })
  print("J:" .. json.encode(r.stdout))
  r = assert(exec.run{ cmd = "/usr/bin/env", env = { A = "b c", HOME = "/nowhere" } })
  print("J:" .. json.encode(r.stdout))
  r = assert(exec.run{ cmd = "/bin/sh", args = { "-c", "ls /proc/$$/fd; pwd; cat; exit 3" }, stdin = "in\\n", cwd = "/usr" })
  print("J:" .. json.encode{ r.code, r.stdout, r.stderr })'''
        script(p, body)
        done = p.once("--json", env={"SELFMON_SECRET": "x" * 40, "XX_DB": SECRET, "TZ": "UTC"})
        assert done.json()[0]["outcome"] == "ok", done
        got = [json.loads(line) for line in lines(p.runs("--log")[-1]["log"])]
        assert got[0] == "[a b][$HOME][*][;id][]", got
        env = dict(line.split("=", 1) for line in got[1].splitlines())
        assert set(env) == {"PATH", "LANG", "HOME", "TZ", "A"}, env
        assert env["A"] == "b c" and env["HOME"] == "/nowhere" and env["LANG"] == "C.UTF-8", env
        assert got[2] == [3, "0\n1\n2\n/usr\nin\n", ""], got


def test_secrets():
    """a secret reaches a program by environment and input, and nobody else: no argument, log, event or answer"""
    with project() as p:
        configure(p, ("exec:/usr/**", "exec:/bin/*", "secret:db"), 'secrets = { db = { env = "XX_DB" } },')
        seen = p.dir / "seen"
        script(p, f'''
  local r = assert(exec.run{{ cmd = "/bin/sh", args = {{ "-c", "printf %s $PW > {seen}; cat >> {seen}; echo $PW; echo $PW >&2;"
    .. "tr '\\\\0' ' ' < /proc/$$/cmdline >> {seen}; tr '\\\\0' ' ' < /proc/$PPID/cmdline >> {seen}" }},
    env = {{ PW = secret "db" }}, stdin = secret "db" }})
  print("J:" .. json.encode{{ r.stdout, r.stderr }})
  EventReporter():report{{ title = r.stdout, message = r.stderr, status = "info" }}
  print("J:" .. json.encode{{ pcall(exec.run, {{ cmd = "/bin/sh", args = {{ secret "db" }} }}) }})''')
        done = p.once("--json", env={"XX_DB": SECRET})
        assert done.json()[0]["outcome"] == "ok", done
        text = seen.read_text()
        assert text.startswith(SECRET * 2) and text.count(SECRET) == 2, text
        log = p.runs("--log")[0]["log"]
        first, second = [json.loads(line) for line in lines(log)]
        assert first == ["***\n", "***\n"], first
        assert second[0] is False and "a secret cannot be an argument" in second[1], second
        for place in (json.dumps(log), done.out, done.err, json.dumps(p.events())):
            assert SECRET not in place
        for path in p.dir.glob(".selfmon/*"):
            assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_grants():
    """without the grant nothing is run: the sentence names the line to add; patterns do not reach further"""
    with project() as p:
        configure(p, ("exec:/usr/bin/t*",))
        script(p, '  exec.run{ cmd = "/usr/bin/id" }')
        done = p.once("--json")
        assert done.code == 1, done
        run = done.json()[0]
        assert ('permission "exec:/usr/bin/id" is not granted to a/x.run: add it to grant in selfmon.conf.lua'
                in run["error"]), run
        got = values(p, '''
  for _, cmd in ipairs{ "/usr/bin/true", "/usr/bin/../bin/id", "/usr/bin/t/../id", "/usr/bin//true", "usr/bin/true",
    "/bin/true", "/usr/bin/TRUE", "/usr/bin/true\\n" } do
    local ok, r, message = pcall(exec.run, { cmd = cmd })
    print("J:" .. json.encode(ok and (r and "ran" or message) or r))
  end''')
        assert got[0] == "ran" and "ran" not in got[1:], got
        assert all('"."' in g for g in got[1:3]) and "empty parts" in got[3] and "absolute" in got[4], got
        assert all("is not granted" in g for g in got[5:7]) and "control" in got[7], got


def test_links_and_files():
    """a link is run by the name that was granted; what everybody may change, or is no program, is refused"""
    with project() as p:
        tools = p.dir / "tools"
        tools.mkdir()
        for name, text, mode in (("good", "#!/bin/sh\necho good\n", 0o755), ("open", "#!/bin/sh\necho no\n", 0o757),
                                 ("plain", "no", 0o644), ("lost", "#!/no/such/thing\n", 0o755)):
            (tools / name).write_text(text)
            (tools / name).chmod(mode)
        (tools / "link").symlink_to("good")
        configure(p, (f"exec:{tools}/*",))
        got = values(p, f'''
  for _, name in ipairs{{ "good", "link", "open", "plain", "lost", "none" }} do
    local r, message, code = exec.run{{ cmd = "{tools}/" .. name }}
    print("J:" .. json.encode{{ r and r.stdout or message, code }})
  end''')
        assert got[0] == ["good\n"] and got[1] == ["good\n"], got
        assert "everybody may change it" in got[2][0] and got[2][1] == "denied", got
        assert got[3][1] == "denied" and "interpreter" in got[4][0] and got[5][1] == "not_found", got


def test_hostile_programs():
    """one that floods, forks, ignores SIGTERM, or leaves children behind is ended, with all that came of it"""
    with project() as p:
        configure(p)
        mark = f"{os.getpid()}7531"
        got = values(p, f'''
  local function sh(text, timeout)
    local r, message, code = exec.run{{ cmd = "/bin/bash", args = {{ "-c", text }}, timeout = timeout or 60 }}
    print("J:" .. json.encode{{ r and {{ code = r.code, signal = r.signal, n = #r.stdout, truncated = r.truncated,
      left = r.left }} or message, code }})
  end
  sh("bomb() {{ bomb | bomb & }}; bomb; wait; sleep {mark}")
  sh("while :; do setsid sleep {mark} & done")
  sh("yes {mark}")
  sh("head -c 1500000 /dev/zero; exit 5")
  sh("trap '' TERM; while :; do sleep 0.1; done # {mark}", 0.3)
  sh("sleep {mark} & echo started", 60)
  sh("(setsid bash -c 'trap \\"\\" TERM HUP; sleep {mark}' &); exit 0")
  sh("kill -9 $$")''')
        assert "more than 256 processes" in got[0][0] and got[0][1] == "limit", got
        assert "more than 256 processes" in got[1][0] and got[1][1] == "limit", got
        assert "more than 64 MiB" in got[2][0] and got[2][1] == "too_large", got
        assert got[3] == [{"code": 5, "n": 1 << 20, "truncated": True, "left": 0}], got
        assert "did not end within 0.3 s" in got[4][0] and got[4][1] == "timeout", got
        assert got[5][0]["code"] == 0 and got[5][0]["left"] == 1 and got[5][0]["n"] == 8, got
        assert got[6][0]["code"] == 0 and got[6][0]["left"] >= 1, got
        assert got[7][0]["signal"] == 9 and "code" not in got[7][0], got
        wait_for(lambda: not marked(mark), "every process to be gone", 30)


def test_the_run_ends_first():
    """when the run is out of time its program is ended"""
    with project() as p:
        configure(p)
        mark = f"{os.getpid()}7532"
        script(p, f'  exec.run{{ cmd = "/bin/sh", args = {{ "-c", "sleep {mark}" }}, timeout = 3000 }}', timeout=2)
        done = p.once("--json")
        assert done.json()[0]["outcome"] == "timeout", done
        wait_for(lambda: not marked(mark), "the program to be gone", 30)


def test_daemon_killed():
    """a daemon that is killed leaves no program behind"""
    with project() as p:
        configure(p)
        mark = f"{os.getpid()}7533"
        script(p, f'  exec.run{{ cmd = "/bin/bash", args = {{ "-c", "trap \'\' TERM; sleep {mark} & setsid sleep {mark} & '
               f'while :; do sleep {mark}; done" }}, timeout = 3000 }}', timeout=3000)
        daemon = p.daemon()
        wait_for(lambda: len(marked(mark)) >= 4, "the program and its children", 60)
        daemon.kill()
        wait_for(lambda: not marked(mark), "all of them to be gone", 60)


def test_stop_and_status():
    """the daemon counts its programs, is not held up by them, and ends them when it stops"""
    with project() as p:
        configure(p)
        mark = f"{os.getpid()}7534"
        for i in range(40):
            script(p, f'  exec.run{{ cmd = "/bin/sleep", args = {{ "{mark}" }}, timeout = 3000 }}', f"a/x{i}.lua", 3000)
        daemon = p.daemon()

        def pool():
            done = p.run("status", "--json")
            return done.json().get("exec") if done.code == 0 else None
        wait_for(lambda: (pool() or {}).get("running") == 32 and pool()["waiting"] == 8, "32 programs and 8 that wait", 90)
        assert pool()["started"] == 32, pool()
        said = p.run("status")
        assert "programs: 32 running, 8 waiting; 32 started, 0 failed, 0 ended at a limit" in said.out, said
        assert daemon.stop(seconds=60) == 0, daemon.err
        wait_for(lambda: not marked(mark), "all of them to be gone", 60)


TEN = [
    ("check_dummy", ["1", "said so"], "warning", "WARNING: said so", []),
    ("check_disk", ["-w", "0%", "-c", "0%", "-p", "/"], "ok", "DISK OK", ["/"]),
    ("check_load", ["-w", "9999,9999,9999", "-c", "9999,9999,9999"], "ok", "load average", ["load1", "load5", "load15"]),
    ("check_procs", ["-c", "1:100000"], "ok", "PROCS OK", ["procs"]),
    ("check_users", ["-w", "1000", "-c", "1000"], "ok", "USERS OK", ["users"]),
    ("check_swap", ["-n", "ok", "-w", "2", "-c", "1"], "ok", "SWAP OK", ["swap"]),
    ("check_tcp", ["-H", "127.0.0.1", "-p", "{port}"], "ok", "TCP OK", ["time"]),
    ("check_http", ["-I", "127.0.0.1", "-p", "{port}", "-u", "/"], "ok", "HTTP OK", ["time", "size"]),
    ("check_file_age", ["-w", "1", "-c", "2", "-f", "{old}"], "critical", "FILE_AGE CRITICAL", ["age", "size"]),
    ("check_ssh", ["-p", "{closed}", "127.0.0.1"], "critical", "onnect", []),
    ("check_tcp", ["-H", "127.0.0.1", "-p", "{closed}"], "critical", "onnect", []),
    ("check_nagios", ["-F", "/no/such/file", "-C", "x", "-e", "5"], "critical", "status log", []),
    ("check_disk", ["--no-such-option"], "unknown", "", []),
]


def test_stock_plugins():
    """ten stock plugins of Debian's monitoring-plugins: status, text and performance data"""
    import http.server
    import socket
    import threading
    if not (PLUGINS / "check_dummy").exists():
        raise Skip("monitoring-plugins-basic is not installed")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))  # nobody listens there
    try:
        with project() as p:
            old = p.write("old", "x")
            os.utime(old, (1000000000, 1000000000))
            places = {"port": server.server_address[1], "closed": taken.getsockname()[1], "old": old}
            configure(p, (f"exec:{PLUGINS}/*",))
            calls = ", ".join('{ cmd = "%s/%s", args = { %s } }' % (
                PLUGINS, name, ", ".join('"%s"' % a.format(**places) for a in args)) for name, args, *_ in TEN)
            got = values(p, f'''
  for _, call in ipairs{{ {calls} }} do
    call.timeout = 30
    local r, message = exec.nagios(call)
    print("J:" .. json.encode(r and {{ r.status, r.text, r.perfdata, #r.bad_perfdata }} or {{ "none", message }}))
  end''')
            assert len(got) == len(TEN), got
            for (name, args, status, text, labels), said in zip(TEN, got):
                assert said[0] == status and text in said[1], (name, args, said)
                assert [d["label"] for d in said[2] or []] == labels and (said[3] == 0 or status == "unknown"), (name, said)
            disk, load, time = got[1][2][0], got[2][2], got[6][2][0]
            assert disk["unit"] in ("B", "MB", "MiB") and disk["value"] > 0 and disk["max"] > disk["value"], disk
            assert load[0]["warn"] == {"text": "9999.000", "low": 0, "high": 9999, "inside": False}, load
            assert time["unit"] == "s" and 0 < time["value"] < 30 and time["min"] == 0, time
            assert got[3][2][0]["crit"]["low"] == 1 and got[3][2][0]["crit"]["high"] == 100000, got[3]
    finally:
        server.shutdown()
        taken.close()


if __name__ == "__main__":
    run_all(globals())
