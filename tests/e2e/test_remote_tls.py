"""TLS of the platform's addresses, and the proxy on the way to them."""
import contextlib
import pathlib
import socket
import subprocess
import tempfile

from harness import run_all, wait_for
from remote import Authority, Platform, Proxy, RemoteProject, report, script

SERVERS = ("openapi", "openway")


@contextlib.contextmanager
def secure(make, ca=True, more=""):
    """(project, platform) over https with the certificate that make(authority) gives."""
    with tempfile.TemporaryDirectory(prefix="selfmon-ca-") as folder:
        authority = Authority(folder)
        with Platform(tls=make(authority)) as platform:
            p = RemoteProject(platform.env)
            try:
                p.write("ca.pem", authority.ca.read_text())
                p.account((f'ca = "{p.dir}/ca.pem", ' if ca else "") + more)
                yield p, platform
            finally:
                p.close()


def test_private_ca():
    """a private CA given by `ca` is trusted for both addresses"""
    with secure(lambda a: a.issue("shop")) as (p, platform):
        p.script("a.lua", script(report("x")))
        assert p.outcomes() == {"a.run": "ok"}
        assert platform.titles() == ["x"] and not platform.tls_failures
        platform.check()


def test_refused_certificates():
    """unknown CA, self-signed, expired, not yet valid, wrong name: unregistered, the sentence says why"""
    future = ("20380101000000Z", "20400101000000Z")
    rows = [("unknown ca", lambda a: a.issue("shop"), False, "issuer"), ("self-signed", lambda a: a.self_signed(), True, "self"),
            ("expired", lambda a: a.expired(), True, "expired"), ("not yet", lambda a: a.issue("late", dates=future), True, "not yet"),
            ("name", lambda a: a.issue("n", "DNS:shop.example.org"), True, "127.0.0.1")]
    for name, make, ca, word in rows:
        with secure(make, ca) as (p, platform):
            p.script("a.lua", script("print 'ran' " + report("x")))
            done = p.once("--wait", "2", "--drain", "1", "--json")
            item = done.json()[0]
            assert done.code == 1 and item["outcome"] == "unregistered", (name, done)
            assert "certificate" in item["error"].lower() and word in item["error"].lower(), (name, item)
            assert not platform.calls, "not one request, no fall back to plain http"


def test_openway_certificate_holds():
    """a bad certificate on OpenWay alone holds the events; mended, they are delivered"""
    with tempfile.TemporaryDirectory(prefix="selfmon-ca-") as folder:
        authority = Authority(folder)
        good, bad = authority.issue("shop"), authority.self_signed()
        with Platform(tls=good) as platform:
            p = RemoteProject(platform.env)
            try:
                p.account(f'ca = "{authority.ca}"')
                p.script("a.lua", script(report("x")))
                platform.stop("openway")
                platform.tls = bad
                platform.start("openway")
                assert p.once("--drain", "3").code == 1
                event = p.events()[0]
                assert event["delivery"] == "held" and "certificate" in event["reason"].lower(), event
                platform.stop("openway")
                platform.tls = good
                platform.start("openway")
                p.script("a.lua", script("print 'quiet'"))
                assert p.once("--drain", "15").code == 0
                assert platform.titles() == ["x"] and p.deliveries() == ["delivered"]
                platform.check()
            finally:
                p.close()


def test_missing_ca_file():
    """a `ca` that is not there is said with its path"""
    with secure(lambda a: a.issue("shop"), False, 'ca = "/nowhere/ca.pem"') as (p, platform):
        p.script("a.lua", script())
        done = p.once("--wait", "2")
        assert done.code != 0 and "/nowhere/ca.pem" in done.out + done.err, done
        assert not platform.calls


def test_plain_http_is_loopback_only():
    """http:// to another host is refused unless insecure is said"""
    p = RemoteProject({"SELFMON_OPENAPI_URL": "http://platform.example:1", "SELFMON_OPENWAY_URL": "http://platform.example:2",
                       "SELFMON_API_KEY_ID": "wsak_x", "SELFMON_API_KEY": "y"})
    try:
        p.script("a.lua", script())
        done = p.once("--wait", "1")
        assert done.code == 78 and "SELFMON_OPENAPI_URL" in done.err and "insecure" in done.err.lower(), done
        done = p.once("--wait", "1", env={"SELFMON_INSECURE_HTTP": "1"})
        assert done.code == 1, done
    finally:
        p.close()


