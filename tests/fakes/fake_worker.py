"""A worker process that speaks docs/internals/frames.md and does as its "scripts" say.

A script's text holds directives, one a line:
  -- spec {JSON}          an inspection; members over the defaults below
  -- error LINE MESSAGE   loading fails so
  -- require lib/x.lua    must be in the snapshot; its directives count too
  -- print TEXT           a line of the load log
  -- load die|hang        instead of answering
  -- run WHAT [ARGUMENT]  sleep S | hang | die | exit N | report N | lie | garbage | forge |
                          hello | outcome | secret | texts | nice |
                          ask WHAT [BODY] | asks WHAT ARGS[BODY] | ask2 (a second one at once) | askwrong (a bad number)
"""
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

sock = socket.socket(fileno=3)
send_lock = threading.Lock()
texts = {}
answers = {}
cancels = {}
asked = {}
changed = threading.Condition()


def send(head, body=b""):
    raw = json.dumps(head).encode()
    with send_lock:
        sock.sendall(b"SMF1" + struct.pack("<II", len(raw), len(body)) + raw + body)


def exactly(n):
    got = b""
    while len(got) < n:
        piece = sock.recv(n - len(got))
        if not piece:
            os._exit(0)
        got += piece
    return got


def receive():
    prefix = exactly(12)
    assert prefix[:4] == b"SMF1"
    head, body = struct.unpack("<II", prefix[4:])
    return json.loads(exactly(head)), exactly(body)


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(1000)  # another thread may be the one that takes the signal


def directives(text, name):
    return [line[len(name) + 4:] for line in text.splitlines() if line.startswith("-- " + name + " ")]


def snapshot(f):
    libs = {lib["name"]: texts[lib["hash"]] for lib in f["libs"]}
    return texts[f["hash"]], libs


def spec(line, members):
    s = {"fn": "run", "line": line, "title": "A title", "doc": "", "schedule": [], "timeout": 30,
         "params": [], "account": "default", "category": "general", "tags": [], "permissions": [],
         "limits": {}, "overlap": "skip", "missed": "last", "first_run": True, "retry": True, "was": []}
    s.update(members)
    return s


def load(f):
    text, libs = snapshot(f)
    answer = {"t": "loaded", "n": f["n"], "libs": []}
    log = []
    todo = [(f["file"], text)]
    while todo:
        name, text = todo.pop()
        for what in directives(text, "load"):
            if what == "die":
                crash()
            time.sleep(1000)
        log += ["0\tprint\t" + p for p in directives(text, "print")]
        for error in directives(text, "error"):
            line, message = error.split(" ", 1)
            answer["error"] = "%s/%s:%s: %s" % (f["display"], name, line, message)
            answer["line"] = int(line)
        for lib in directives(text, "require"):
            if lib in answer["libs"]:
                continue
            if lib not in libs:
                answer["error"] = "%s/%s:1: module %s not found" % (f["display"], name, lib)
                continue
            answer["libs"].append(lib)
            todo.append((lib, libs[lib]))
    if "error" not in answer:
        specs = directives(snapshot(f)[0], "spec")
        answer["inspections"] = [spec(i + 1, json.loads(s)) for i, s in enumerate(specs)]
        if not specs and not f["file"].startswith("lib/"):
            answer["error"] = "%s/%s: registers nothing" % (f["display"], f["file"])
    send(answer, "\n".join(log).encode())


def result(run, outcome="ok", error=None, events=0, log=b"0\tprint\thello"):
    send({"t": "result", "run": run, "outcome": outcome, "error": error, "traceback": None,
          "seconds": 0.01, "cpu": 0.001, "peak": 4096, "events": events}, log)


