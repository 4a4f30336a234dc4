"""What runs see of the machine's files and processes through the daemon, and the shipped inspections that use it."""
import os
import subprocess
import sys
import time

from harness import ROOT, project, run_all, simple, wait_for

GRANT = 'return {{ grant = {{ ["**"] = {{ {} }} }} }}\n'


def grant(p, *permissions):
    p.write("selfmon.conf.lua", GRANT.format(", ".join(f'"{g}"' for g in permissions)))


def one(p, *args, **env):
    """Runs what is there once and returns the only run."""
    done = p.once("--json", *args, env=env)
    assert done.out and len(done.json()) == 1, done
    run = done.json()[0]
    run["err"] = done.err
    return run


SECRET = "hunter2-is-secret"
HEAD = '  local host = require "selfmon.host"\n'


def test_files_through_the_daemon():
    """stat, read, list and tail of a granted file, in a confined worker"""
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir()
        (logs / "a.log").write_text("one\ntwo\nthree\n")
        (logs / "big.bin").write_bytes(b"x" * (3 << 20))
        grant(p, f"file:{logs}/**")
        p.script("a.lua", simple(HEAD + f'''
  local dir = "{logs}"
  local s = assert(host.file.stat(dir .. "/a.log"))
  assert(s.size == 14 and s.type == "file" and s.uid == {os.getuid()})
  assert(host.file.read(dir .. "/a.log", {{ offset = 4, max = 3 }}) == "two")
  local text, more = host.file.read(dir .. "/big.bin", {{ max = 2 << 20 }})
  assert(#text == 2 << 20 and more)
  local list = assert(host.file.list(dir, {{ pattern = "*.log" }}))
  assert(#list == 1 and list[1].path == dir .. "/a.log")
  local t = assert(host.file.tail(dir .. "/a.log", {{ lines = 2 }}))
  assert(table.concat(t.lines, "+") == "two+three")
  local nothing, err, code = host.file.read(dir .. "/none")
  assert(nothing == nil and code == "not_found" and err:find("No such file", 1, true))'''))
        run = one(p)
        assert run["outcome"] == "ok", run


def test_what_is_not_granted():
    """without a grant the call raises and names the line to add; links, FIFOs and devices lead nowhere"""
    with project() as p:
        logs = p.dir / "logs"
        logs.mkdir()
        (p.dir / "secret.txt").write_text("secret\n")
        (logs / "out").symlink_to(p.dir / "secret.txt")
        (logs / "folder").symlink_to(p.dir)
        os.mkfifo(logs / "fifo")
        p.script("a.lua", simple(HEAD + f'  host.file.read("{p.dir}/secret.txt")'))
        run = one(p)
        assert run["outcome"] == "failed", run
        assert f'permission "file:{p.dir}/secret.txt" is not granted to a.run: add it to grant in selfmon.conf.lua' \
            in run["error"], run
        grant(p, f"file:{logs}/**")
        p.script("a.lua", simple(HEAD + f'''
  for _, name in ipairs {{ "out", "folder/secret.txt" }} do
    for _, op in ipairs {{ "read", "stat", "tail" }} do
      local nothing, err, code = host.file[op]("{logs}/" .. name)
      assert(nothing == nil and code == "denied" and err:find("which is not granted", 1, true), err)
    end
  end
  local nothing, err, code = host.file.list("{logs}/folder")
  assert(nothing == nil and code == "denied", err)
  nothing, err, code = host.file.read("{logs}/fifo")
  assert(nothing == nil and code == "invalid" and err:find("is a fifo", 1, true), err)
  assert(not pcall(host.file.read, "{logs}/../secret.txt"))'''))
        run = one(p)
        assert run["outcome"] == "ok", run


def test_processes_through_the_daemon():
    """a child of ours is seen, its command line only with permission and with secrets masked"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { secrets = { pw = { env = "PW" } }, '
                                    'grant = { ["with/*"] = { "secret:pw", "processes:cmdline" } } }')
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "--", "-p" + SECRET])
        try:
            p.script("without/a.lua", simple(HEAD + f'''
  local list = assert(host.processes{{ pid = {child.pid} }})
  assert(#list == 1 and list[1].name:find("python", 1, true) and list[1].ppid == {os.getpid()})
  assert(list[1].cmdline == nil and list[1].uid == {os.getuid()} and list[1].rss > 0)
  assert(math.abs(require "selfmon.time".now() - list[1].started) < 3600)
  assert(#assert(host.processes()) > 2)
  host.processes{{ cmdline = true }}'''))
            run = one(p, PW=SECRET)
            assert run["outcome"] == "failed", run
            assert 'a.lua:10: permission "processes:cmdline" is not granted to without/a.run' in run["error"], run
            (p.dir / "inspections/without/a.lua").unlink()
            p.script("with/a.lua", simple(HEAD + f'''
  local list = assert(host.processes{{ pid = {child.pid}, match = "time.sleep(600)" }})
  assert(#list == 1 and list[1].cmdline:find("-p***", 1, true), list[1] and list[1].cmdline)
  assert(#host.processes{{ match = "hunter2" }} == 0)'''))
            run = one(p, PW=SECRET)
            assert run["outcome"] == "ok", run
        finally:
            child.kill()
            child.wait()


def test_dry_run_sees_files_too():
    """--dry-run reads what is granted as well"""
    with project() as p:
        (p.dir / "x.txt").write_text("hello")
        grant(p, f"file:{p.dir}/x.txt")
        p.script("a.lua", simple(HEAD + f'  assert(host.file.read("{p.dir}/x.txt") == "hello")'))
        done = p.once("--dry-run")
        assert done.code == 0, done


if __name__ == "__main__":
    run_all(globals())
