"""What the tests of the remote platform share: a project whose environment points at a stand-in."""
import contextlib
import hmac
import json
import pathlib
import sys

from harness import Project

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
from fakes import keyevents  # noqa: E402,F401
from fakes.certificates import Authority  # noqa: E402,F401
from fakes.platform import HTML, Platform, Trap  # noqa: E402,F401
from fakes.proxy import Proxy  # noqa: E402,F401

SECRET = "association-secret-of-the-tests"
RATE = "rate = { key = 60000, workspace = 60000 }"
LIMITED = '{"code":401,"content":{},"errorCode":"ft.TriggerApiAkCurrentLimiting","message":"limit",' \
          '"success":false,"traceId":"trace-limit"}'


def ref_key(function_id, secret=SECRET):
    secret = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(secret, b"selfmon-lua\0" + function_id.encode(), "sha256").hexdigest()[:32]


class RemoteProject(Project):
    """A project of an account; `env` goes to every command. Its own call budget is out of the way."""

    def __init__(self, env):
        super().__init__()
        self.env = {"SELFMON_SECRET": SECRET, **env}
        self.account("")

    def account(self, fields, more=""):
        """Writes the configuration: further fields of accounts.default, further keys."""
        self.write("selfmon.conf.lua", f"return {{ accounts = {{ default = {{ {RATE}, {fields} }} }}, {more} }}")

    def run(self, *args, env=None, **kw):
        return super().run(*args, env={**self.env, **(env or {})}, **kw)

    def daemon(self, *args, env=None):
        return super().daemon(*args, env={**self.env, **(env or {})})

    def outcomes(self, *args, **kw):
        """outcome per id of one run --once."""
        done = self.once("--json", *args, **kw)
        try:
            return {i["id"]: i["outcome"] for i in done.json()}
        except ValueError:
            raise AssertionError(done) from None

    def deliveries(self):
        return sorted(e["delivery"] for e in self.events())

    def log(self):
        """Texts of the newest run's log, one per line."""
        runs = self.runs("--log")
        newest = max(runs, key=lambda r: r["started"])
        return "\n".join(line["text"] for line in newest["log"])


@contextlib.contextmanager
def shop(**how):
    """(project, platform): a project that reports to a fresh stand-in."""
    with Platform(**how) as platform:
        p = RemoteProject(platform.env)
        try:
            yield p, platform
        finally:
            p.close()


def script(body="", title="Test", **keys):
    """A script with one inspection `run`, on demand."""
    fields = "".join(f", {k} = {v}" for k, v in keys.items())
    return f'monitor{{ title = {json.dumps(title)}{fields} }}\nfunction run(params, ctx)\n{body}\nend\n'


def report(title="Something", status="warning", tags="{}", message="text"):
    return (f'EventReporter():report{{ title = "{title}", message = "{message}", status = "{status}", '
            f'dimension_tags = {tags} }}')


def many(count, size=0):
    """Lua that reports `count` events, each of its own dimension, in one list."""
    return (f'local list = {{}}\nfor i = 1, {count} do list[i] = {{ title = "E" .. i, status = "error", '
            f'message = "m" .. ("x"):rep({size}), dimension_tags = {{ n = i }} }} end\nEventReporter():report(list)')
