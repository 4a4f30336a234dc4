"""What one script cannot do to another, in a real daemon: quarantine, penalty lane, damped crash loops,
a pulse for workers; what a lack of processes or descriptors, storms of signals and stopped processes do."""
import os
import pathlib
import re
import resource
import signal
import subprocess
import time

from harness import project, report, run_all, simple, wait_for, workers_of

HOSTILE = pathlib.Path(__file__).resolve().parent.parent / "data" / "hostile"
CRASH = (HOSTILE / "f05_close_chain.lua").read_text()
HANG = (HOSTILE / "d04_pattern_exponential.lua").read_text()
LOOP = "  local n = 0\n  while true do n = n + 1 end"
NEVER = "0 0 1 1 *"


def script(body, schedule="@every 1s", timeout=1, more=""):
    return (f'monitor{{ title = "T", timeout = {timeout}, schedule = "{schedule}"{more} }}\n'
            f"function run(params, ctx)\n{body}\nend\n")


def ask(p, command):
    """What a reader prints, once the daemon is ready to answer."""
    done = wait_for(lambda: (lambda got: got if got.code == 0 else None)(p.run(command, "--json")), command, 30)
    return done.json()


def status(p):
    return ask(p, "status")


def begin(p, loaded):
    """A daemon that has loaded its inspections and begun."""
    daemon = p.daemon()
    daemon.wait_line(f"loaded {loaded} inspection", seconds=30)
    return daemon


def item(p, id):
    """The inspection of `status`, checked to be the same in `list`."""
    found = next((i for i in status(p)["inspections"] if i["id"] == id), {})
    listed = next((i for i in ask(p, "list") if i.get("id") == id), {})
    if found.get("condition") == listed.get("condition"):
        assert found.get("condition_why") is None or listed["condition_why"], (found, listed)
        return found
    return {}


def condition(p, id):
    return item(p, id).get("condition")




def zombies(pid):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] == "Z":
                found.append(int(entry.name))
    return found


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ok_runs(p, id):
    return [r for r in p.runs("--id", id) if r["outcome"] == "ok"]


def held(p, id):
    """How many slots the penalty lane did not give it."""
    return sum(g["count"] for g in p.runs("--gaps", "--id", id) if "penalty lane" in g["reason"])


def check_ledger(p, id):
    """Of an inspection of every second: each slot ran once, or lies in one gap. Asked again while the two answers
    are not of one moment."""
    def whole():
        gaps = p.runs("--gaps", "--id", id)
        ran = [r["slot"] for r in p.runs("--id", id, "-n", "10000") if r["slot"] is not None and r["attempt"] == 1]
        for g in gaps:
            ran += range(g["slot"], g["slot"] + g["count"])
        return sorted(ran) == list(range(min(ran), max(ran) + 1))
    wait_for(whole, f"a ledger of {id} without holes and doubles: {p.runs('--gaps', '--id', id)}", 10)