def test_proxy_of_the_environment():
    """HTTPS_PROXY carries the platform's traffic through tunnels that show neither key nor token"""
    with secure(lambda a: a.issue("shop")) as (p, platform), Proxy() as proxy:
        p.script("a.lua", script(report("x")))
        assert p.outcomes(env={"HTTPS_PROXY": proxy.url}) == {"a.run": "ok"}
        assert platform.titles() == ["x"]
        targets = {s.split()[1] for s in proxy.seen}
        assert targets == {f"127.0.0.1:{platform.ports[n]}" for n in SERVERS}, proxy.seen
        assert all(s.startswith("CONNECT ") for s in proxy.seen)
        text = "".join(proxy.seen)
        assert not any(x in text for x in (platform.key, platform.key_id, platform.token))
        platform.check()


@contextlib.contextmanager
def tinyproxy(allowed_ports):
    """A real proxy (tinyproxy) on loopback: (url, function that gives its log)."""
    with tempfile.TemporaryDirectory(prefix="selfmon-proxy-") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        config, log = pathlib.Path(folder) / "proxy.conf", pathlib.Path(folder) / "log"
        config.write_text(f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 30\nMaxClients 20\n"
                          f'LogFile "{log}"\nLogLevel Connect\n' +
                          "".join(f"ConnectPort {n}\n" for n in allowed_ports))
        server = subprocess.Popen(["tinyproxy", "-d", "-c", str(config)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)

        def up():
            assert server.poll() is None, "tinyproxy ended"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            return False
        try:
            wait_for(up, "tinyproxy")
            yield f"http://127.0.0.1:{port}", lambda: log.read_text(errors="replace")
        finally:
            server.kill()
            server.wait()


def test_real_proxy():
    """tinyproxy: every connection to the platform goes through it; one that it forbids is refused with a sentence"""
    with secure(lambda a: a.issue("shop")) as (p, platform):
        ports = [platform.ports[n] for n in SERVERS]
        p.script("a.lua", script(report("x")))
        with tinyproxy(ports) as (url, log):
            assert p.outcomes(env={"HTTPS_PROXY": url}) == {"a.run": "ok"}
            assert platform.titles() == ["x"]
            for port in ports:
                assert f"CONNECT 127.0.0.1:{port}" in log(), log()
            assert not any(x in log() for x in (platform.key, platform.key_id, platform.token))
        with tinyproxy([1]) as (url, log):
            p.script("b.lua", script(report("y")))
            done = p.once("--wait", "2", "--json", env={"HTTPS_PROXY": url})
            item = next(i for i in done.json() if i["id"] == "b.run")
            assert item["outcome"] == "unregistered" and "proxy" in item["error"].lower(), done
        platform.check()


def test_no_proxy():
    """NO_PROXY leaves the proxy out"""
    with secure(lambda a: a.issue("shop")) as (p, platform), Proxy() as proxy:
        p.script("a.lua", script(report("x")))
        assert p.outcomes(env={"HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1,example.org"}) == {"a.run": "ok"}
        assert not proxy.seen and platform.titles() == ["x"]
        platform.check()


def test_proxy_of_the_account():
    """`proxy` of the account wins over the environment"""
    with secure(lambda a: a.issue("shop")) as (p, platform), Proxy() as one, Proxy() as two:
        p.account(f'ca = "{p.dir}/ca.pem", proxy = "{one.url}"')
        p.script("a.lua", script(report("x")))
        assert p.outcomes(env={"HTTPS_PROXY": two.url}) == {"a.run": "ok"}
        assert one.seen and not two.seen and platform.titles() == ["x"]
        platform.check()


def test_proxy_that_refuses():
    """a proxy that refuses: unregistered with a sentence about the proxy, the platform is not reached beside it"""
    with secure(lambda a: a.issue("shop")) as (p, platform), Proxy() as proxy:
        proxy.refuse = True
        p.script("a.lua", script(report("x")))
        done = p.once("--wait", "2", "--json", env={"HTTPS_PROXY": proxy.url})
        item = done.json()[0]
        assert item["outcome"] == "unregistered" and "proxy" in item["error"].lower(), done
        assert not platform.calls


def test_scripts_do_not_use_the_platforms_proxy_or_ca():
    """a script's own request does not carry the account's credentials"""
    with secure(lambda a: a.issue("shop")) as (p, platform):
        p.script("a.lua", script(f'local http = require "selfmon.http"\nlocal r, e = http.get("{platform.url("openapi")}'
                                 f'/api/v1/workspace/get", {{ ca = "{p.dir}/ca.pem" }})\nprint(r and r.status, e)'))
        p.outcomes()
        mine = [c for c in platform.calls if not c.headers.get("DF-API-KEY")]
        assert len(platform.of("/workspace/get")) - len(mine) <= 1
        platform.errors.clear()


run_all(globals())
