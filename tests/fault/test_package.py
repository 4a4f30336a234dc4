"""The package where it will live: under a real systemd, booted in a container on an overlay over this machine's root,
with the unit's whole hardening; and the two stages of the Containerfile, their commands run one by one (there is no
Docker here), with the image's user, environment and volume."""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import faults  # noqa: F401  (puts the harness on the path)
from harness import ROOT, Skip, run_all
from packages import good, overlay, package, sh

BOOT = r'''
mount -t tmpfs none /run
cat >etc/systemd/system/check.service <<UNIT
[Unit]
After=basic.target dbus.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=240
StandardOutput=append:/root/log
StandardError=append:/root/log
ExecStart=/bin/sh /root/check
UNIT
printf '[Unit]\nRequires=basic.target check.service\nAllowIsolate=yes\n' >etc/systemd/system/check.target
rm -f usr/sbin/policy-rc.d
# Landlock is younger than this nspawn's list of system calls.
timeout 280 systemd-nspawn --register=no --keep-unit --private-network -D . --boot --quiet \
  --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
  systemd.unit=check.target >"$1/boot" 2>&1 || true
if [ -e root/log ]; then cat root/log; else echo 'it did not boot'; tail -20 "$1/boot"; fi
'''

CHECK = r'''
set -eux
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
unit=selfmon-lua.service
conf=/etc/selfmon-lua/selfmon.conf.lua
prop() { systemctl show $unit -p "$1" --value; }
soon() {
    set +x; n=0
    until eval "$1"; do
        n=$((n + 1)); [ $n -lt 600 ] || { journalctl -u $unit --no-pager -n 20; exit 1; }
        sleep 0.1
    done
    set -x
}
ran() { selfmon-lua runs --log --id "$1" -n 1 --state-dir /var/lib/selfmon; }

: what the unit gives: a credential, and a watchdog that bites within the time of a test
echo 'a value that nobody sees' >/root/key
mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nLoadCredential=key:/root/key\nWatchdogSec=3\nTimeoutAbortSec=2\n' >/etc/systemd/system/$unit.d/test.conf

: it installs and is ready
dpkg -i /root/selfmon-lua_*.deb
[ "$(prop ActiveState)" = active ]
prop StatusText | grep -q 'loaded 3 inspections'
soon 'ran host/disk.run | grep -q " ok "'

: confined to its own user without capabilities, and workers more so
pid=$(prop MainPID)
grep -q "^Uid:.*$(id -u selfmon)" /proc/$pid/status
grep -q '^CapEff:\s*0000000000000000$' /proc/$pid/status
grep -q '^NoNewPrivs:\s*1$' /proc/$pid/status
filters() { awk '/^Seccomp_filters:/ { print $2 }' /proc/$1/status; }
worker=$(pgrep -P $pid -f -- --worker | head -1)
[ "$(filters $worker)" -gt "$(filters $pid)" ]
[ "$(cat /proc/$worker/oom_score_adj)" = 1000 ]
[ -z "$(find /var/lib/selfmon ! -user selfmon)" ]

: the daemon reads its credential, an inspection sees the machine and resolves names
sed -i 's|^  -- timezone.*|  secrets = { key = { credential = "key" } }, secret = secret "key",|' $conf
cat >/etc/selfmon-lua/inspections/see.lua <<'LUA'
monitor{ title = "See", schedule = "@every 1s" }
function run()
  local host, http, log = require "selfmon.host", require "selfmon.http", require "selfmon.log"
  local disk = host.disks()[1]
  log.info("disk " .. disk.mount .. " read only " .. tostring(disk.read_only))
  log.info("memory " .. tostring(host.memory().total > 0))
  local _, err = http.get "http://localhost:1/"
  log.info("name " .. err)
end
LUA
systemctl restart $unit
pid=$(prop MainPID)
soon 'ran see.run | grep -q " ok "'
[ ! -e /proc/$pid/environ ] || ! grep -qa 'a value that nobody sees' /proc/$pid/environ
ran see.run | grep -q 'disk / read only false'
ran see.run | grep -q 'memory true'
ran see.run | grep -q 'Connection refused'

: nothing was refused that it needs
if journalctl -u $unit --no-pager | grep -E 'error:|Operation not permitted|Function not implemented'; then false; fi

: reload
systemctl reload $unit
[ "$(prop ActiveState)" = active ] && [ "$(prop MainPID)" = $pid ]

: killed, it comes back
kill -9 $pid
soon '[ "$(prop NRestarts)" = 1 ] && [ "$(prop ActiveState)" = active ]'

: hung, it is killed and comes back
kill -STOP $(prop MainPID)
soon '[ "$(prop NRestarts)" = 2 ] && [ "$(prop ActiveState)" = active ]'

: a wrong configuration is tried again, and works once mended
cp $conf /root/conf; echo 'return { nonsense = 1 }' >$conf
systemctl restart $unit || true
soon '[ "$(prop ExecMainStatus)" = 78 ]'
cp /root/conf $conf
soon '[ "$(prop ActiveState)" = active ]'

: stop, start and upgrade
systemctl stop $unit
[ "$(prop Result)" = success ]
systemctl start $unit
old=$(prop MainPID)
dpkg -i /root/selfmon-lua_*.deb
[ "$(prop MainPID)" != $old ] && [ "$(prop ActiveState)" = active ]

: purge
dpkg --purge selfmon-lua
[ ! -e /var/lib/selfmon ]
! pgrep -x selfmon-lua
echo all is well
'''


