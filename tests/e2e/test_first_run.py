#!/usr/bin/python3
"""The author's first minute: an empty directory, no network, a terminal, and what is typed there."""
import os
import re
import subprocess
import tempfile
import time

import harness
from harness import BINARY, project
from terminal import Terminal

PROMPT = r"\n\[(\d+)\]\$ $"


def without_network():
    """The beginning of a command line that takes the network away, when that is allowed here."""
    done = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return ["unshare", "-n"] if done.returncode == 0 else []


class Typing:
    """A new user's shell in an empty directory, `selfmon-lua` on the PATH."""

    def __init__(self, p):
        self.dir = p.dir / "empty"
        self.dir.mkdir()
        (p.dir / "bin").mkdir()
        (p.dir / "bin/selfmon-lua").symlink_to(BINARY)
        self.term = Terminal([*without_network(), "bash", "--norc", "--noprofile", "-i"], self.dir,
                             PATH=f"{p.dir}/bin:{os.environ['PATH']}", HOME=str(p.dir), LC_ALL="C.UTF-8")
        self.term.type("bind 'set enable-bracketed-paste off'; PS1='[$?]$ '\n")
        self.term.until(PROMPT)

    def enter(self, line, code=0):
        """Types a line, waits for the prompt, checks the exit code; what was printed between."""
        self.term.type(line + "\n")
        text = self.term.until(PROMPT)
        found = re.search(PROMPT, text)
        assert int(found.group(1)) == code, text
        return text[text.index("\n") + 1:found.start() + 1]


def test_the_first_minute():
    """init, test, lint, run --once --dry-run, run, its first event, a saved change runs: in an empty directory,
    without a network, within a minute"""
    began = time.monotonic()
    with project() as p:
        shell = Typing(p)
        demo = shell.dir / "demo"
        try:
            shown = shell.enter("selfmon-lua init demo && cd demo && selfmon-lua test && selfmon-lua lint && "
                                "selfmon-lua run --once --dry-run")
            for words in ("demo/selfmon.conf.lua", "Next:\n  cd demo\n", "3 successes / 0 failures / 0 errors",
                          "ok        memory.run ", "1 inspection, 1 ok; 1 event", '"status": "info"'):
                assert words in shown, (words, shown)
            assert not (demo / ".selfmon").exists(), "a dry run leaves nothing behind"

            shell.term.type("selfmon-lua run\n")
            shown = shell.term.until(r" ok +memory\.run .* info [^\n]*\n", 60)
            assert "node local   state .selfmon" in shown and "stop with Ctrl-C" in shown, shown
            script = demo / "inspections/memory.lua"
            text = script.read_text()
            assert text.count("default = 90") == 1
            shell.term.type("")
            new = script.with_suffix(".swp")
            new.write_text(text.replace("default = 90", "default = 0"))
            new.rename(script)
            shown = shell.term.until(r"inspections/memory\.lua: loaded.*reloaded: 1 inspection .*"
                                     r" ok +memory\.run .* warning [^\n]*\n", 60)
            took = time.monotonic() - began
            shell.term.type("\x03")
            shown = shell.term.until(PROMPT)
            assert re.search(PROMPT, shown).group(1) == "0" and "stopping: " in shown, shown

            shown = shell.enter("selfmon-lua events")
            assert re.search(r"(?m)^\S+Z  info +memory\.run  delivered  [^\n]*\n\S+Z  warning +memory\.run  delivered  [^\n]*\n",
                             shown), shown
            print(f"# init to the saved change's run: {took:.1f} s", flush=True)
            assert took < 60, took
        finally:
            shell.term.close()


def test_anywhere_in_the_project():
    """each command finds the project from a folder inside it, and says what to do where there is none"""
    with project() as p:
        assert p.run("init", "demo").code == 0
        inside = p.dir / "demo/inspections"
        (p.dir / "demo/notes").mkdir()
        for cwd in (p.dir / "demo", inside, p.dir / "demo/notes"):
            done = p.run("test", cwd=cwd)
            assert done.code == 0 and "3 successes" in done.out, (cwd, done)
            assert p.run("lint", cwd=cwd).code == 0
            done = p.run("run", "--once", "--dry-run", cwd=cwd)
            assert done.code == 0 and done.json()[0]["id"] == "memory.run", (cwd, done)
            assert "memory.run" in p.run("list", cwd=cwd).out
        made = {f.name for f in p.dir.rglob("*")}
        assert ".selfmon" not in made, made
        with tempfile.TemporaryDirectory() as nowhere:
            for command in ("run", "test", "lint", "list"):
                done = p.run(command, cwd=nowhere)
                assert done.code == 64 and "no inspections here" in done.err and "selfmon-lua init" in done.err, done
            assert os.listdir(nowhere) == []


def test_a_mistake_is_shown_where_it_is():
    """a typo in the first script: test, lint and run name file, line and the nearest right name"""
    with project() as p:
        assert p.run("init", "demo").code == 0
        demo, script = p.dir / "demo", p.dir / "demo/inspections/memory.lua"
        text = script.read_text()
        script.write_text(text.replace("schedule =", "shedule ="))
        for words in (["lint"], ["run", "--once", "--dry-run"], ["test"]):
            done = p.run(*words, cwd=demo)
            assert done.code == 1, done
            shown = done.out + done.err
            assert "memory.lua:" in shown and "shedule" in shown and '"schedule"' in shown, shown
        script.write_text(text.replace("host.memory()", "host.memroy()"))
        done = p.run("run", "--once", "--dry-run", cwd=demo)
        line = next(n for n, one in enumerate(text.splitlines(), 1) if "host.memory()" in one)
        assert done.code == 1 and f"inspections/memory.lua:{line}:" in done.err and "memroy" in done.err, done


if __name__ == "__main__":
    harness.run_all(globals())
