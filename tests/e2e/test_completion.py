#!/usr/bin/python3
"""Completion as a user meets it: bash and zsh, each on a terminal of its own, with the Tab key."""
import os
import re
import shutil
import subprocess

import harness
from harness import BINARY, Skip, clean_env, project, simple
from terminal import Terminal


def bash(p, line, cwd=None):
    """What bash offers for a line that ends at the cursor: its own completion function is called as readline
    calls it, with the words cut as bash cuts them."""
    script = f'''
        source <("{BINARY}" completion bash)
        COMP_LINE=$1 COMP_POINT=${{#1}} COMP_TYPE=9 COMP_KEY=9
        shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _selfmon_lua
        printf '%s\\n' "${{COMPREPLY[@]}}"'''
    words = [w for w in re.findall(r"[:=@]|[^\s:=@]+", line)]
    if line.endswith(" "):
        words.append("")
    words[0] = BINARY
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", line, *words], cwd=cwd or p.dir, capture_output=True,
                          text=True, timeout=60, env=clean_env(PATH=os.environ["PATH"]))
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def sample(p):
    p.script("host/disk.lua", simple(title="Disks"))
    p.script("shop.lua", simple(title="Shop"))
    bin_dir = p.dir / "bin"
    bin_dir.mkdir()
    (bin_dir / "selfmon-lua").symlink_to(BINARY)
    return f"{bin_dir}:{os.environ['PATH']}"


def test_bash_words():
    """bash: commands, options, values, ids, names of doc; nothing is created, an unreadable project says nothing"""
    with project() as p:
        sample(p)
        assert bash(p, "selfmon-lua stat") == ["status"]
        assert {"run", "init", "doc", "--help"} <= set(bash(p, "selfmon-lua "))
        assert set(bash(p, "selfmon-lua run --dr")) == {"--drain", "--dry-run"}
        assert set(bash(p, "selfmon-lua why ")) == {"host/disk.run", "shop.run"}
        assert bash(p, "selfmon-lua key shop.run h") == ["host/disk.run"]
        assert bash(p, "selfmon-lua why shop.run ") == []
        assert bash(p, "selfmon-lua why --json sh") == ["shop.run"]
        assert bash(p, "selfmon-lua local set s") == ["shop.run"]
        assert bash(p, "selfmon-lua local dis") == ["disable"]
        assert bash(p, "selfmon-lua runs --status time") == ["timeout"]
        assert bash(p, "selfmon-lua runs --status=time") == ["timeout"]
        assert set(bash(p, "selfmon-lua events --status ")) == {"info", "ok", "warning", "error", "critical"}
        assert "truewatch/us1" in bash(p, "selfmon-lua run --node tr")
        assert bash(p, "selfmon-lua run --once -p sh") == ["shop.run:"]
        assert bash(p, "selfmon-lua doc crypto.uu") == ["crypto.uuid"]
        assert "--junit" in bash(p, "selfmon-lua test --")
        assert bash(p, "selfmon-lua market ins") == ["install"]
        assert bash(p, "selfmon-lua market install tls/cert") == ["tls/certificate"]
        assert bash(p, "selfmon-lua new --from t") == ["tcp"]
        assert bash(p, "selfmon-lua check sh") == ["shop.run"]
        assert bash(p, "selfmon-lua run insp") == []  # files: bash's own
        assert bash(p, "selfmon-lua nosuch x") == []
        assert not (p.dir / ".selfmon").exists()
        p.write("selfmon.conf.lua", "return {")
        assert bash(p, "selfmon-lua why ") == []


def test_every_option_is_offered():
    """the options that each command's help shows are offered for it"""
    with project() as p:
        commands = [c for c in bash(p, "selfmon-lua ") if not c.startswith("-")]
        assert len(commands) >= 24, commands
        for command in commands:
            text = p.run(command, "--help").out
            offered = set(p.run("completion", "words", f"selfmon-lua {command} -").out.split())
            assert "--help" in offered, (command, offered)
            usage = text.split("\n\n")[0]
            shown = set(re.findall(r"(?<![\w`-])--[a-z][a-z0-9-]+", usage))
            assert shown <= offered, (command, shown - offered)


def test_bash_terminal():
    """bash on a terminal: Tab completes a command, an id with @ and a value behind ="""
    with project() as p:
        path = sample(p)
        p.write("selfmon.conf.lua", 'return { instances = { ["shop.run"] = { one = {}, two = { schedule = "@weekly" } } } }')
        term = Terminal(["bash", "--norc", "--noprofile", "-i"], p.dir, PATH=path)
        try:
            term.type('bind "set enable-bracketed-paste off"; source <(selfmon-lua completion bash); echo rea""dy\n')
            term.until(r"\nready\n")
            term.type("selfmon-lua stat\t")
            term.until(r"stat.*us ")
            term.type("\x15selfmon-lua why shop.run@t\t")
            term.until(r"run@t.*wo ")
            term.type("\x15selfmon-lua why shop.run@o\t")
            term.until(r"run@o.*ne ")
            term.type("\x15selfmon-lua runs --status=time\t")
            term.until(r"=time.*out ")
            term.type("\x15selfmon-lua lint insp\t")
            term.until(r"insp.*ections/")
        finally:
            term.close()


def test_zsh_terminal():
    """zsh on a terminal, with the file of the package in fpath: commands, ids, files"""
    if not shutil.which("zsh"):
        raise Skip("zsh is not installed")
    with project() as p:
        path = sample(p)
        functions = p.dir / "functions"
        functions.mkdir()
        (functions / "_selfmon-lua").write_text(p.run("completion", "zsh").out)
        term = Terminal(["zsh", "-f", "-i"], p.dir, PATH=path, HOME=str(p.dir))
        try:
            term.type("PS1='$ '; fpath=(./functions $fpath); autoload -U compinit; compinit -u -D; echo rea''dy\n")
            term.until(r"\nready")
            term.type("selfmon-lua stat\t")
            term.until(r"stat.*us ")
            term.type("\x15selfmon-lua why ho\t")
            term.until(r"ho.*st/disk\.run")
            term.type("\x15selfmon-lua runs --status=time\t")
            term.until(r"time.*out")
            term.type("\x15selfmon-lua lint insp\t")
            term.until(r"insp.*ections/")
        finally:
            term.close()


def test_usage():
    """completion: another shell is refused with one sentence; both scripts are what their shells take"""
    with project() as p:
        for words in (["completion"], ["completion", "fish"], ["completion", "bash", "zsh"]):
            done = p.run(*words)
            assert done.code == 64 and "expected bash or zsh" in done.err, done
        for shell in ("bash", "zsh"):
            if shutil.which(shell):
                text = p.run("completion", shell).out
                checked = subprocess.run([shell, "-n"], input=text, text=True, capture_output=True, timeout=30)
                assert checked.returncode == 0 and checked.stderr == "", checked


if __name__ == "__main__":
    harness.run_all(globals())
