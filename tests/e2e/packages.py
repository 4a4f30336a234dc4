"""The Debian package made from the build directory of the program under test, for the tests that open or install
it, and a place to install it: an overlay over this machine's root that is gone afterwards."""
import functools
import os
import pathlib
import re
import subprocess
import tempfile

from harness import BINARY, Skip

BUILD = pathlib.Path(BINARY).resolve().parent


def sh(*command, env=None, timeout=300, **kw):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout,
                          stdin=None if "input" in kw else subprocess.DEVNULL,
                          env=env or dict(os.environ, LC_ALL="C.UTF-8"), **kw)


def good(*command, **kw):
    done = sh(*command, **kw)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@functools.cache
def temporary():
    return tempfile.TemporaryDirectory(prefix="selfmon-package-")


@functools.cache
def package():
    cache = (BUILD / "CMakeCache.txt").read_text()
    if re.search(r"^SM_SANITIZE:\w+=.", cache, re.M):
        raise Skip("a build with sanitizers is not packaged")
    good("cmake", "--build", str(BUILD), "--target", "package_files", "selfmon-lua")
    out = pathlib.Path(temporary().name) / "out"
    good("cpack", "--config", str(BUILD / "CPackConfig.cmake"), "-B", str(out))
    (deb,) = out.glob("*.deb")
    return deb


@functools.cache
def extracted():
    into = pathlib.Path(temporary().name) / "root"
    good("dpkg-deb", "-x", str(package()), str(into))
    return into


# $1 an empty directory; the rest is run in $1/root, this machine's root to write on. The files named in $FILES go to
# its /root, standard input to /root/check.
OVERLAY = r'''
set -eu
mount -t tmpfs none "$1"; mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
[ -z "${FILES:-}" ] || cp -a $FILES "$1/root/root/"
cat >"$1/root/root/check"
cd "$1/root"
rm -f var/lib/man-db/auto-update
'''


def overlay(script, given, files=(), flags=(), timeout=300):
    """Runs a shell script behind OVERLAY in namespaces of its own (mounts, processes, and those of the flags of
    unshare(1)); whatever it leaves running ends with it."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    with tempfile.TemporaryDirectory() as there:
        command = ["unshare", "-m", "-p", "--fork", "--kill-child", "--propagation", "private", *flags, "sh", "-c"]
        if sh(*command, OVERLAY, "sh", there, input="").returncode != 0:
            raise Skip("no overlay mounts here")
        return sh(*command, OVERLAY + script, "sh", there, input=given, timeout=timeout,
                  env=dict(os.environ, LC_ALL="C.UTF-8", FILES=" ".join(map(str, files))))
