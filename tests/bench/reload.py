#!/usr/bin/python3
"""P10: from the save of one of 10,000 scripts until the next run has the new text; target p99 <= 500 ms.

usage: tests/bench/reload.py BUILD [FILES [SAVES]]
The clock starts before the rename and stops when the daemon tells that it reloaded, at which its schedule
has the new text. Beside it the same without inotify (a look each second), as the reference."""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
os.environ["SELFMON_LUA"] = str(build / "selfmon-lua")
files = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
saves = int(sys.argv[3]) if len(sys.argv) > 3 else 200

from harness import BINARY, clean_env, project, simple  # noqa: E402


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def name(n):
    return f"d{n % 100}/s{n}.lua"


def measure(p, command, count):
    """Milliseconds of each save, sorted, and seconds of CPU for each."""
    out = p.dir / "out"
    with open(out, "w") as to:
        daemon = subprocess.Popen(command, cwd=p.dir, stdout=to, stderr=subprocess.DEVNULL, env=clean_env())
    said = lambda: out.read_text()
    try:
        while f"loaded {files} inspections" not in said():
            time.sleep(0.05)
        rest = cpu(daemon.pid)
        while True:  # until the first runs of all of them are over
            time.sleep(1)
            now = cpu(daemon.pid)
            if now - rest < 0.1:
                break
            rest = now
        took, began = [], cpu(daemon.pid)
        with open(out, "rb") as tail:
            for k in range(count):
                tail.seek(0, os.SEEK_END)
                start = time.monotonic()
                p.script(name(k * 37 % files), simple(f"  return {start}"))
                while b"reloaded" not in tail.read():
                    time.sleep(0.001)
                took.append((time.monotonic() - start) * 1000)
                time.sleep(0.02)
        return sorted(took), (cpu(daemon.pid) - began) / count
    finally:
        daemon.terminate()
        daemon.wait()


def line(what, took, spent):
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
    print(f"{what:<28} {len(took):>4} saves   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   max {took[-1]:7.1f} ms   "
          f"CPU {spent * 1000:5.1f} ms each", flush=True)
    return p50, p99


with project() as project:
    for n in range(files):
        project.script(name(n), simple())
    _, p99 = line(f"{files} files, watched", *measure(project, [BINARY, "run", "inspections/"], saves))
    first = p99
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode == 0:
        polled = ["unshare", "-Ur", "sh", "-c",
                  'echo 0 > /proc/sys/user/max_inotify_watches && exec "$0" run inspections/', BINARY]
        _, p99 = line("the same, looking each second", *measure(project, polled, max(10, saves // 10)))
        print(f"ratio of the p99: {p99 / first:.1f}")
sys.exit(0 if first <= 500 else 1)
