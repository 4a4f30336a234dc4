"""`status` and the marks of `list`: what a daemon says of itself, and whether a person can read it with many
inspections."""
import os
import time

from harness import project, report, run_all, simple, wait_for

WIDTH = 100


def status_of(p):
    done = p.run("status", "--json")
    assert done.code == 0, done
    return done.json()


def check_text(text):
    for line in text.splitlines():
        assert len(line) <= WIDTH, (len(line), line)


def test_the_process():
    """status of a daemon: its process, runs by outcome, lateness, store, deliveries and reloads"""
    with project() as p:
        p.script("a.lua", simple(report(), schedule="@every 1s"))
        p.script("b.lua", simple('  error("no")', schedule="@every 1s"))
        daemon = p.daemon()
        daemon.wait_line("failed", "b.run", seconds=30)
        wait_for(lambda: status_of(p)["deliveries"]["delivered"] >= 1, "a delivered event", 30)
        status = wait_for(lambda: (s := status_of(p))["runs"]["ok"] >= 2 and s["lateness"]["n"] >= 2 and s,
                          "runs and how late they were", 30)
        process = status["process"]
        assert process["pid"] == daemon.pid and process["alive"] is True and process["not_ready"] is None, process
        assert process["version"] in p.run("--version").out and process["started"].startswith("20"), process
        assert 0 < process["uptime"] < 600 and process["rss"] > 1e6 and process["threads"] >= 2, process
        assert 5 < process["fds"] < process["max_fds"], process
        assert len(status["runs"]) == 11 and status["runs"]["failed"] >= 1 and status["runs"]["crashed"] == 0, status
        late = status["lateness"]
        assert 0 <= late["p50"] <= late["p99"] <= late["max"] < 60 and 0 < late["seconds"] < 600, late
        assert status["store"]["bytes"] > 4096 and status["store"]["refuses"] is None, status["store"]
        assert 0 <= status["store"]["ping"] < 10 and status["store"]["broken"] is False, status["store"]
        assert "outbox" not in status["store"], status["store"]
        counts = status["counts"]
        assert counts["inspections"] == 2 and counts["failing"] == 1 and counts["stale"] == 0, counts
        assert 0 <= status["view_age"] < 600, status
        p.script("c.lua", "nonsense")
        wait_for(lambda: status_of(p)["reloads"] == {"changes": 1, "failures": 1}, "the reload", 30)
        text = p.run("status").out
        check_text(text)
        for word in (f"daemon: pid {daemon.pid}, up ", "; ready", "inspections: 2, 1 did not end well, 1 file does not",
                     "workers: ", "store: ", "late: half at most ", "runs: ", " ok", "outbox: 0 pending"):
            assert word in text, (word, text)
        assert text.index("b.run") < text.index("a.run"), "trouble first\n" + text
        assert daemon.stop() == 0
        status = status_of(p)
        for name in ("process", "runs", "lateness", "deliveries", "workers", "conduct", "store", "reloads"):
            assert status[name] is None, (name, status[name])
        assert status["counts"]["inspections"] == 2 and status["daemon"] is False, status
        check_text(p.run("status").out)


def test_stale_since():
    """a file that stops loading: since when, with file and line; list marks what runs on; the mark goes again"""
    with project() as p:
        p.script("a.lua", simple(report(), schedule="*/5 * * * *"))
        began = time.time()
        p.daemon().wait_line("loaded 1 inspection", seconds=30)
        p.script("a.lua", "\n\nnonsense nonsense")
        errors = wait_for(lambda: status_of(p)["load_errors"], "the fault", 30)
        assert errors[0]["file"] == "a.lua" and errors[0]["line"] == 3 and errors[0]["stale"] is True, errors
        since = time.mktime(time.strptime(errors[0]["since"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
        assert began - 2 <= since <= time.time() + 2, errors
        text = p.run("status").out
        assert "inspections/a.lua:3: " in text and f"keeps running, since {errors[0]['since']})" in \
            " ".join(text.split()), text
        assert "its last good version runs" in text and "1 stale" in text, text
        check_text(text)
        listed = p.run("list", "inspections/").out
        assert any("a.run" in line and "(stale)" in line for line in listed.splitlines()), listed
        # Wrong in another way: it is stale for as long as before.
        p.script("a.lua", "nonsense")
        errors = wait_for(lambda: (e := status_of(p)["load_errors"])[0]["line"] == 1 and e, "the other fault", 30)
        assert errors[0]["since"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since + 1)), errors
        p.script("a.lua", simple(report(), schedule="*/5 * * * *"))
        wait_for(lambda: not status_of(p)["load_errors"], "it loads again", 30)
        assert "(stale)" not in p.run("list", "inspections/").out


def test_faults_at_the_start():
    """a file that is wrong already when the daemon starts is so since it was saved"""
    with project() as p:
        path = p.script("a.lua", "nonsense")
        os.utime(path, (1700000000, 1700000000))
        p.daemon().wait_line("loaded 0 inspections", seconds=30)
        errors = wait_for(lambda: p.run("status", "--json").code == 0 and status_of(p)["load_errors"], "the fault", 30)
        assert errors[0]["since"] == "2023-11-14T22:13:20Z" and errors[0]["stale"] is False, errors


def test_many():
    """with many inspections status shows those in trouble, worst first, and says how many are fine"""
    with project() as p:
        for n in range(200):
            p.script(f"fine/some_{n:03}.lua", simple(title=f"T{n}"))
        name = "very/long/path/to/an/inspection/with_a_rather_long_name"
        p.script(f"{name}.lua", simple('  error("ü" .. string.rep("long ", 100))'))
        for n in range(60):
            p.script(f"bad/bad_{n:02}.lua", simple('  error("no")'))
        p.script("bad/slow.lua", 'monitor{ title = "S", timeout = 1 }\nfunction run() while true do end end\n')
        done = p.run("run", "--once", "-q", "inspections/", timeout=180)
        assert done.code == 1, done
        text = p.run("status").out
        check_text(text)
        lines = text.splitlines()
        assert "inspections: 262, 62 did not end well" in text, text
        ids = [line.split()[0] for line in lines if line.startswith(("bad/", "fine/", "very/"))]
        assert len(ids) == 50 and ids[0] == "bad/slow.run" and ids[1:] == sorted(ids[1:]), ids
        assert "and 12 more like these (`status --json` has all)" in text, text
        assert len(lines) < 130, len(lines)
        assert len(status_of(p)["inspections"]) == 262
        for n in range(60):
            p.script(f"bad/bad_{n:02}.lua", simple())
        p.run("run", "--once", "-q", "inspections/", timeout=180)
        text = p.run("status").out
        check_text(text)
        assert f"{name}.run\n" in text and "and 260 more are fine" in text, text
        assert len(text.splitlines()) < 20, text


if __name__ == "__main__":
    run_all(globals())
