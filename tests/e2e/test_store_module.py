"""selfmon.store end to end: what inspections remember, through restarts, renames, backups and trouble."""
import os
import re
import sqlite3
import subprocess
import threading
import urllib.request

from harness import project, run_all, wait_for


def script(body, head=""):
    """An inspection on demand with the store at hand."""
    return ('local store = require "selfmon.store"\n'
            f'monitor{{ title = "Test", {head} }}\nfunction run(params, ctx)\n{body}\nend\n')


def ran(p, *args, code=0, **kw):
    """Runs everything once; what the runs printed, all together."""
    done = p.once("-v", *args, **kw)
    assert done.code == code, done
    return done.err + done.out


COUNT = 'print("n=" .. store.incr("n"))'


def test_kept():
    """values outlive the run, the process and kill -9; a daemon and run --once see the same"""
    with project() as p:
        p.script("a.lua", script('print("was", store.get("v") and store.get("v").big)\n'
                                 'assert(store.set("v", { big = 9007199254740993 }))\n' + COUNT))
        assert "was nil" in ran(p)
        said = ran(p)
        assert "was 9007199254740993" in said and "n=2" in said, said
        p.script("a.lua", script(COUNT, 'schedule = "0 0 1 1 *"'))
        d = p.daemon()
        d.wait_line("loaded")
        assert "n=3" in ran(p)  # by the daemon
        d.kill()
        assert "n=4" in ran(p)


def test_renamed():
    """a rename with `was` takes the memory along; without it, and for an instance, it begins anew"""
    with project() as p:
        p.script("demo/a.lua", script(COUNT))
        assert "n=1" in ran(p)
        os.rename(p.dir / "inspections/demo/a.lua", p.dir / "inspections/demo/b.lua")
        assert "n=1" in ran(p)
        p.script("demo/b.lua", script(COUNT, 'was = { "demo/a.run" }'))
        assert "n=2" in ran(p)
        assert p.run("local", "delete", "demo/b.run").code == 0
        assert "n=3" in ran(p)  # deleted on the platform: registered anew, and it remembers
        p.write("selfmon.conf.lua", 'return { instances = { ["demo/b.run"] = { x = { schedule = "@daily" }, y = { schedule = "@daily" } } } }')
        said = ran(p)
        assert "demo/b.run@x: n=1" in said and "demo/b.run@y: n=1" in said and "demo/b.run: n=4" in said, said


def test_counted_at_once():
    """two inspections at once on one counter: every step counts, and both see a shared scope"""
    steps = 300
    with project() as p:
        for name in "ab":
            p.script(f"{name}.lua", script(f'for i = 1, {steps} do assert(store.incr("n", 1, {{ scope = "both" }})) end'))
        ran(p)
        p.script("a.lua", script('print("sum=" .. store.get("n", { scope = "both" }), store.get "n")'))
        (p.dir / "inspections/b.lua").unlink()
        assert f"sum={2 * steps} nil" in ran(p)


def test_time_to_live():
    """a ttl is over by the wall clock, also while no daemon runs"""
    with project() as p:
        p.script("a.lua", script('print("has " .. tostring(store.get "k"), #store.keys())\n'
                                 'if not store.get "made" then store.set("k", 1, { ttl = 2 }) store.set("made", true) end'))
        assert "has nil 0" in ran(p)
        wait_for(lambda: "has nil 1" in ran(p), "the end of the value", 60)


def test_timed_out():
    """what a run set before it timed out stays"""
    with project() as p:
        p.script("a.lua", script('if store.get "k" then return print("k=" .. store.get "k") end\n'
                                 'store.set("k", 7)\nwhile true do end', "timeout = 1"))
        assert " timeout " in ran(p, code=1)
        assert "k=7" in ran(p)


def test_dry_run():
    """--dry-run reads what is kept, with and without a daemon, and keeps nothing"""
    with project() as p:
        p.script("a.lua", script(COUNT + '\nstore.set("other", 1, { scope = "s" })\n'
                                         'print("keys " .. table.concat(store.keys(), ","))'))
        for _ in range(2):
            assert "n=1" in ran(p, "--dry-run")
        assert not (p.dir / ".selfmon").exists()
        assert "n=1" in ran(p)
        for _ in range(2):
            said = ran(p, "--dry-run")
            assert "n=2" in said and "keys n" in said, said
        p.script("a.lua", script(COUNT, 'schedule = "0 0 1 1 *", first_run = false'))
        d = p.daemon()
        d.wait_line("loaded")
        for _ in range(2):
            assert "n=2" in ran(p, "--dry-run")
        assert d.stop() == 0
        p.script("b.lua", script('for i = 1, 1000 do assert(store.set("k" .. i, i)) end\n'
                                 'print("full", store.set("one more", 1))\n'
                                 'store.delete("k1")\nprint("again", store.set("one more", 1), store.get "k1")'))
        said = ran(p, "--dry-run")
        assert "full nil this inspection holds 1000 keys" in said and "again true nil" in said, said
        assert "n=2" in ran(p)