def test_quarantine():
    """an inspection that crashes alone, or hangs in C, is quarantined; a restart keeps it, an edit ends it"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("crash.lua", script(CRASH, "@every 2s"))
        p.script("hang.lua", script(HANG, "@every 2s"))
        p.script("good.lua", simple(schedule="@every 1s"))
        d = begin(p, 3)
        for id, why in (("crash.run", "its worker process "), ("hang.run", "did not return from a call")):
            got = wait_for(lambda: (lambda i: i if i.get("condition") else None)(item(p, id)), id, 40)
            assert got["condition"] in ("quarantined", "penalised"), got
            assert why in got["condition_why"] and got["condition_since"].endswith("Z"), got
        assert condition(p, "good.run") is None
        text = p.run("status").out
        assert re.search("(quarantined|penalised) +since 20", text), text
        assert d.stop() == 0, d.err
        without = condition(p, "crash.run")
        assert without in ("quarantined", "penalised"), without
        d = begin(p, 3)
        assert condition(p, "crash.run") == without and condition(p, "hang.run")
        p.script("crash.lua", simple("  return -- mended", schedule="@every 1s"))
        wait_for(lambda: ok_runs(p, "crash.run"), "the mended script runs", 30)
        assert condition(p, "crash.run") is None and condition(p, "hang.run")
        (p.dir / "inspections" / "hang.lua").unlink()
        wait_for(lambda: not any(i["id"] == "hang.run" for i in status(p)["inspections"]), "it is gone", 30)
        wait_for(lambda: status(p)["conduct"]["quarantined"] == 0, "it is forgotten", 30)
        assert d.stop() == 0, d.err


def test_penalty_lane():
    """three time limits in a row: skipped with a sentence, one row a slot, one log line; --once still runs it,
    niced, in the lane's worker; an edit leads out"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("loop.lua", script(LOOP))
        p.script("tick.lua", simple(schedule="@every 1s"))
        p.script("hangs.lua", script('  require "selfmon.time".sleep(60)'))
        d = begin(p, 3)
        got = wait_for(lambda: (lambda i: i if i.get("condition") else None)(item(p, "loop.run")), "the lane", 60)
        assert got["condition"] == "penalised" and got["condition_until"] > got["condition_since"], got
        assert got["condition_why"].startswith("hit its time limit 3 times in a row; the last: inspections/loop.lua:"), got
        assert "see timeout" in got["condition_why"], got
        until = got["condition_until"][11:19]
        wait_for(lambda: held(p, "loop.run") >= 3, "three slots that the lane did not give it", 30)
        rows = [g for g in p.runs("--gaps", "--id", "loop.run") if "lane" in g["reason"]]
        assert [(g["outcome"], g["reason"]) for g in rows] == [
            ("skipped", f"in the penalty lane until {until}: hit its time limit 3 times in a row")], rows
        assert len([r for r in p.runs("--id", "loop.run") if r["outcome"] == "timeout"]) == 3
        check_ledger(p, "loop.run")
        assert d.err.count("penalty lane") + d.out.count("penalty lane") == 1, d.out + d.err
        # A target that hangs is no misbehaviour.
        wait_for(lambda: len([r for r in p.runs("--id", "hangs.run") if r["outcome"] == "timeout"]) >= 4,
                 "four timeouts that were spent waiting", 30)
        assert condition(p, "hangs.run") is None
        once = p.once("--json", "-k", "loop.run").json()[0]
        assert once["outcome"] == "timeout", once
        assert any(w["lane"] for w in status(p)["workers"]["workers"]), status(p)["workers"]
        lane_pid = next(w["pid"] for w in status(p)["workers"]["workers"] if w["lane"])
        for task in pathlib.Path(f"/proc/{lane_pid}/task").iterdir():
            assert (task / "stat").read_text().rsplit(")", 1)[1].split()[16] == "19", task
        assert status(p)["conduct"]["penalised"] == 1 and status(p)["conduct"]["held"] >= 3, status(p)["conduct"]
        before = len(ok_runs(p, "tick.run"))
        p.script("loop.lua", simple("  return", schedule="@every 1s"))
        wait_for(lambda: len(ok_runs(p, "loop.run")) >= 2, "the mended script runs at once", 30)
        assert condition(p, "loop.run") is None
        wait_for(lambda: len(ok_runs(p, "tick.run")) > before, "the other one ran on", 30)
        assert {r["outcome"] for r in p.runs("--id", "tick.run") if r["outcome"]} == {"ok"}
        assert "still shows others" not in d.err + d.out, d.err  # of the embedded platform
        assert d.stop() == 0, d.err


