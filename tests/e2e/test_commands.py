"""nodes, status, doctor and adopt with the embedded platform; what each says and its exit code."""
import json
import os
import re

from harness import ROOT, project, report, run_all, simple, wait_for

KEYS = {"SELFMON_API_KEY_ID": "wsak_0123456789abcdef", "SELFMON_API_KEY": "key-of-the-commands-test"}


def doctor(p, *args, env=None):
    """Its exit code and checks as {subject: [(health, text)]}."""
    done = p.run("doctor", "--json", *args, env=env)
    said = {}
    for check in done.json()["checks"]:
        said.setdefault(check["subject"], []).append((check["health"], check["text"]))
    assert done.json()["healthy"] == (done.code == 0), done
    return done.code, said


def test_nodes_is_the_table():
    """nodes: every node of the data, under the name to write in a configuration"""
    with project() as p:
        os.rmdir(p.dir / "inspections")
        done = p.run("nodes", "--json")
        assert done.code == 0, done
        rows = done.json()
        data = json.loads((ROOT / "tests/data/nodes.json").read_text())["nodes"]
        assert {(r["brand"], r["key"], r["openapi"], r["openway"]) for r in rows} == \
            {(n["brand"], n["key"], n["openapi"], n["openway"]) for n in data}, rows
        names = [r["node"] for r in rows]
        assert len(names) == len(set(names)), names
        for name in ("default", "aws", "cn6", "guance/us1", "truewatch/us1", "truewatch/id1"):
            assert name in names, names
        assert not {"us1", "eu1", "ap1", "za1", "id1"} & set(names), names
        assert list(p.dir.iterdir()) == []


def test_nodes_by_brand():
    """nodes --brand: one brand only; an unknown one is a usage error"""
    with project() as p:
        for brand, some, other in (("guance", "default", "truewatch/"), ("truewatch", "truewatch/us1", "guance")):
            done = p.run("nodes", "--brand", brand)
            assert done.code == 0 and some in done.out and other not in done.out, done
            assert {r["brand"] for r in p.run("nodes", f"--brand={brand}", "--json").json()} == {brand}
        done = p.run("nodes", "--brand", "tw")
        assert done.code == 64 and "guance or truewatch" in done.err, done
        assert p.run("nodes", "extra").code == 64


def test_every_node_can_be_used():
    """each name that nodes shows is taken as SELFMON_NODE"""
    with project() as p:
        for row in p.run("nodes", "--json").json():
            done = p.run("status", "--json", env={**KEYS, "SELFMON_NODE": row["node"]})
            assert done.code == 0 and done.json()["accounts"][0]["node"] == row["node"], (row, done)


def test_status_without_a_store():
    """status without a store: empty, exit 0, nothing created; it says that no daemon runs"""
    with project() as p:
        done = p.run("status", "--json")
        assert done.code == 0, done
        status = done.json()
        assert status["daemon"] is False and status["inspections"] == [] and status["workers"] is None, status
        assert status["outbox"]["pending"] == 0 and status["outbox"]["oldest"] is None, status
        assert [(a["name"], a["node"]) for a in status["accounts"]] == [("default", "local")], status
        assert "no daemon runs" in p.run("status").out
        assert not (p.dir / ".selfmon").exists()


def test_status_from_the_store():
    """status without a daemon: last outcomes and the age of what the platform said, from the store"""
    with project() as p:
        p.script("good.lua", simple(report(), title="Good one"))
        p.script("bad.lua", simple('  error("no")'))
        p.once()
        p.run("local", "disable", "good.run")
        p.once()
        status = p.run("status", "--json").json()
        by_id = {i["id"]: i for i in status["inspections"]}
        assert sorted(by_id) == ["bad.run", "good.run"], status
        good = by_id["good.run"]
        assert good["title"] == "Good one" and good["enabled"] is False and good["next"] is None, good
        assert good["last"]["outcome"] == "ok" and by_id["bad.run"]["last"]["outcome"] == "failed", status
        assert 0 <= good["age"] < 60 and good["seen"].startswith("20"), good
        text = p.run("status").out
        assert "no daemon runs" in text and "disabled" in text and "failed" in text, text