def test_under_systemd():
    """booted with systemd: installs, is ready, confined, reloads, comes back when killed or hung, upgrades, is purged"""
    if not shutil.which("systemd-nspawn"):
        raise Skip("systemd-nspawn is not installed")
    done = overlay(BOOT, CHECK, [package()], timeout=400)
    if "it did not boot" in done.stdout:
        raise Skip("systemd-nspawn cannot boot here: " + " ".join(done.stdout.split())[-200:])
    assert done.stdout.endswith("all is well\n"), done.stdout[-6000:] + done.stderr[-6000:]


def stages():
    """The Containerfile as a list of stages, each a list of (instruction, argument)."""
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.M))
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, argument = line.split(None, 1)
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, argument))
    return found


def test_containerfile_reads():
    """the Containerfile: known instructions, sources that exist, packages that exist, a user that is not root"""
    build, run = stages()
    for stage in (build, run):
        assert stage[0][1].split()[0] == "debian:12-slim", stage[0]
        for instruction, argument in stage:
            assert instruction in ("FROM WORKDIR COPY RUN USER ENV VOLUME EXPOSE HEALTHCHECK STOPSIGNAL ENTRYPOINT "
                                   "CMD").split(), instruction
            if instruction == "COPY" and "--from" not in argument:
                source = argument.split()[0]
                assert (ROOT / source).exists(), source
                ignored = (ROOT / ".dockerignore").read_text().split()
                assert f"/{source.rstrip('/')}" not in ignored, source
    given = dict(run)
    assert given["USER"] == "10001:10001" and given["VOLUME"] == "/var/lib/selfmon" and given["EXPOSE"] == "8788"
    for instruction in ("ENTRYPOINT", "CMD"):
        assert json.loads(given[instruction])
    names = re.sub(r"#.*", "", (ROOT / "vendor" / "packages-build.txt").read_text()).split() + ["make"]
    known = sh("apt-cache", "show", "--no-all-versions", *names).stdout
    missing = [n for n in names if f"Package: {n}\n" not in known]
    assert not missing, missing


IMAGE = r'''
mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs none run; mount -t tmpfs none tmp
/usr/bin/python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))'  # SIOCSIFFLAGS: up
mkdir -p src build
cp -a "$SOURCE/." src/
exec chroot . /bin/bash /root/check
'''


def test_containerfile_runs():
    """the commands of both stages run, and the image's command serves, is healthy and stops, on a read-only root"""
    build, run = stages()
    given = dict(run)
    env = dict(pair.split("=", 1) for pair in shlex.split(given["ENV"]))
    command = " ".join(map(shlex.quote, json.loads(given["ENTRYPOINT"]) + json.loads(given["CMD"])))
    health = " ".join(map(shlex.quote, json.loads(given["HEALTHCHECK"].split("CMD", 1)[1])))
    # The distribution's packages are here already and there may be no network: apt installs only the package.
    apt = 'apt-get() { case "$*" in *update*) ;; *selfmon-lua_*) command apt-get "$@" ;; *) ;; esac; }'
    make = "".join(f"( {a} )\n" for i, a in build if i == "RUN")
    package_from = next(a.split()[1] for i, a in run if i == "COPY")
    setup = "".join(f"( {a} )\n" for i, a in run if i == "RUN")
    script = f'''
set -eux
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
{apt}
userdel selfmon 2>/dev/null || true
cd /src
{make}cp {package_from} /tmp/
cd /
{setup}
export {" ".join(f"{k}={shlex.quote(v)}" for k, v in env.items())}
[ "$(id -u selfmon)" = 10001 ]
: a volume whose root belongs to somebody else, as in Kubernetes, on a root that cannot be written
mount -t tmpfs -o mode=2775,uid=0,gid=10001 none /var/lib/selfmon
mount -o remount,ro / || true
as() {{ setpriv --reuid 10001 --regid 10001 --init-groups --no-new-privs "$@"; }}
cd /var/lib/selfmon
as {command} >/tmp/log 2>&1 &
soon() {{ set +x; n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt 600 ] || {{ cat /tmp/log; exit 1; }}; sleep 0.1; done; set -x; }}
healthy() {{ as {health}; }}
soon healthy
soon 'as selfmon-lua status 2>&1 | grep -q host/disk.run'
stat -c '%u %A' /var/lib/selfmon/state | grep -qx '10001 drwx--[S-]---'
kill -TERM $(pgrep -o -x selfmon-lua)
wait $!
if healthy; then exit 1; fi
echo all is well
'''
    with tempfile.TemporaryDirectory() as there:
        tree = pathlib.Path(there) / "tree"
        tree.mkdir()
        files = good("git", "-C", str(ROOT), "ls-files", "-z").split("\0")
        for name in filter(None, files):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, tree / name)
        os.environ["SOURCE"] = str(tree)
        done = overlay(IMAGE, script, flags=["-n"], timeout=900)
    assert done.returncode == 0 and done.stdout.endswith("all is well\n"), done.stdout[-6000:] + done.stderr[-6000:]


run_all(globals())