def nices(pid):
    """nice value -> number of threads of a process."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            value = int((task / "stat").read_text().rsplit(")", 1)[1].split()[16])
        except OSError:
            continue
        found[value] = found.get(value, 0) + 1
    return found


def test_hogs_are_nice():
    """a run, or a load, over 10 ms of CPU gets nice 19, and its thread ends: the next run does not inherit it"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("hog.lua", script("  local t = require 'selfmon.time'\n  local until_ = t.monotonic() + 3\n"
                                   "  while t.monotonic() < until_ do end", NEVER, 30, ", first_run = true"))
        d = begin(p, 1)
        pid = wait_for(lambda: workers_of(d.pid), "a worker")[0]
        wait_for(lambda: nices(pid).get(19) == 1, "the hog is nice", 30)
        assert nices(pid)[0] >= 2, nices(pid)  # reader, watchdog: they must not wait for hogs
        wait_for(lambda: ok_runs(p, "hog.run"), "the hog ends", 60)
        wait_for(lambda: 19 not in nices(pid), "its thread ends", 20)
        p.script("slow.lua", "local n = 0\nfor i = 1, 3e7 do n = n + i end\n" + simple())
        wait_for(lambda: any(i["id"] == "slow.run" for i in status(p)["inspections"]), "the slow load", 30)
        wait_for(lambda: 19 not in nices(pid), "its thread ends", 20)
        assert workers_of(d.pid) == [pid]
        assert d.stop() == 0, d.err


def test_crash_loop_is_damped():
    """a script that crashes its worker each second costs a few processes, not one a second for ever"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("crash.lua", script(CRASH, more=", retry = false"))
        d = begin(p, 1)
        wait_for(lambda: condition(p, "crash.run") == "penalised", "the lane", 60)
        wait_for(lambda: status(p)["workers"]["running"] == 0, "nothing runs", 30)
        before = status(p)["workers"]["totals"]["spawned"]
        n = held(p, "crash.run")
        wait_for(lambda: held(p, "crash.run") >= n + 5, "five slots later", 30)
        assert status(p)["workers"]["totals"]["spawned"] <= before + 1, status(p)["workers"]
        assert before <= 10, before
        print(f"# {before} worker processes until it is held, then none for five slots")
        assert d.stop() == 0, d.err


def test_workers_killed_from_outside():
    """workers killed with -9 again and again: replaced at once, every run ends ok, the log counts them"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 2 }")
        for n in range(4):
            p.script(f"g{n}.lua", simple('  require "selfmon.time".sleep(0.3)', schedule="@every 1s"))
        d = begin(p, 4)
        wait_for(lambda: len(workers_of(d.pid)) == 2, "two workers")
        for _ in range(20):
            # Not those of repeats: what dies twice is `crashed`.
            victims = wait_for(lambda: [w["pid"] for w in status(p)["workers"]["workers"] if not w["alone"]], "a worker")
            try:
                os.kill(victims[0], signal.SIGKILL)
            except ProcessLookupError:
                continue
            wait_for(lambda: victims[0] not in workers_of(d.pid), "it is buried")
        wait_for(lambda: len(workers_of(d.pid)) >= 2, "two workers again")
        before = {n: len(ok_runs(p, f"g{n}.run")) for n in range(4)}
        wait_for(lambda: all(len(ok_runs(p, f"g{n}.run")) >= before[n] + 2 for n in range(4)), "all run on", 30)
        bad = [r for r in p.runs() if r["outcome"] not in ("ok", "cancelled", "skipped", None)]
        assert not bad, bad
        assert {condition(p, f"g{n}.run") for n in range(4)} == {None}
        assert not zombies(d.pid)
        told = [line for line in (d.out + d.err).splitlines() if "job" in line and "lost" in line]
        assert len(told) == 1, told
        totals = status(p)["workers"]["totals"]
        assert totals["died"] >= 15, totals
        assert d.stop() == 0, d.err