def test_quota():
    """quotas hold for each inspection, with a sentence, a line in the log and a metric"""
    with project() as p:
        p.write("selfmon.conf.lua", 'return { health_listen = "127.0.0.1:0" }')
        p.script("a.lua", script('local x = ("x"):rep(65534)\n'
                                 'for i = 1, 15 do assert(store.set("k" .. i, x)) end\n'
                                 'print("got", store.set("k16", x))\nprint("got", store.set("k", x .. "xx"))'))
        said = ran(p)
        assert "got nil this inspection holds" in said and "1048576 that it may" in said and "quota" in said, said
        assert "got nil the value is 65538 bytes of JSON, and the most is 65536 too_large" in said, said
        [run] = p.runs("--log")
        warned = [line["text"] for line in run["log"] if line["level"] == "warn"]
        assert len(warned) == 2 and all(w.startswith("store.set: ") for w in warned), warned
        d = p.daemon()
        at = wait_for(lambda: re.search(r"http://127.0.0.1:\d+", d.err), "the address", 30).group()
        ran(p)
        with urllib.request.urlopen(at + "/metrics", timeout=20) as answer:
            text = answer.read().decode()
        for line in ('memory_calls_total{call="set"} 17', 'memory_refused_total{code="quota"} 1',
                     'memory_refused_total{code="too_large"} 1'):
            assert f"selfmon_{line}\n" in text, text
        assert d.stop() == 0


def test_backup_and_salvage():
    """a backup has it, and so has what is recovered of a corrupt database"""
    with project() as p:
        p.script("a.lua", script(COUNT))
        ran(p)
        assert p.run("backup", "copy").code == 0
        assert "n=2" in ran(p)
        assert p.run("restore", "copy").code == 0
        assert "n=2" in ran(p)
        database = p.dir / ".selfmon/selfmon.db"
        db = sqlite3.connect(database)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'outbox'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
        db.close()
        with open(database, "r+b") as f:
            f.seek((page - 1) * size)
            f.write(b"\xa5" * size)
        done = p.once("-v")
        assert "corrupt" in done.err, done
        [aside] = [f for f in database.parent.iterdir() if ".corrupt." in f.name]
        (p.dir / "inspections/a.lua").write_text(script('print("n=" .. tostring(store.get("n")))'))
        p.run("local", "delete", "a.run")
        for f in database.parent.glob("selfmon.db*"):
            if f != aside:
                f.unlink()
        assert "n=nil" in ran(p)
        done = p.run("restore", str(aside))
        assert done.code == 0, done
        assert "n=2" in ran(p)


def test_full_disk():
    """a disk without room: nil and a sentence, what was kept stays, and later it works again"""
    if os.geteuid() != 0:
        return
    with project() as p:
        state = p.dir / "small"
        state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(state)], check=True)
        try:
            p.write("selfmon.conf.lua", 'return { limits = { min_free = "1MiB" } }')
            p.script("a.lua", script('print("set", store.set("k", os.time()))\nprint("n=", store.get "k" ~= nil)'))
            assert "set true" in ran(p, "--state-dir", str(state))
            left = os.statvfs(state)
            (state / "fill").write_bytes(b"x" * (left.f_bavail * left.f_frsize - 500_000))
            said = ran(p, "--state-dir", str(state))
            assert "set nil the store is full: only " in said and "n= true" in said and "outbox is" not in said, said
            (state / "fill").unlink()
            assert "set true" in ran(p, "--state-dir", str(state))
        finally:
            subprocess.run(["umount", "-l", str(state)], check=False)


def test_many_at_once():
    """forty inspections of 50 keys each at once: all of it is there afterwards"""
    with project() as p:
        for i in range(40):
            p.script(f"m/i{i:02}.lua", script('for k = 1, 50 do assert(store.set("key/" .. k, { k, ctx.id })) end'))
        ran(p)
        for i in range(40):
            p.script(f"m/i{i:02}.lua", script('local keys = store.keys "key/"\nassert(#keys == 50)\n'
                                              'for _, k in ipairs(keys) do local v = store.get(k)\n'
                                              'assert(v[2] == ctx.id and "key/" .. v[1] == k) end'))
        ran(p)


def test_readers_meanwhile():
    """a run that sets while others run --once through the daemon: nothing is lost"""
    with project() as p:
        p.script("a.lua", script(COUNT, 'schedule = "0 0 1 1 *", first_run = false, overlap = "queue"'))
        d = p.daemon()
        d.wait_line("loaded")
        threads = [threading.Thread(target=lambda: p.once("-v")) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        done = sum(r["outcome"] == "ok" for r in p.runs())
        assert f"n={done + 1}" in ran(p), (done, p.runs())
        assert d.stop() == 0


run_all(globals())