def run(f):
    run_id = f["run"]
    for key in ("id fn display file hash libs params ctx limits grants net secrets").split():
        if key not in f:
            return result(run_id, "failed", "no member " + key)
    if f["ctx"]["deadline"] < time.time() - 1 or f["limits"]["wall"] <= 0:
        return result(run_id, "failed", "a bad deadline")
    text, _ = snapshot(f)
    events, log = 0, []
    for what in directives(text, "run"):
        name, _, argument = what.partition(" ")
        if name == "sleep":
            with changed:
                if changed.wait_for(lambda: run_id in cancels, float(argument)):
                    return result(run_id, "cancelled")
        elif name == "hang":
            time.sleep(1000)
        elif name == "die":
            crash()
        elif name == "exit":
            os._exit(int(argument))
        elif name == "lie":
            result("0" * 32)
        elif name == "garbage":
            with send_lock:
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        elif name == "forge":
            send({"t": "report", "run": run_id, "seq": 7, "events": []})
        elif name == "hello":
            send({"t": "hello", "pid": 1})
        elif name == "outcome":
            return result(run_id, "wonderful")
        elif name == "nice":
            return result(run_id, "failed", str(os.getpriority(os.PRIO_PROCESS, 0)))
        elif name == "secret":
            return result(run_id, "failed", json.dumps(f["secrets"]))
        elif name == "texts":
            return result(run_id, "failed", str(len(texts)))
        elif name in ("ask", "asks", "ask2", "askwrong"):
            what, _, body = argument.partition(" ")
            args = {"x": 1}
            if name == "asks":
                args, end = json.JSONDecoder().raw_decode(body)
                body = body[end:]
            asked[run_id] = n = asked.get(run_id, 0) + 1
            for k in range(2 if name == "ask2" else 1):
                send({"t": "ask", "run": run_id, "n": n + k + (name == "askwrong"), "what": what,
                      "args": args}, body.encode())
            with changed:
                changed.wait_for(lambda: (run_id, n) in answers)
                answer, body = answers.pop((run_id, n))
            if "error" in answer:
                return result(run_id, "failed", answer["code"] + ": " + answer["error"])
            log.append(json.dumps(answer.get("value")) + " " + body.decode())
        elif name == "report":
            for seq in range(1, int(argument) + 1):
                send({"t": "report", "run": run_id, "seq": seq,
                      "events": [{"title": "T", "status": "ok", "message": "", "dimension_tags": {}}]})
                with changed:
                    changed.wait_for(lambda: (run_id, seq) in answers)
                    answer = answers.pop((run_id, seq))
                if answer["t"] == "nak":
                    return result(run_id, "failed", answer["error"], events)
                events += len(answer["ids"])
    if log:
        return result(run_id, "ok", None, events, "; ".join(log).encode())
    result(run_id, "ok", None, events)


def main():
    assert sys.argv[1] == "--worker" and all(word.isdigit() for word in sys.argv[2:])
    # PWD and LC_CTYPE are the wrapper's shell's and Python's own.
    assert set(os.environ) <= {"PATH", "TZDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "PWD", "LC_CTYPE"}
    # 0 to 3, and one that is the listing's own.
    assert len(os.listdir("/proc/self/fd")) <= 5, os.listdir("/proc/self/fd")
    send({"t": "hello", "pid": os.getpid(), "lua": "fake", "curl": "", "openssl": ""})
    while True:
        f, body = receive()
        if f["t"] == "text":
            texts[f["hash"]] = body.decode()
        elif f["t"] == "forget":
            for h in f["hashes"]:
                del texts[h]
        elif f["t"] == "load":
            threading.Thread(target=load, args=(f,), daemon=True).start()
        elif f["t"] == "run":
            threading.Thread(target=run, args=(f,), daemon=True).start()
        elif f["t"] in ("ack", "nak"):
            with changed:
                answers[f["run"], f["seq"]] = f
                changed.notify_all()
        elif f["t"] == "answer":
            with changed:
                answers[f["run"], f["n"]] = f, body
                changed.notify_all()
        elif f["t"] == "ping":
            send({"t": "pong", "n": f["n"]})
        elif f["t"] == "cancel":
            with changed:
                cancels[f["run"]] = True
                changed.notify_all()
        elif f["t"] == "stop":
            os._exit(0)


main()