def test_stopped_worker_and_stopped_daemon():
    """a SIGSTOPped worker is found out and its run repeated; a SIGSTOPped daemon kills nobody"""
    with project() as p, project() as q:
        for one in (p, q):
            one.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("long.lua", script('  if ctx.attempt == 1 then require "selfmon.time".sleep(100) end', NEVER, 120,
                                    ", first_run = true"))
        q.script("long.lua", script('  require "selfmon.time".sleep(21)', NEVER, 60, ", first_run = true"))
        dp, dq = begin(p, 1), begin(q, 1)
        for one in (p, q):
            wait_for(lambda: status(one)["workers"]["running"] == 1, "the long run", 30)
        healthy = workers_of(dq.pid)
        stopped = workers_of(dp.pid)[0]
        os.kill(stopped, signal.SIGSTOP)
        os.kill(dq.pid, signal.SIGSTOP)
        began = time.monotonic()
        wait_for(lambda: stopped not in workers_of(dp.pid), "the silent worker is ended", 60)
        took = time.monotonic() - began
        assert took > 12, took
        wait_for(lambda: ok_runs(p, "long.run"), "its run was repeated", 30)
        assert [(r["outcome"], r["attempt"]) for r in p.runs()] == [("cancelled", 1), ("ok", 2)], p.runs()
        assert "did not answer for" in p.runs()[0]["error"], p.runs()[0]
        wait_for(lambda: time.monotonic() > began + 18, "the daemon was stopped for 18 s", 30)
        os.kill(dq.pid, signal.SIGCONT)
        wait_for(lambda: ok_runs(q, "long.run"), "the long run of the stopped daemon", 60)
        assert [r["attempt"] for r in q.runs()] == [1], q.runs()
        assert workers_of(dq.pid) == healthy
        totals = status(q)["workers"]["totals"]
        assert totals["died"] == 0 and sum(totals["killed"].values()) == 0, totals
        assert dp.stop() == 0 and dq.stop() == 0, dp.err + dq.err


def test_no_descriptors():
    """no descriptors left when a worker must be replaced: no busy loop, and runs again when there are some"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("tick.lua", simple(schedule="@every 1s"))
        d = begin(p, 1)
        wait_for(lambda: ok_runs(p, "tick.run"), "the first run")
        soft, hard = resource.prlimit(d.pid, resource.RLIMIT_NOFILE)
        used = max(int(f) for f in os.listdir(f"/proc/{d.pid}/fd"))
        wait_for(lambda: workers_of(d.pid), "a worker")
        resource.prlimit(d.pid, resource.RLIMIT_NOFILE, (3, hard))
        cpu, began = cpu_seconds(d.pid), time.monotonic()
        for pid in workers_of(d.pid):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "did not start" in d.err + d.out, "the failure is told", 30)
        wait_for(lambda: time.monotonic() > began + 3, "three seconds")
        spent = cpu_seconds(d.pid) - cpu
        assert spent < 0.3 * (time.monotonic() - began), spent
        assert not zombies(d.pid) and d.process.poll() is None
        resource.prlimit(d.pid, resource.RLIMIT_NOFILE, (soft, hard))
        before = len(ok_runs(p, "tick.run"))
        wait_for(lambda: len(ok_runs(p, "tick.run")) >= before + 3, "it runs again", 60)
        assert used < soft
        print(f"# {spent:.2f} s of CPU in 3 s without descriptors")
        assert status(p)["workers"]["totals"]["spawn_failed"] >= 1
        check_ledger(p, "tick.run")
        assert d.stop() == 0, d.err


def test_no_processes():
    """fork fails with EAGAIN for a while: told, no busy loop, slots are recorded, runs again when it works"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("tick.lua", simple(schedule="@every 1s"))
        d = begin(p, 1)
        wait_for(lambda: ok_runs(p, "tick.run"), "the first run")
        # Its main thread alone: threads of others are made by calls of the same name.
        tracer = subprocess.Popen(["strace", "-qqq", "-o", os.devnull, "-e", "trace=clone3,clone,vfork,fork", "-e",
                                   "inject=clone3,clone,vfork,fork:error=EAGAIN", "-p", str(d.pid)])
        try:
            wait_for(lambda: f"TracerPid:\t{tracer.pid}\n" in pathlib.Path(f"/proc/{d.pid}/status").read_text(), "strace")
            cpu, began = cpu_seconds(d.pid), time.monotonic()
            for pid in workers_of(d.pid):
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: "Resource temporarily unavailable; next try in" in d.err + d.out, "the failure is told", 30)
            wait_for(lambda: time.monotonic() > began + 4, "four seconds")
            spent = cpu_seconds(d.pid) - cpu
            assert spent < 0.3 * (time.monotonic() - began), spent
            assert not workers_of(d.pid) and d.process.poll() is None
            print(f"# {spent:.2f} s of CPU in 4 s without processes")
        finally:
            tracer.terminate()
            tracer.wait()
        before = len(ok_runs(p, "tick.run"))
        wait_for(lambda: len(ok_runs(p, "tick.run")) >= before + 3, "it runs again", 60)
        check_ledger(p, "tick.run")
        assert d.stop() == 0, d.err