def test_status_of_a_daemon():
    """status of a running daemon: next runs, broken files, workers"""
    with project() as p:
        p.script("a.lua", simple(report(), schedule="*/5 * * * *"))
        daemon = p.daemon()
        daemon.wait_line("ok", "a.run")
        p.script("a.lua", "function (")
        p.script("b.lua", "function (")
        wait_for(lambda: len(p.run("status", "--json").json()["load_errors"]) == 2, "both broken files")
        done = p.run("status", "--json")
        status = done.json()
        item = status["inspections"][0]
        assert status["daemon"] is True and done.code == 0, status
        assert item["id"] == "a.run" and item["stale"] is True and item["next"].endswith("Z"), item
        assert item["registered"] is True and item["enabled"] is True and 0 <= item["age"] < 60, item
        assert {e["file"]: e["stale"] for e in status["load_errors"]} == {"a.lua": True, "b.lua": False}, status
        assert status["outbox"]["pending"] == 0 and status["trouble"] == [], status
        assert status["accounts"][0]["node"] == "local" and status["accounts"][0]["unregistered"] == 0, status
        assert len(status["workers"]["workers"]) >= 1 and status["workers"]["running"] == 0, status
        text = p.run("status").out
        for word in ("a.run", "its last good version", "inspections/b.lua:1", "outbox: 0 pending", "workers: "):
            assert word in text, (word, text)
        assert "no daemon" not in text, text
        daemon.stop()


def test_status_of_a_remote_account_without_a_daemon():
    """status asks no platform: a remote account without a daemon shows its node, and no key"""
    with project() as p:
        done = p.run("status", env={**KEYS, "SELFMON_NODE": "truewatch/us1"})
        assert done.code == 0 and "node truewatch/us1" in done.out, done
        assert KEYS["SELFMON_API_KEY"] not in done.out + done.err, done


def test_doctor_healthy():
    """doctor: healthy before the first run and after it, creating nothing"""
    with project() as p:
        p.script("a.lua", simple(report()))
        code, said = doctor(p)
        assert code == 0, said
        assert "first run" in said["state directory"][0][1] and "local" in said["default: node"][0][1], said
        assert {"configuration", "inspections", "association secret", "open files", "inotify"} <= set(said), said
        assert not (p.dir / ".selfmon").exists()
        p.once()
        code, said = doctor(p)
        assert code == 0 and said["store"][0][0] == "ok" and said["outbox"][0][0] == "ok", said
        assert said["file modes"][0][0] == "ok" and "generated" in said["association secret"][0][1], said
        done = p.run("doctor")
        assert done.code == 0 and all(line.startswith(("ok ", "warn ")) for line in done.out.splitlines()), done


def test_doctor_beside_a_daemon():
    """doctor works while a daemon holds the state directory"""
    with project() as p:
        p.script("a.lua", simple(report()))
        daemon = p.daemon()
        daemon.wait_line("ok", "a.run")
        code, said = doctor(p)
        assert code == 0 and said["store"][0][0] == "ok" and "runs and answers" in said["daemon"][0][1], said
        daemon.stop()


def test_doctor_file_modes():
    """doctor: what others may read or write is bad, with the cure; exit 1"""
    with project() as p:
        p.script("a.lua", simple(report()))
        p.once()
        state = p.dir / ".selfmon"
        for path, mode, good in ((state, 0o755, 0o700), (state / "secret", 0o640, 0o600),
                                 (state / "selfmon.db", 0o644, 0o600)):
            path.chmod(mode)
            code, said = doctor(p)
            words = said["file modes"]
            assert code == 1 and any(h == "bad" and f"chmod {good:o}" in t and path.name in t for h, t in words), said
            path.chmod(good)
        assert doctor(p)[0] == 0
        config = p.write("selfmon.conf.lua", "return {}")
        config.chmod(0o646)
        code, said = doctor(p)
        assert code == 1 and said["configuration"][0][0] == "bad" and "chmod" in said["configuration"][0][1], said


