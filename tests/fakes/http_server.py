#!/usr/bin/python3
"""An HTTP server that misbehaves on request. Prints its port on a line of its own, serves until it
is killed or its parent is gone.

  http_server.py [--host ADDRESS] [--port N] [--cert FILE --key FILE]

  /ok                         200 "ok\n"
  /status/NNN                 answers NNN
  /hang                       reads the request and never answers
  /drip?n=BYTES&s=SECONDS     a byte every s seconds (0.2), n in all (1000)
  /redirect?to=URL&code=N     302 to URL (/ok)
  /redirect?n=N               N redirects in a row, then /ok
  /gzipbomb?mib=N             N MiB of zeros (64), gzipped
  /gzip                       a short text, gzipped
  /huge-header                256 KiB of headers
  /short-content-length       Content-Length 100, ten bytes, close
  /short-chunk                chunked, closed within a chunk
  /close                      closes without a byte
  /bytes?n=N                  N bytes
  /headers                    repeated headers, two cookies
  /garbage                    bytes that are not HTTP
  /echo                       JSON: method, path, headers (list of pairs), body
  /requests                   JSON: what /echo and others were asked so far, oldest first
"""
import argparse
import json
import os
import ssl
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SEEN_MAX = 1000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = []
    lock = threading.Lock()

    def log_message(self, *args):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, data=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def raw(self, data):
        self.wfile.write(data)
        self.wfile.flush()
        self.close_connection = True

    def any(self):
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        record = {
            "method": self.command,
            "path": self.path,
            "headers": [[k, v] for k, v in self.headers.items()],
            "body": self.body().decode("utf-8", "replace"),
        }
        if url.path != "/requests":
            with self.lock:
                self.seen.append(record)
                del self.seen[:-SEEN_MAX]
        if url.path.startswith("/status/"):
            return self.answer(int(url.path[8:]), b"status\n")
        name = "path_" + url.path.strip("/").replace("-", "_")
        return getattr(self, name, self.path_missing)(query, record)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_PURGE = any

    def path_missing(self, query, record):
        self.answer(404, b"no such path\n")

    def path_ok(self, query, record):
        self.answer(200, b"ok\n", [("Content-Type", "text/plain")])

    def path_hang(self, query, record):
        self.close_connection = True
        self.connection.settimeout(600)
        try:
            while self.connection.recv(4096):
                pass
        except OSError:
            pass

    def path_drip(self, query, record):
        count, pause = int(query.get("n", 1000)), float(query.get("s", 0.2))
        self.send_response(200)
        self.send_header("Content-Length", str(count))
        self.end_headers()
        for _ in range(count):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(pause)

    def path_redirect(self, query, record):
        to, left = query.get("to", "/ok"), int(query.get("n", 0))
        if left > 1:
            to = "/redirect?n=%d" % (left - 1)
        self.answer(int(query.get("code", 302)), b"moved\n", [("Location", to)])

    def gzipped(self, chunks):
        pack = zlib.compressobj(9, zlib.DEFLATED, 31)
        return b"".join([pack.compress(c) for c in chunks] + [pack.flush()])

    def path_gzipbomb(self, query, record):
        data = self.gzipped([bytes(1 << 20)] * int(query.get("mib", 64)))
        self.answer(200, data, [("Content-Encoding", "gzip")])

    def path_gzip(self, query, record):
        self.answer(200, self.gzipped([b"unpacked\n"]), [("Content-Encoding", "gzip")])

    def path_huge_header(self, query, record):
        self.answer(200, b"ok\n", [("X-Big-%d" % i, "x" * 8000) for i in range(32)])

    def path_short_content_length(self, query, record):
        self.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")

    def path_short_chunk(self, query, record):
        self.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n0123456789")

    def path_close(self, query, record):
        self.close_connection = True

    def path_bytes(self, query, record):
        self.answer(200, b"x" * int(query.get("n", 1)))

    def path_headers(self, query, record):
        self.answer(200, b"", [("X-List", "a"), ("X-LIST", "b"), ("Set-Cookie", "a=1; Path=/"),
                               ("Set-Cookie", "b=2"), ("X-Empty", "")])

    def path_garbage(self, query, record):
        self.raw(b"\x00\x01SSH-2.0 not http at all\r\n")

    def path_echo(self, query, record):
        self.answer(200, json.dumps(record).encode(), [("Content-Type", "application/json")])

    def path_requests(self, query, record):
        with self.lock:
            data = json.dumps(self.seen).encode()
        self.answer(200, data, [("Content-Type", "application/json")])


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass  # a client that left is no news here


def leave_with_parent():
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--cert")
    options.add_argument("--key")
    given = options.parse_args()
    server = Server((given.host, given.port), Handler)
    if given.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.cert, given.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