def test_signal_storm():
    """5 s of CHLD, HUP, USR1, USR2 and PIPE while runs come and go: no zombie, no lost child, no lost run"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 2 }")
        for n in range(3):
            p.script(f"g{n}.lua", simple('  require "selfmon.time".sleep(0.2)', schedule="@every 1s"))
        p.script("crash.lua", script(CRASH, "@every 1s"))
        d = begin(p, 4)
        wait_for(lambda: ok_runs(p, "g0.run"), "the first run")
        end, sent = time.monotonic() + 5, 0
        while time.monotonic() < end:
            for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
                os.kill(d.pid, number)
                sent += 1
            time.sleep(0.001)
        print(f"# {sent} signals")
        assert d.process.poll() is None, d.err
        before = {n: len(ok_runs(p, f"g{n}.run")) for n in range(3)}
        wait_for(lambda: all(len(ok_runs(p, f"g{n}.run")) >= before[n] + 2 for n in range(3)), "all run on", 30)
        wait_for(lambda: not zombies(d.pid), "no zombies")
        known = {w["pid"] for w in status(p)["workers"]["workers"]}
        wait_for(lambda: set(workers_of(d.pid)) == {w["pid"] for w in status(p)["workers"]["workers"]}, known)
        assert {r["outcome"] for r in p.runs("--id", "g*.run")} <= {"ok", "cancelled", "skipped", None}
        assert d.stop() == 0, d.err


def test_quit_tells():
    """SIGQUIT: what every worker is doing, a line each, with ids and ages"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("long.lua", script('  require "selfmon.time".sleep(30)', NEVER, 60, ", first_run = true"))
        d = begin(p, 1)
        wait_for(lambda: status(p)["workers"]["running"] == 1, "the long run", 30)
        d.process.send_signal(signal.SIGQUIT)
        said = wait_for(lambda: d.err + d.out if "under way of at most" in d.err + d.out else None, "its answer")
        assert f"worker {workers_of(d.pid)[0]} (shared, ready, up " in said, said
        assert "  long.run (run " in said and " s of 60 s" in said, said
        assert d.stop(signal.SIGKILL) == -signal.SIGKILL


def test_second_stop_signal():
    """a second TERM ends the daemon at once and cleanly; what was running is recorded as cancelled"""
    with project() as p:
        p.write("selfmon.conf.lua", "return { workers = 1 }")
        p.script("long.lua", script('  require "selfmon.time".sleep(100)', NEVER, 120, ", first_run = true"))
        p.script("hang.lua", script(HANG, NEVER, 120, ", first_run = true"))
        d = begin(p, 2)
        wait_for(lambda: status(p)["workers"]["running"] == 2, "the long runs", 30)
        workers = workers_of(d.pid)
        d.process.send_signal(signal.SIGTERM)
        d.wait_line("stopping")
        began = time.monotonic()
        assert d.stop() == 0, d.err
        took = time.monotonic() - began
        assert took < 5, took
        assert not re.search("ERROR: |runtime error: ", d.err), d.err  # of a build with sanitizers
        for pid in workers:
            wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "its workers are gone")
        assert {r["outcome"] for r in p.runs()} == {"cancelled"}, p.runs()


run_all(globals())