def test_doctor_key_in_a_readable_file():
    """doctor: a key written into a configuration that others can read is a warning, never shown"""
    with project() as p:
        config = p.write("selfmon.conf.lua", 'return { secret = "association-secret-0001" }')
        config.chmod(0o644)
        code, said = doctor(p)
        assert code == 0 and said["configuration"][0][0] == "warn" and "chmod 600" in said["configuration"][0][1], said
        config.chmod(0o600)
        assert doctor(p)[1]["configuration"][0][0] == "ok"
        done = p.run("doctor", "--config")
        assert "association-secret-0001" not in done.out + done.err, done


def test_doctor_config():
    """doctor --config: every value with where it comes from, secrets as ***; -c names the file"""
    with project() as p:
        p.write("other.lua", 'return {\n  workers = 3,\n}')
        env = {"SELFMON_SECRET": "association-secret-0002", "SELFMON_STATE_DIR": str(p.dir / "state")}
        done = p.run("doctor", "--config", "--json", "-c", "other.lua", env=env)
        values = done.json()["config"]
        assert values["workers"] == {"value": 3, "origin": "other.lua:2"}, values["workers"]
        assert values["secret"] == {"value": "***", "origin": "environment SELFMON_SECRET"}, values["secret"]
        assert values["state_dir"]["origin"] == "environment SELFMON_STATE_DIR", values["state_dir"]
        assert values["timezone"] == {"value": "UTC", "origin": "default"}, values["timezone"]
        done = p.run("doctor", "--config", "-c", "other.lua", "--node", "local", env=env)
        lines = [line.split() for line in done.out.splitlines()]
        assert ["workers", "3", "(other.lua:2)"] in lines and ["secret", "***", "(environment", "SELFMON_SECRET)"] in lines, done
        assert ["accounts.default.node", "local", "(flag", "--node)"] in lines, done
        assert "association-secret-0002" not in done.out + done.err, done


def test_verbose_shows_the_configuration():
    """run -v logs the configuration with origins at debug level, without secrets"""
    with project() as p:
        p.script("a.lua", simple())
        p.write("selfmon.conf.lua", 'return { workers = 1, secret = "association-secret-0003" }')
        done = p.once("-v")
        assert "configuration: workers = 1 (selfmon.conf.lua:1)" in done.err, done
        assert "configuration: secret = ***" in done.err and "association-secret-0003" not in done.err, done
        assert "configuration: workers" not in p.once().err


def test_doctor_broken_configuration():
    """doctor: a configuration that does not load is one bad line with file and line; exit 1"""
    with project() as p:
        p.write("selfmon.conf.lua", "return {\n  wrokers = 2,\n}")
        code, said = doctor(p)
        health, text = said["configuration"][0]
        assert code == 1 and health == "bad" and "selfmon.conf.lua:2" in text and '"workers"' in text, said


def test_doctor_bad_accounts():
    """doctor: a node that is not there, a bare key of both brands, half a pair, no key: each its sentence"""
    rows = [
        ({**KEYS, "SELFMON_NODE": "us1"}, ["guance/us1", "truewatch/us1"]),
        ({**KEYS, "SELFMON_NODE": "truewatch/us9"}, ["truewatch/us9"]),
        ({**KEYS, "SELFMON_OPENAPI_URL": "https://a.example"}, ["SELFMON_OPENWAY_URL"]),
        ({"SELFMON_NODE": "truewatch/us1"}, ["SELFMON_API_KEY"]),
    ]
    with project() as p:
        for env, words in rows:
            done = p.run("doctor", "--json", env=env)
            bad = " ".join(c["text"] for c in done.json()["checks"] if c["health"] == "bad")
            assert done.code == 1 and all(w in bad for w in words), (env, done)
            assert KEYS["SELFMON_API_KEY"] not in done.out + done.err, done


