"""The Debian package: what is in it, that it installs, upgrades, and goes again; its unit; its man pages; and
the program copied alone.

The package is made from the build directory of the program under test. What installs it needs root, and works
in a mount namespace of its own, on an overlay over this machine's root that is gone afterwards."""
import json
import os
import pathlib
import re
import shutil
import tempfile

from harness import BINARY, ROOT, Skip, clean_env, project, run_all, simple
from packages import BUILD, extracted, good, overlay, package, sh, temporary

UNIT = ROOT / "packaging" / "selfmon-lua.service"


def field(name):
    return good("dpkg-deb", "-f", str(package()), name).strip()


def test_metadata():
    """name, version, dependencies computed from the program, and a description"""
    assert package().name == f"selfmon-lua_{field('Version')}_{field('Architecture')}.deb", package()
    version = re.search(r"VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text().split("project(")[1]).group(1)
    assert field("Version") == version
    changelog = (ROOT / "packaging" / "changelog").read_text()
    assert changelog.startswith(f"selfmon-lua ({version}) "), "packaging/changelog is of another version"
    depends = {d.split()[0] for d in field("Depends").split(", ")}
    # Not computed: what the program opens, and what postinst calls.
    assert depends > {"tzdata", "ca-certificates", "adduser"}, depends
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", good("readelf", "-d", str(extracted() / "usr/bin/selfmon-lua")))
    for library in needed:
        owners = {line.split(":")[0] for line in good("dpkg", "-S", f"*/{library}").splitlines()}
        assert owners & depends, f"{library} of {owners} is not in {depends}"
    assert len(field("Description").splitlines()) > 4


def test_contents():
    """every file where it belongs, readable by all, owned by root"""
    lines = [line.split(None, 5) for line in good("dpkg-deb", "-c", str(package())).splitlines()]
    files = {line[5].lstrip("."): line[0] for line in lines}
    assert {line[1] for line in lines} == {"root/root"}
    for path in ("/etc/selfmon-lua/selfmon.conf.lua", "/etc/selfmon-lua/inspections/README",
                 "/etc/selfmon-lua/inspections/host/disk.lua", "/lib/systemd/system/selfmon-lua.service",
                 "/usr/share/selfmon-lua/inspections/http/endpoint.lua",
                 "/usr/share/doc/selfmon-lua/copyright", "/usr/share/doc/selfmon-lua/changelog.gz",
                 "/usr/share/doc/selfmon-lua/operations.md", "/usr/share/doc/selfmon-lua/script-guide.md",
                 "/usr/share/doc/selfmon-lua/guide.md",
                 "/usr/share/bash-completion/completions/selfmon-lua",
                 "/usr/share/zsh/vendor-completions/_selfmon-lua",
                 "/usr/share/man/man1/selfmon-lua.1.gz", "/usr/share/man/man5/selfmon.conf.lua.5.gz"):
        assert files.get(path) == "-rw-r--r--", (path, files.get(path))
    assert files["/usr/bin/selfmon-lua"] == "-rwxr-xr-x"
    assert all(mode in ("-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x") for mode in files.values()), files
    control = pathlib.Path(temporary().name) / "control"
    good("dpkg-deb", "-e", str(package()), str(control))
    conffiles = set((control / "conffiles").read_text().split())
    assert conffiles == {p for p, m in files.items() if p.startswith("/etc/") and m.startswith("-")}
    for script in ("postinst", "prerm", "postrm"):
        good("sh", "-n", str(control / script))
        assert os.access(control / script, os.X_OK)


def test_hardening():
    """the program is stripped, position independent, with read-only relocations and no executable stack"""
    program = str(extracted() / "usr/bin/selfmon-lua")
    header, dynamic = good("readelf", "-hlW", program), good("readelf", "-dW", program)
    assert re.search(r"Type:\s+DYN \(Position-Independent Executable", header), header
    assert "GNU_RELRO" in header
    assert re.search(r"FLAGS.*BIND_NOW", dynamic) and "RPATH" not in dynamic and "RUNPATH" not in dynamic
    stack = re.search(r"GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+(\w+)", header)
    assert stack and "E" not in stack.group(1), header
    assert ".symtab" not in good("readelf", "-SW", program)
    assert "__stack_chk_fail" in good("readelf", "--dyn-syms", "-W", program)
    if "CMAKE_BUILD_TYPE:STRING=Debug" not in (BUILD / "CMakeCache.txt").read_text():
        assert re.search(r"__\w+_chk@", good("readelf", "--dyn-syms", "-W", program)), "no _FORTIFY_SOURCE"


def test_lintian():
    """lintian finds neither errors nor warnings"""
    if not shutil.which("lintian"):
        raise Skip("lintian is not installed")
    done = sh("lintian", "--fail-on", "error,warning", "--allow-root", str(package()))
    assert done.returncode == 0, done.stdout + done.stderr


def test_unit():
    """the unit verifies, names what is in the package, and is exposed to 2.0 at most"""
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")
    text = UNIT.read_text()
    with tempfile.TemporaryDirectory() as there:
        # The same with the program that is here: `verify` wants to find it.
        unit = pathlib.Path(there) / UNIT.name
        unit.write_text(text.replace("/usr/bin/selfmon-lua", str(extracted() / "usr/bin/selfmon-lua")))
        done = sh("systemd-analyze", "verify", "--man=no", str(unit))
        assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
    done = sh("systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT))
    assert done.returncode == 0 and "Overall exposure level" in done.stdout, done.stdout + done.stderr
    assert "ExecStart=/usr/bin/selfmon-lua run -c /etc/selfmon-lua/selfmon.conf.lua" in text
    for page, section in re.findall(r"man:(\S+)\((\d)\)", text):
        assert (extracted() / f"usr/share/man/man{section}/{page}.{section}.gz").exists()
    for path in re.findall(r"file://(\S+)", text):
        assert (extracted() / path.lstrip("/")).exists(), path


def test_configuration_as_it_is():
    """the shipped configuration works as it is: the shipped inspections of this machine run"""
    with project() as p:
        root = p.dir / "root"
        shutil.copytree(extracted() / "etc", root / "etc")
        conf = root / "etc/selfmon-lua/selfmon.conf.lua"
        conf.write_text(conf.read_text().replace('"/etc/', f'"{root}/etc/'))
        command = [str(extracted() / "usr/bin/selfmon-lua"), "run", "--once", "--json", "-c", str(conf),
                   "--state-dir", str(p.dir / "state")]
        done = sh(*command, env=clean_env(), cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr
        ran = {r["id"]: r["outcome"] for r in json.loads(done.stdout)}
        assert ran == {"host/disk.run": "ok", "host/load.run": "ok", "host/memory.run": "ok"}, ran
        assert (p.dir / "state").stat().st_mode & 0o777 == 0o700
        # Every commented example of it is one that is understood.
        lines = conf.read_text().splitlines()
        example = [re.sub(r"^(\s*)-- (?=\s*[\w}])", r"\1", line) if i > lines.index("return {") and "=" in line
                   or re.match(r"\s*-- +},", line) else line for i, line in enumerate(lines)]
        text = "\n".join(example).replace('{ credential = "api-key" }', '{ env = "KEY" }')
        text = text.replace(f"{root}/etc/selfmon-lua/identity", str(p.dir / "identity"))
        (p.dir / "identity").write_text("some words to keep")
        (p.dir / "identity").chmod(0o600)
        every = p.write("every.conf.lua", text)
        done = sh(command[0], "doctor", "--config", "-c", str(every), "--state-dir", str(p.dir / "other"),
                  env=clean_env(KEY="0123456789abcdef", HTTPS_PROXY="http://127.0.0.1:1"), cwd="/")
        config = done.stdout.split("\nok ")[0].split("\nbad ")[0]
        for word in ("truewatch/us1", "Europe/Berlin", "heartbeat", "127.0.0.1:8788"):
            assert word in config, f"{word}\n{text}\n{done.stdout}{done.stderr}"


INSTALL = """
mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs none run; mount -t tmpfs none tmp
exec chroot . /bin/sh /root/check
"""

CHECK = r'''
set -eux
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
if dpkg-query -W selfmon-lua 2>/dev/null; then dpkg --purge selfmon-lua; fi
conf=/etc/selfmon-lua/selfmon.conf.lua
as() { setpriv --reuid selfmon --regid selfmon --clear-groups "$@"; }

: install
dpkg -i /root/selfmon-lua_*.deb
[ "$(stat -c '%U:%G %a' /var/lib/selfmon)" = 'selfmon:selfmon 700' ]
as selfmon-lua run --once -c $conf
[ "$(stat -c '%U %a' /var/lib/selfmon/selfmon.db)" = 'selfmon 600' ]
selfmon-lua runs -c $conf | grep -q host/disk.run
systemctl is-enabled selfmon-lua.service

: a reader that is root leaves nothing of its own behind
[ -z "$(find /var/lib/selfmon ! -user selfmon)" ]

: upgrade: what was changed stays, what was removed does not come back, the state stays
echo '-- mine' >>$conf
rm /etc/selfmon-lua/inspections/host/load.lua
echo 'monitor{ title = "Mine" } function run() end' >/etc/selfmon-lua/inspections/mine.lua
dpkg -i --force-confdef --force-confold /root/selfmon-lua_*.deb
grep -q '^-- mine' $conf
[ ! -e /etc/selfmon-lua/inspections/host/load.lua ]
selfmon-lua runs -c $conf | grep -q host/disk.run

: remove keeps configuration and state
dpkg -r selfmon-lua
[ -e $conf ]; [ -e /var/lib/selfmon/selfmon.db ]; [ ! -e /usr/bin/selfmon-lua ]

: and a new installation finds them
dpkg -i /root/selfmon-lua_*.deb
selfmon-lua runs -c $conf | grep -q host/disk.run

: purge leaves only what others put there
dpkg --purge selfmon-lua
[ ! -e /var/lib/selfmon ]; [ ! -e $conf ]
[ "$(find /etc/selfmon-lua -type f)" = /etc/selfmon-lua/inspections/mine.lua ]
if systemctl is-enabled selfmon-lua.service 2>/dev/null; then exit 1; fi
echo all is well
'''


def test_install():
    """it installs, keeps changes in an upgrade, keeps state when removed, and is gone when purged"""
    done = overlay(INSTALL, CHECK, [package()])
    assert done.returncode == 0 and done.stdout.endswith("all is well\n"), done.stdout + done.stderr
    assert not pathlib.Path("/etc/selfmon-lua").exists() or sh("dpkg", "-s", "selfmon-lua").returncode == 0


def test_alone():
    """the program copied alone to an empty directory works, with nothing in the environment"""
    with tempfile.TemporaryDirectory() as there:
        alone = pathlib.Path(there) / "selfmon-lua"
        shutil.copy(BINARY, alone)
        script = pathlib.Path(there) / "inspections" / "one.lua"
        script.parent.mkdir()
        script.write_text(simple('  local cjson, time = require "cjson", require "selfmon.time"\n'
                                 '  EventReporter():report{ title = cjson.encode{ 1 }, message = "m", status = "info" }'))
        done = sh(str(alone), "run", "--once", env={}, cwd=there)
        assert done.returncode == 0 and "1 event" in done.stdout, done.stdout + done.stderr
        done = sh(str(alone), "events", env={}, cwd=there)
        assert done.returncode == 0 and "[1]" in done.stdout, done.stdout + done.stderr
        done = sh(str(alone), "lua", "-e", 'for _, m in ipairs{ "http", "host", "time", "crypto", "log", "secret", '
                  '"testing" } do assert(require("selfmon." .. m)) end print "all"', env={}, cwd=there)
        assert done.stdout == "all\n", done.stdout + done.stderr


def page(name):
    text = (ROOT / "docs" / "man" / f"{name}.scd").read_text()
    return text, re.sub(r"[*\\]|(?<!\w)_|_(?!\w)", "", text)


def test_man_page_commands():
    """selfmon-lua(1) has every command and every option of --help, and no others"""
    raw, plain = page("selfmon-lua.1")
    overview = good(BINARY, "--help")
    commands = {c for c in re.findall(r"^  selfmon-lua (\w+)", overview, re.M)}
    told = set(re.findall(r"^\*(\w+)\*(?: |$)", raw.split("# COMMANDS")[1].split("# OPTIONS")[0], re.M))
    assert commands <= told, f"{commands - told} are not in selfmon-lua(1)"
    for command in told - commands:  # as `unmute`, which the overview tells with `mute`
        assert sh(BINARY, command, "--help").returncode == 0, f"{command} is no command"
    commands = told
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*|(?<![\w-])-[a-zA-Z](?![\w-])", overview))
    for command in commands:
        options |= set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*|(?<![\w-])-[a-zA-Z](?![\w-])", good(BINARY, command, "--help")))
    for option in sorted(options - {"-d"}):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", plain), f"{option} is not in selfmon-lua(1)"
    for option in set(re.findall(r"\*(--[a-z0-9-]+)\*", raw)):
        assert option in options | {"--config", "--quiet", "--verbose", "--version", "--param", "--pattern",
                                    "--number"}, f"{option} is not in --help"


def test_man_page_environment():
    """selfmon-lua(1) names every variable that the program reads"""
    _, plain = page("selfmon-lua.1")
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.c"))
    read = set(re.findall(r'getenv\("([A-Z_]+)"\)', source)) | set(re.findall(r'"(SELFMON_[A-Z_]+)"', source))
    missing = [name for name in sorted(read) if not re.search(rf"\b{name}\b", plain)]
    assert not missing, missing


def test_man_page_keys():
    """selfmon.conf.lua(5) names every key of the configuration"""
    _, plain = page("selfmon.conf.lua.5")
    with project() as p:
        p.script("a.lua", simple())
        p.write("selfmon.conf.lua", "return {}")
        config = p.run("doctor", "--config", "--json", "-c", "selfmon.conf.lua").json()["config"]
        for key in config:
            for word in key.split("."):
                assert re.search(rf"(?<!\w){word}(?!\w)", plain), f"{key} is not in selfmon.conf.lua(5)"
        p.write("selfmon.conf.lua", "return { accounts = { default = { nonsense = 1 } } }")
        known = p.run("doctor", "-c", "selfmon.conf.lua").out.split("it may have ")[1].split("\n")[0]
        for word in known.split(", "):
            assert re.search(rf"(?<!\w){word}(?!\w)", plain), f"{word} is not in selfmon.conf.lua(5)"


def test_man_pages_render():
    """the man pages are made without a complaint"""
    for name in ("selfmon-lua.1", "selfmon.conf.lua.5"):
        text = good("sh", "-c", f"scdoc <{ROOT}/docs/man/{name}.scd")
        assert text.count(".SH") > 3 and ".TH" in text


run_all(globals())
