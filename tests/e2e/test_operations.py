"""docs/operations.md says the truth: its commands exist, those marked `sh run` run against a daemon that is set up
as the package sets it up, its alert rules and its ConfigMap work, and so do backup, restore and downgrade."""
import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess

from harness import BINARY, ROOT, Skip, clean_env, project, report, run_all, simple, wait_for

PAGE = (ROOT / "docs" / "operations.md").read_text()
BLOCK = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.M | re.S)
CONF = "/etc/selfmon-lua/selfmon.conf.lua"


def blocks(language, mark=""):
    return [text for lang, rest, text in BLOCK.findall(PAGE) if lang == language and rest.strip() == mark]


@functools.cache
def help_of(*command):
    return subprocess.run([BINARY, *command, "--help"], capture_output=True, text=True).stdout


def installed(p):
    """A directory laid out as the package does; returns a function that puts its paths in place of the real ones."""
    etc, state = p.dir / "etc", p.dir / "state"
    (etc / "inspections").mkdir(parents=True)
    for folder in ("host", "lib"):
        shutil.copytree(ROOT / "inspections" / folder, etc / "inspections" / folder,
                        ignore=shutil.ignore_patterns("*_spec.lua"))
    shutil.copy(ROOT / "packaging" / "selfmon.conf.lua", etc)
    bin_ = p.dir / "bin"
    bin_.mkdir()
    (bin_ / "selfmon-lua").symlink_to(BINARY)

    def here(text):
        return text.replace("/etc/selfmon-lua", str(etc)).replace("/var/lib/selfmon", str(state))
    conf = etc / "selfmon.conf.lua"
    conf.write_text(here(conf.read_text()))
    return here


def test_commands_exist():
    """every selfmon-lua command of the page, with each of its options, is one that the program knows"""
    code = [line for _, _, text in BLOCK.findall(PAGE) for line in text.splitlines()]
    code += re.findall(r"`([^`\n]+)`", re.sub(BLOCK, "", PAGE))
    seen = 0
    for line in code:
        for call in re.findall(r"(?<![\w/.-])selfmon-lua ([a-z]+\b[^;|`]*)", line):
            words = shlex.split(call, comments=True)
            command = words[0]
            if not re.search(rf"^  selfmon-lua {command}\b", help_of(), re.M):
                assert "build" in line or "status selfmon" in line or "exec selfmon" in line or ".deb" in line, line
                continue
            seen += 1
            for word in words[1:]:
                option = word.split("=")[0]
                if option.startswith("-") and not option[1:].isdigit():
                    known = help_of(command) + help_of()
                    assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", known), f"{option} of: {line}"
    assert seen > 12, seen


def test_runnable_blocks():
    """every block marked `run` works as written, while the daemon runs"""
    with project() as p:
        here = installed(p)
        daemon = p.daemon("-c", here(CONF))
        daemon.wait_line("host/memory.run", "ok", seconds=60)
        env = clean_env(PATH=f"{p.dir}/bin:{os.environ['PATH']}")
        count = 0
        for text in blocks("sh", "run"):
            for line in here(text).splitlines():
                line = re.sub(r"^sudo (-u selfmon )?", "", line)
                done = subprocess.run(["sh", "-c", line], env=env, cwd="/", capture_output=True, text=True,
                                      timeout=120, stdin=subprocess.DEVNULL)
                assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
                said = done.stdout + done.stderr  # "no events" goes to standard error
                assert said or "lint" in line or "--gaps" in line, f"{line} says nothing"
                count += 1
        assert count >= 10, count
        daemon.process.send_signal(signal.SIGQUIT)
        wait_for(lambda: re.search(r"worker", daemon.err), "what the workers do", 30)
        assert daemon.stop() == 0


def test_alert_rules():
    """the alert rules are valid, and their metrics are ones that the daemon has"""
    (rules,) = blocks("yaml", "rules")
    with project() as p:
        p.script("a.lua", simple())
        daemon = p.daemon("inspections/", env={"SELFMON_HEALTH_LISTEN": "127.0.0.1:0"})
        line = wait_for(lambda: re.search(r"http://(127\.0\.0\.1:\d+)", daemon.out + daemon.err), "its address", 60)
        get = ('local r, e = require "selfmon.http".get(arg[1]); if not r then print(e) os.exit(1) end '
               'io.write(r.body) os.exit(r.status == 200)')
        script = p.write("get.lua", get)
        wait_for(lambda: p.run("lua", str(script), f"http://{line.group(1)}/ready").code == 0, "it is ready", 60)
        done = p.run("lua", str(script), f"http://{line.group(1)}/metrics")
        assert done.code == 0, done
        for metric in set(re.findall(r"selfmon_\w+", rules)):
            assert re.search(rf"^# TYPE {metric} ", done.out, re.M), f"{metric} is not in\n{done.out}"
        for outcome in re.search(r'outcome=~"([\w|]+)"', rules).group(1).split("|"):
            assert f'selfmon_runs_total{{outcome="{outcome}"}}' in done.out, outcome
        if not shutil.which("promtool"):
            raise Skip("promtool is not installed")
        path = p.write("rules.yml", rules)
        done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True)
        assert done.returncode == 0 and "3 rules found" in done.stdout, done.stdout + done.stderr


def test_numbers_are_those_of_the_unit():
    """limits that the page names are those of the unit and of the Containerfile"""
    unit = (ROOT / "packaging" / "selfmon-lua.service").read_text()
    container = (ROOT / "Containerfile").read_text()
    assert "LimitNOFILE=65536" in unit and "(unit: 65,536)" in PAGE
    assert "TasksMax=8192" in unit and "`TasksMax=8192`" in PAGE
    assert "TimeoutStopSec=45" in unit and "terminationGracePeriodSeconds: 45" in PAGE
    assert "RestartSec=5\n" in unit and "five seconds later" in PAGE
    for word in ("10001", "8788"):
        assert word in container and word in PAGE
    assert "/var/lib/selfmon/state" in container and "`/var/lib/selfmon/state`" in PAGE


