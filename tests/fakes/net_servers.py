#!/usr/bin/python3
"""Servers for the specs of selfmon.net, all on loopback and random ports: TCP of several tempers, TLS with
certificates of every kind, STARTTLS, dnsmasq, a name server that misbehaves, NTP.

Prints one line of JSON (names and ports, and `ca`, a file) when all are up; ends when its standard input does."""
import contextlib
import json
import pathlib
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

from certificates import Authority

PORTS = {}


def tcp(name, talk, context=None):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.settimeout(30)
            with contextlib.suppress(OSError):
                talk(context.wrap_socket(self.request, server_side=True) if context else self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128
    server = Server(("127.0.0.1", 0), Handler)
    PORTS[name] = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()


def udp(name, answer):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    PORTS[name] = s.getsockname()[1]

    def serve():
        while True:
            packet, peer = s.recvfrom(4096)
            for reply in answer(packet):
                s.sendto(reply, peer)
    threading.Thread(target=serve, daemon=True).start()


def echo(s):
    while data := s.recv(65536):
        s.sendall(data)


def banner(s):
    s.sendall(b"220 mail.example ready\r\nsecond line\r\n")
    s.recv(10)


def silent(s):
    while s.recv(65536):
        pass


def drip(s):
    for byte in b"hello\r\n":
        s.sendall(bytes([byte]))
        time.sleep(0.01)


def flood(s):
    while True:
        s.sendall(b"x" * 65536)


def contexts(folder):
    ca = Authority(folder)
    PORTS["ca"] = str(ca.ca)
    pairs = {"good": ca.issue("good"), "expired": ca.expired(), "alone": ca.self_signed(),
             "other": ca.issue("other", san="DNS:other.example,DNS:www.other.example"),
             "soon": ca.issue("soon", dates=(time.strftime("%Y%m%d000000Z", time.gmtime(time.time() - 86400)),
                                             time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 3 * 86400)))),
             "other_expired": ca.issue("old", san="DNS:old.example", dates=("20200101000000Z", "20200201000000Z"))}
    made = {}
    for name, (cert, key) in pairs.items():
        made[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made[name].load_cert_chain(cert, key)
    # The client must show a certificate: with TLS 1.2 it is turned away inside the handshake.
    picky = made["picky"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    picky.load_cert_chain(*pairs["good"])
    picky.load_verify_locations(ca.ca)
    picky.verify_mode = ssl.CERT_REQUIRED
    picky.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


def starttls(steps, context):
    def talk(s):
        for say, want in steps:
            if say:
                s.sendall(say)
            if want and not s.recv(1000 if steps.last else 36).upper().startswith(want):
                return s.sendall(b"500 what?\r\n")
        s.sendall(steps.last)
        echo(context.wrap_socket(s, server_side=True))
    return talk


class Steps(list):
    def __init__(self, last, *steps):
        super().__init__(steps)
        self.last = last


def question(packet):
    """(name, bytes of the question section) of a DNS question."""
    at, labels = 12, []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += packet[at] + 1
    return ".".join(labels), packet[12:at + 5]


seen = {}


def wild(packet):
    """A name server of bad manners; the name says which."""
    name, section = question(packet)
    head, kind = packet[:2], name.split(".")[0]
    seen[name] = seen.get(name, 0) + 1
    address = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01"

    def reply(ident, records=address, count=1, flags=b"\x84\x00", tail=b""):
        return ident + flags + b"\0\x01" + struct.pack(">H", count) + b"\0\0\0\0" + section + records + tail
    if kind == "forged":  # a guess with another id comes first
        return [reply(bytes([head[0] ^ 1, head[1]]), address[:-1] + b"\x66"), reply(head)]
    if kind == "drop":
        return [] if seen[name] == 1 else [reply(head)]
    if kind == "loop":
        at = 12 + len(section)
        return [reply(head, b"\xc0" + bytes([at]) + b"\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01")]
    if kind == "short":
        return [reply(head, address[:-2])]
    if kind == "many":
        return [reply(head, address, 500)]
    if kind == "servfail":
        return [reply(head, b"", 0, b"\x80\x02")]
    if kind == "formerr":
        return [head + b"\x80\x01" + b"\0" * 8]
    if kind == "odd":
        text = b"\x06a\"b\\c\x01\x02de"
        return [reply(head, b"\xc0\x0c\0\x10\0\x01\0\0\0\x3c" + struct.pack(">H", len(text)) + text)]
    return []


def ntp(packet):
    def stamp(t):
        t += 2208988800
        return struct.pack(">II", int(t), int((t % 1) * 2 ** 32))
    now = time.time() + 100
    return [struct.pack(">BBbb", 4 << 3 | 4, 2, 6, -20) + b"\0\0\x10\0" + b"\0\0\x08\0" + b"\x7f\0\0\x01"
            + stamp(now - 10) + packet[40:48] + stamp(now) + stamp(now)]


def unsynchronised(packet):
    return [struct.pack(">BBbb", 3 << 6 | 4 << 3 | 4, 16, 6, -20) + b"\0" * 20 + packet[40:48] + b"\0" * 16]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def dnsmasq():
    PORTS["dns"] = port = free_port()
    big = ",".join("x" * 250 for _ in range(8))
    process = subprocess.Popen([
        "dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "-u", "root", "-p", str(port),
        "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/", "--local-ttl=77",
        "--host-record=a.test,192.0.2.7", "--host-record=a.test,192.0.2.8", "--host-record=six.test,2001:db8::7",
        "--cname=alias.test,a.test", "--mx-host=test,mail.test,20", "--txt-record=t.test,hello world,second",
        "--srv-host=_sip._tcp.test,pbx.test,5060,3,4", "--caa-record=test,0,issue,ca.example",
        "--ptr-record=7.2.0.192.in-addr.arpa,a.test", f"--txt-record=big.test,{big}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        time.sleep(0.02)
    raise SystemExit(process.stderr.read().decode())


def main():
    with tempfile.TemporaryDirectory(prefix="selfmon-net-") as folder:
        tls = contexts(pathlib.Path(folder) / "ca")
        for name, talk in ("echo", echo), ("banner", banner), ("silent", silent), ("drip", drip), ("flood", flood):
            tcp(name, talk)
        for name, context in tls.items():
            tcp(name, echo, context)
        good = tls["good"]
        tcp("smtp", starttls(Steps(b"220 go ahead\r\n", (b"220-hello\r\n220 mail\r\n", b"EHLO"),
                                   (b"250-mail\r\n250 STARTTLS\r\n", b"STARTTLS")), good))
        tcp("imap", starttls(Steps(b"a1 OK begin\r\n", (b"* OK imap\r\n", b"A1 STARTTLS"), (b"* note\r\n", None)), good))
        tcp("pop3", starttls(Steps(b"+OK begin\r\n", (b"+OK pop\r\n", b"STLS")), good))
        tcp("ftp", starttls(Steps(b"234 begin\r\n", (b"220 ftp\r\n", b"AUTH TLS")), good))
        tcp("postgres", starttls(Steps(b"S", (None, b"\0\0\0\x08")), good))
        tcp("postgres_plain", starttls(Steps(b"N", (None, b"\0\0\0\x08")), good))
        greeting = b"\x0a8.0.0\0" + b"\x01\0\0\0" + b"12345678\0" + b"\xff\xff" + b"\x2d\x02\0\xff\xff\x15" + b"\0" * 10
        tcp("mysql", starttls(Steps(b"", (struct.pack("<I", len(greeting))[:3] + b"\0" + greeting, b"\x20\0\0\x01")), good))
        tcp("injector", starttls(Steps(b"220 go ahead\r\nEVIL", (b"220 mail\r\n", b"EHLO"), (b"250 ok\r\n", b"STARTTLS")),
                                 good))
        tcp("smtp_plain", starttls(Steps(b"", (b"220 mail\r\n", b"EHLO"), (b"250 ok\r\n", b"NOTHING")), good))
        udp("wild", wild)
        udp("deaf", lambda packet: [])
        udp("ntp", ntp)
        udp("unsynchronised", unsynchronised)
        server = dnsmasq()
        try:
            PORTS["closed"] = free_port()
            print(json.dumps(PORTS), flush=True)
            sys.stdin.read()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
