#!/usr/bin/python3
"""docs/guide.md, played as it is written: its files are written, its commands typed into one shell, in this order, while
its `selfmon-lua run` runs; what it shows is what is printed."""
import os
import pathlib
import re
import socket
import subprocess

import harness
from harness import BINARY, clean_env, project, wait_for

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/guide.md"


def blocks():
    """(kind, text, line) of every fenced block."""
    found, kind, lines = [], None, []
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        if line.startswith("```"):
            if kind is None:
                kind, lines, at = line[3:], [], number
            else:
                found.append((kind, "\n".join(lines) + "\n", at))
                kind = None
        elif kind is not None:
            lines.append(line)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def holds(output, shown):
    """None when output has the lines shown, in this order, … standing for anything; else the first that it lacks."""
    at = 0
    lines = output.splitlines()
    for line in shown.splitlines():
        pattern = re.compile(".*".join(re.escape(re.sub(r"\s+", " ", part)) for part in line.strip().split("…")) + "$")
        while at < len(lines) and not pattern.match(re.sub(r"\s+", " ", lines[at].strip())):
            at += 1
        if at == len(lines):
            return line
        at += 1
    return None


class Player:
    def __init__(self, p):
        self.project, self.port = p, free_port()
        (p.dir / "bin").mkdir()
        (p.dir / "bin/selfmon-lua").symlink_to(BINARY)
        self.cwd, self.output, self.daemon, self.background = p.dir, "", None, []
        self.env = clean_env(PATH=f"{p.dir}/bin:{os.environ['PATH']}", HOME=str(p.dir), LC_ALL="C.UTF-8")

    def shell(self, text):
        """Runs a block as a person types it; the directory stays."""
        if text.strip() == "selfmon-lua run":
            log = open(self.project.dir / "run.out", "w")
            self.daemon = subprocess.Popen([BINARY, "run"], cwd=self.cwd, env=self.env, stdout=log, stderr=log,
                                           stdin=subprocess.DEVNULL)
            self.output = ""
            return
        if text.rstrip().endswith("&"):
            self.background.append(subprocess.Popen(["bash", "-c", "exec " + text.rstrip()[:-1]], cwd=self.cwd,
                                                    env=self.env, stdin=subprocess.DEVNULL))
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0, "the server of the guide", 30)
            return
        done = subprocess.run(["bash", "-ec", text + "\npwd >&9"], cwd=self.cwd, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, pass_fds=[9],
                              stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, (text, done.stdout)
        os.lseek(9, 0, os.SEEK_SET)
        self.cwd = pathlib.Path(os.read(9, 4096).decode().splitlines()[0])
        os.ftruncate(9, 0)
        os.lseek(9, 0, os.SEEK_SET)
        self.output = done.stdout

    def write(self, name, text):
        path = self.cwd / name
        new = path.with_suffix(".new")
        new.write_text(text)
        new.rename(path)

    def running(self):
        return (self.project.dir / "run.out").read_text() if self.daemon else ""

    def close(self):
        for process in [*self.background, *([self.daemon] if self.daemon else [])]:
            process.terminate()
            process.wait(timeout=30)


def test_the_guide():
    """each block in its order: files, commands, and what they print"""
    with project() as p:
        (p.dir / "inspections").rmdir()
        player = Player(p)
        keep = os.open(p.dir / "cwd", os.O_RDWR | os.O_CREAT)
        os.dup2(keep, 9)
        typed = shown = written = 0
        last = None  # a command that only looks is typed again until it shows what the guide shows
        try:
            for kind, text, line in blocks():
                text = text.replace("8099", str(player.port))
                where = f"{PAGE.name}:{line}"
                if kind == "sh":
                    player.shell(text)
                    last = text
                    typed += 1
                elif kind == "lua":
                    name = re.match(r"-- (inspections/\S+\.lua|selfmon\.conf\.lua)\n", text)
                    if name:
                        player.write(name.group(1), text)
                        last, player.output = None, ""
                        written += 1
                elif kind == "text":
                    def there():
                        nonlocal last
                        if holds(player.output, text) is None or holds(player.running(), text) is None:
                            return True
                        if last and last.startswith(("selfmon-lua events", "selfmon-lua why")):
                            player.shell(last)
                        return False
                    try:
                        wait_for(there, where, 60)
                    except AssertionError as late:
                        raise AssertionError(f"{late}: missing {holds(player.output, text)!r}\n--- printed\n{player.output}"
                                             f"--- run\n{player.running()}") from None
                    shown += 1
                else:
                    raise AssertionError(f"{where}: a block of {kind!r} is not played")
            assert (typed, written) >= (10, 5) and shown >= 10, (typed, written, shown)
            assert player.daemon.poll() is None, player.running()
        finally:
            player.close()
            os.close(9)
            os.close(keep)


if __name__ == "__main__":
    harness.run_all(globals())