def config_map():
    """The texts of the ConfigMap in the page: {path: text}, as its `items` place them."""
    text = next(t for t in blocks("yaml") if "kind: ConfigMap" in t)
    document = next(d for d in text.split("---\n") if "kind: ConfigMap" in d)
    data, name = {}, None
    for line in document.split("data:\n")[1].splitlines():
        head = re.match(r"  (\S+): \|$", line)
        if head:
            name = head.group(1)
            data[name] = ""
        else:
            data[name] += line[4:] + "\n"
    return {path: data[key] for key, path in re.findall(r"key: (\S+), path: (\S+) }", text)}


def kubelet(volume, texts, generation):
    """Writes a volume as the kubelet does: a new directory, then ..data is flipped to it."""
    new = volume / f"..{generation}"
    for path, text in texts.items():
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        (new / path).write_text(text)
    (volume / "..data_tmp").symlink_to(new.name)
    (volume / "..data_tmp").rename(volume / "..data")
    for top in {path.split("/")[0] for path in texts}:
        if not (volume / top).is_symlink():
            (volume / top).symlink_to(f"..data/{top}")


def test_config_map():
    """the ConfigMap of the page runs, and a changed one takes effect when the kubelet flips its link"""
    with project() as p:
        volume = p.dir / "etc"
        texts = config_map()
        assert set(texts) == {"selfmon.conf.lua", "inspections/shop.lua"}
        # A workspace and secrets are for another test: this one is about the volume.
        conf = texts["selfmon.conf.lua"].replace("/etc/selfmon-lua", str(volume))
        texts["selfmon.conf.lua"] = re.sub(r"^  (accounts|secrets|secret_file) =.*\n", "", conf, flags=re.M)
        shop = texts["inspections/shop.lua"].replace("https://shop.example/", "http://127.0.0.1:1/")
        texts["inspections/shop.lua"] = shop
        kubelet(volume, texts, "2026_11_22_1")
        daemon = p.daemon("-c", str(volume / "selfmon.conf.lua"), "--state-dir", str(p.dir / "state"))
        daemon.wait_line("shop.run", "1 event", seconds=60)
        texts["inspections/shop.lua"] = shop.replace("Shop is unreachable", "The shop does not answer").replace(
            "*/5 * * * *", "@every 2s")
        kubelet(volume, texts, "2026_11_22_2")
        shutil.rmtree(volume / "..2026_11_22_1")
        titles = lambda: {e["title"] for e in p.events("--state-dir", str(p.dir / "state"))}
        wait_for(lambda: "The shop does not answer" in titles(), "the new text to run", 90)
        assert daemon.stop() == 0


def test_backup_and_restore():
    """a copy of a stopped daemon's state is whole; of a running one's it cannot be made"""
    with project() as p:
        here = installed(p)
        p.write("etc/inspections/once.lua", simple(report(), schedule="@every 1s"))
        state = p.dir / "state"
        daemon = p.daemon("-c", here(CONF))
        daemon.wait_line("once.run", "1 event", seconds=60)
        try:
            sqlite3.connect(f"file:{state}/selfmon.db?mode=ro", uri=True, timeout=0).execute("select * from events")
            raise AssertionError("the database could be read while the daemon runs")
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
        assert daemon.stop() == 0
        before = p.events("--state-dir", str(state))
        copy = p.dir / "copy"
        subprocess.run(["cp", "-a", str(state), str(copy)], check=True)
        again = p.daemon("-c", here(CONF))
        again.wait_line("once.run", "1 event", seconds=60)
        again.kill()
        shutil.rmtree(state)
        copy.rename(state)
        restored = p.daemon("-c", here(CONF))
        restored.wait_line("once.run", "1 event", seconds=60)
        after = p.events("--state-dir", str(state))
        assert {e["event_id"] for e in before} <= {e["event_id"] for e in after}
        assert restored.stop() == 0


def test_downgrade():
    """a database of a newer program is refused, with a sentence and code 1, and is left as it is"""
    with project() as p:
        here = installed(p)
        assert p.run("run", "--once", "-c", here(CONF)).code == 0
        with sqlite3.connect(p.dir / "state" / "selfmon.db") as db:
            (version,) = db.execute("pragma user_version").fetchone()
            db.execute(f"pragma user_version = {version + 1000}")
        db.close()
        done = p.run("run", "-c", here(CONF))
        assert done.code == 1 and "newer" in done.err, done
        with sqlite3.connect(p.dir / "state" / "selfmon.db") as db:
            assert db.execute("pragma user_version").fetchone() == (version + 1000,)
        db.close()


def test_json_log():
    """with --log-format json every line of the log is an object with time, level and msg"""
    with project() as p:
        p.script("a.lua", simple(schedule="@every 1s"))
        p.script("broken.lua", "this is not Lua")
        daemon = p.daemon("--log-format", "json", "inspections/")
        lines = lambda: [json.loads(line) for line in (daemon.out + daemon.err).splitlines()
                         if line.endswith("}")]
        wait_for(lambda: any(o.get("id") == "a.run" for o in lines()), "a run", 60)
        assert daemon.stop() == 0
        text = daemon.out + daemon.err
        for line in text.splitlines():
            assert {"time", "level", "msg"} <= set(json.loads(line)), text
        ran = next(o for o in lines() if o.get("id") == "a.run" and "outcome" in o)
        assert ran["outcome"] == "ok" and "seconds" in ran, ran


run_all(globals())
