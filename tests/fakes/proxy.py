"""A proxy on loopback: CONNECT tunnels and plain http forwarding. `seen` holds the head of each request
that reached it; `refuse` makes it answer 503."""
import select
import socket
import threading
import urllib.parse


class Proxy:
    def __init__(self):
        self.seen, self.refuse = [], False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(65536)
                if not more:
                    return
                head += more
            head, rest = head.split(b"\r\n\r\n", 1)
            self.seen.append(head.decode("latin-1"))
            method, target, _ = self.seen[-1].split("\r\n")[0].split(" ")
            if self.refuse:
                client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                return
            if method == "CONNECT":
                host, port = target.rsplit(":", 1)
            else:
                parts = urllib.parse.urlsplit(target)
                host, port = parts.hostname, parts.port or 80
                path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
                lines = [f"{method} {path} HTTP/1.1"] + [
                    line for line in self.seen[-1].split("\r\n")[1:] if not line.lower().startswith("proxy-")]
                rest = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + rest
            with socket.create_connection((host, int(port)), timeout=10) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                server.sendall(rest)
                self.relay(client, server)

    def relay(self, client, server):
        while True:
            ready, _, _ = select.select([client, server], [], [], 30)
            if not ready:
                return
            for side in ready:
                other = server if side is client else client
                try:
                    data = side.recv(65536)
                    if not data:
                        return
                    other.sendall(data)
                except OSError:
                    return
