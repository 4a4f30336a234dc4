"""selfmon.http against a real nginx: http, https with a certificate of ours, redirects to other hosts,
slow answers, a gzip bomb."""
import contextlib
import gzip
import os
import socket
import subprocess

from harness import project, run_all, wait_for

CONFIG = '''daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {dir}/access.log; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;
  fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  log_format h '$server_port $request_uri [$http_authorization] [$http_x_token]';
  server {{
    listen 127.0.0.1:{http};
    access_log {dir}/first.log h;
    location = /ok {{ return 200 "hello"; }}
    location = /json {{ default_type application/json; return 200 '{{"n": 9007199254740993, "list": [1, 2]}}'; }}
    location = /missing {{ return 404 "no"; }}
    location = /to-other {{ return 302 http://127.0.0.1:{other}/echo; }}
    location = /to-self {{ return 301 /ok; }}
    location = /loop {{ return 302 /loop; }}
    location = /to-file {{ return 302 file:///etc/passwd; }}
    location = /to-metadata {{ return 302 http://169.254.169.254/latest/; }}
    location = /slow {{ limit_rate 1; limit_rate_after 1; alias {dir}/big; }}
    location = /bomb {{ default_type text/plain; add_header Content-Encoding gzip; alias {dir}/bomb.gz; }}
    location = /big {{ alias {dir}/big; }}
  }}
  server {{
    listen 127.0.0.1:{other};
    access_log {dir}/other.log h;
    location = /echo {{ return 200 "other"; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl; server_name localhost;
    ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    location = /ok {{ return 200 "secure"; }}
  }}
}}
'''


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@contextlib.contextmanager
def nginx(folder):
    http, other, tls = free_ports(3)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
                    folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    (folder / "bomb.gz").write_bytes(gzip.compress(b"\0" * (64 << 20), 9))
    (folder / "big").write_bytes(b"x" * (9 << 20))
    for path in (folder, folder / "big", folder / "bomb.gz"):
        os.chmod(path, 0o755)
    (folder / "nginx.conf").write_text("user root;\n" + CONFIG.format(dir=folder, http=http, other=other, tls=tls))
    server = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)

    def up():
        if server.poll() is not None:
            raise AssertionError(server.stderr.read().decode())
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", tls), 1).close()
            return True
        return False
    try:
        wait_for(up, "nginx")
        yield {"http": http, "other": other, "tls": tls}
    finally:
        server.kill()
        server.wait()


def lines(p, ports, body, **keys):
    """Runs a script body; returns what it printed."""
    extra = "".join(f", {k} = {v}" for k, v in keys.items())
    p.script("t.lua", f'monitor{{ title = "t", timeout = 20{extra} }}\nfunction run()\n'
                      f'  local http = require "selfmon.http"\n'
                      f'  local base = "http://127.0.0.1:{ports["http"]}"\n'
                      f'  local tls = "https://localhost:{ports["tls"]}"\n{body}\nend')
    done = p.once("--json")
    assert done.code == 0, done
    return [line["text"] for line in p.runs("--log")[-1]["log"] if line["level"] == "print"]


def test_http_road():
    """verbs, JSON, status, redirects, caps and policies against a real server"""
    with project() as p, nginx(p.dir) as ports:
        out = lines(p, ports, '''
  local r = http.get(base .. "/ok")
  print(r.status, r.body, r.timings.total > 0, r.remote_ip)
  print(http.get(base .. "/json"):json().n)
  print(http.get(base .. "/missing").status)
  print(http.head(base .. "/ok").status, http.post(base .. "/ok", { json = { a = 1 } }).status)''')
        assert [t.replace("\\t", " ").split() for t in out] == [
            ["200", "hello", "true", "127.0.0.1"], ["9007199254740993"], ["404"], ["200", "200"]] or \
            [t.split() for t in out] == [
            ["200", "hello", "true", "127.0.0.1"], ["9007199254740993"], ["404"], ["200", "200"]], out

        out = lines(p, ports, '''
  local r = http.get(base .. "/to-other", { headers = { ["X-Token"] = "geheim" }, auth = { "u", "p" } })
  print(r.status .. " " .. r.body .. " " .. r.url)
  print(http.get(base .. "/to-self", { headers = { ["X-Token"] = "geheim" } }).body)
  print(http.get(base .. "/to-other", { follow = false }).status)
  for _, path in ipairs{ "/loop", "/to-file", "/to-metadata" } do
    local res, err, code = http.get(base .. path)
    print(tostring(res) .. " " .. tostring(code))
  end''')
        assert out[0] == f"200 other http://127.0.0.1:{ports['other']}/echo", out
        assert out[1] == "hello" and out[2] == "302", out
        assert all(line.startswith("nil ") for line in out[3:]), out
        other = (p.dir / "other.log").read_text()
        assert "geheim" not in other and "[-] [-]" in other, other
        first = (p.dir / "first.log").read_text()
        assert "/ok [-] [geheim]" in first, first

        out = lines(p, ports, '''
  for _, case in ipairs{ { "/slow", { timeout = 1 } }, { "/bomb" }, { "/big" }, { "/big", { max_body = 100 } } } do
    local res, err, code = http.get(base .. case[1], case[2])
    print(tostring(res) .. " " .. tostring(code))
  end''')
        assert out == ["nil timeout", "nil too_large", "nil too_large", "nil too_large"], out

        out = lines(p, ports, f'''
  local res, err, code = http.get(tls .. "/ok")
  print(tostring(res) .. " " .. tostring(code))
  local r = http.get(tls .. "/ok", {{ verify = false }})
  print(r.body .. " " .. tostring(r.tls.verified) .. " " .. math.floor(r.tls.days_left))
  local list = http.all{{ base .. "/ok", base .. "/missing", {{ url = "http://127.0.0.1:1/" }} }}
  print(list[1].status .. " " .. list[2].status .. " " .. tostring(list[3].code))''')
        assert out[0] == "nil tls", out
        assert out[1] in ("secure false 9", "secure false 10"), out
        assert out[2].startswith("200 404 "), out


def test_public_only():
    """net = "public": loopback is refused on the connected address, however it is spelled"""
    with project() as p, nginx(p.dir) as ports:
        p.write("selfmon.conf.lua", 'return { net = "public" }')
        port = ports["http"]
        out = lines(p, ports, f'''
  for _, host in ipairs{{ "127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0" }} do
    local res, err, code = http.get("http://" .. host .. ":{port}/ok")
    print(tostring(res) .. " " .. tostring(code))
  end''')
        assert len(out) == 7 and all(line.startswith("nil ") for line in out), out
        assert out[0] == "nil denied", out


run_all(globals())