def test_doctor_little_space():
    """doctor: too little space is bad, with the setting's name"""
    with project() as p:
        p.script("a.lua", simple(report()))
        p.once()
        free = os.statvfs(p.dir)
        if free.f_bavail * free.f_frsize >= 2**40:
            return  # more is free than the setting may ask for
        p.write("selfmon.conf.lua", 'return { limits = { min_free = "1TiB" } }')
        code, said = doctor(p)
        assert code == 1 and any(h == "bad" and "limits.min_free" in t for h, t in said["state directory"]), said


def test_adopt_on_the_embedded_platform():
    """adopt: title, function and the line of the configuration, which then works"""
    with project() as p:
        p.script("old.lua", simple(report(), title="Certificate"))
        p.once()
        key = p.run("key", "old.run").out.split()[0]
        uuid = p.run("local", "show", "--json").json()[0]["uuid"]
        (p.dir / "inspections/old.lua").unlink()
        p.script("new.lua", simple(report(), title="Certificate"))
        done = p.run("adopt", "new.run", key)
        line = f'keys = {{ ["new.run"] = "{key}" }}'
        assert done.code == 0 and "Certificate" in done.out and "old.run" in done.out and line in done.out, done
        told = p.run("adopt", "new.run", key, "--json").json()
        assert told["line"] == line and told["uuid"] == uuid and told["node"] == "local", told
        assert (told["title"], told["funcId"], told["enabled"]) == ("Certificate", "old.run", True), told
        p.write("selfmon.conf.lua", f"return {{ {line} }}")
        assert p.once().code == 0
        assert [(i["uuid"], i["refKey"]) for i in p.run("local", "show", "--json").json()] == [(uuid, key)]
        done = p.run("adopt", "new.run", key)
        assert done.code == 0, done


def test_adopt_refusals():
    """adopt: an unknown key is 1, another inspection's key too, a wrong call 64; nothing is created"""
    with project() as p:
        done = p.run("adopt", "a.run", "0123456789abcdef")
        assert done.code == 1 and "0123456789abcdef" in done.err and "local" in done.err, done
        assert not (p.dir / ".selfmon").exists()
        for args in ((), ("a.run",), ("a.run", "k", "x"), ("a run", "k"), ("a.run", "two words"),
                     ("a.run", "k" * 49), ("a.run", 'k"')):
            done = p.run("adopt", *args)
            assert done.code == 64, (args, done)
        p.script("a.lua", simple(report()))
        p.script("b.lua", simple(report()))
        p.once()
        key = p.run("key", "a.run").out.split()[0]
        done = p.run("adopt", "b.run", key)
        assert done.code == 1 and "a.run" in done.err and key in done.err, done


def test_help_and_documentation():
    """every command has help with an example, and what --json prints is documented"""
    page = (ROOT / "docs/json.md").read_text()
    with project() as p:
        for command in ("nodes", "status", "doctor", "adopt"):
            done = p.run(command, "--help")
            assert done.code == 0 and f"selfmon-lua {command}" in done.out and "Example" in done.out, done
            assert f"`{command} --json`" in page, command
            done = p.run(command, "--jsn")
            assert done.code == 64 and '"--json"' in done.err, done
        for command in ("status", "nodes"):
            shown = p.run(command, "--json").json()
            names = list(shown) if isinstance(shown, dict) else list(shown[0])
            row = next(line for line in page.splitlines() if line.startswith(f"| `{command} --json`"))
            missing = [n for n in names if n not in row]
            assert not missing, (command, missing)
        done = p.run("docotr")
        assert done.code == 64 and '"doctor"' in done.err, done


def test_porting_page_names_real_tests():
    """docs/porting-from-python.md: every test it names exists"""
    named = re.findall(r"`(\w+\.\w+)::([^`]+)`", (ROOT / "docs/porting-from-python.md").read_text())
    assert len(named) >= 40, named
    for file, name in named:
        found = [*(ROOT / "tests").rglob(file)]
        assert any(name in path.read_text() for path in found), (file, name)


if __name__ == "__main__":
    run_all(globals())
