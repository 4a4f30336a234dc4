#!/usr/bin/python3
"""Random JSON values through cjson.decode and cjson.encode, compared with Python's json.

usage: cjson_roundtrip.py PROGRAM [COUNT [SEED]]     e.g. cjson_roundtrip.py build/selfmon-lua 100000

PROGRAM is run as `PROGRAM lua SCRIPT`; it reads one text a line and answers with the text after a
round trip. Numbers must come back equal to the last bit and integers as integers; empty arrays come
back as objects, as the module's page says. Then as many damaged texts: decode must accept exactly those
that a strict reading of Python's json accepts. Prints two closing lines; exit code 1 for a difference.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

SCRIPT = r"""
local cjson = require "cjson"
for line in io.lines() do io.write(cjson.encode(cjson.decode(line)), "\n") end
"""

ACCEPTS = r"""
local safe = require "cjson.safe"
for line in io.lines() do print(safe.decode(line) ~= nil and 1 or 0) end
"""

SEEDS = [
    '{"a":[1,2.5,-3e10,"x\\u00e9\\n",null,true,{"b":{}}],"big":12345678901234567890,"i":9223372036854775807}',
    '[[[[]]],"\\ud83d\\ude42",0.1,1e5]',
    "[1,-0,0.0,-1.5E+3]",
]
DAMAGE = '{}[]",:0123456789.eE+-\\untrfals \t'

ALPHABET = ["a", "b", " ", '"', "\\", "/", "\n", "\t", "\x7f", "\x01", "\0", "é", "東", "🙂", "\u2028", "0", "{"]


def text(r):
    return "".join(r.choice(ALPHABET) for _ in range(r.randrange(0, 12)))


def number(r):
    kind = r.randrange(7)
    if kind == 0:
        return r.randrange(-1000, 1000)
    if kind == 1:
        return r.randrange(-(2**63), 2**63)
    if kind == 2:
        return r.choice([2**63 - 1, -(2**63), 2**53, 2**53 + 1, -(2**53) - 1, 10**14, 10**14 - 1, 0])
    if kind == 3:
        return r.uniform(-1e6, 1e6)
    if kind == 4:
        return round(r.uniform(0, 100), r.randrange(1, 6))
    if kind == 5:
        return 1790000000 + r.random()
    while True:
        f = struct.unpack("<d", struct.pack("<Q", r.getrandbits(64)))[0]
        if f == f and abs(f) != float("inf"):
            return f


def value(r, depth):
    kind = r.randrange(10)
    if depth > 0 and kind < 3:
        return [value(r, depth - 1) for _ in range(r.randrange(0, 5))]
    if depth > 0 and kind < 6:
        return {text(r).replace("\0", "") + str(i): value(r, depth - 1) for i in range(r.randrange(0, 5))}
    if kind == 6:
        return text(r)
    if kind == 7:
        return r.choice([True, False, None])
    return number(r)


def same(a, b):
    if isinstance(a, bool) or a is None or isinstance(a, str):
        return type(a) is type(b) and a == b
    if isinstance(a, list):
        if not a:
            return b == {} or b == []
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, int):
        # beyond 64 bits Lua reads a float; the generator stays within
        return isinstance(b, (int, float)) and not isinstance(b, bool) and int(b) == a
    return isinstance(b, (int, float)) and not isinstance(b, bool) and float(b) == a


def damaged(r):
    s = r.choice(SEEDS)
    for _ in range(r.randrange(1, 4)):
        at, c, kind = r.randrange(len(s) + 1), r.choice(DAMAGE), r.randrange(3)
        s = s[:at] + ("" if kind == 1 else c) + s[at + (kind != 0) :]
    return s


def acceptable(s):
    def refuse(word):
        raise ValueError(word)

    try:
        v = json.loads(s, parse_constant=refuse)
        json.dumps(v, ensure_ascii=False, allow_nan=False).encode("utf-8")  # no infinity, no lone surrogate
    except ValueError:
        return False
    return True


def run_lines(program, d, text, lines):
    script, texts, answers = (os.path.join(d, n) for n in ("script.lua", "in", "out"))
    for path, content in ((script, text), (texts, "".join(line + "\n" for line in lines))):
        with open(path, "w") as f:
            f.write(content)
    with open(texts) as i, open(answers, "w") as o:
        subprocess.run([program, "lua", script], stdin=i, stdout=o, check=True, timeout=300)
    with open(answers) as f:
        return f.read().split("\n")[:-1]


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(2**32)
    r = random.Random(seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as d:
        values = [value(r, 4) for _ in range(count)]
        lines = run_lines(program, d, SCRIPT, [json.dumps(v, ensure_ascii=r.random() < 0.5) for v in values])
        texts = [damaged(r) for _ in range(count)]
        verdicts = run_lines(program, d, ACCEPTS, texts)
    if len(lines) != count or len(verdicts) != count:
        print(f"expected {count} answers, got {len(lines)} and {len(verdicts)} (seed {seed})")
        return 1
    for v, line in zip(values, lines):
        if not same(v, json.loads(line)):
            wrong += 1
            if wrong <= 5:
                print("sent", json.dumps(v), "got", line)
    unlike = [t for t, verdict in zip(texts, verdicts) if acceptable(t) != (verdict == "1")]
    for t in unlike[:5]:
        print("accepted" if not acceptable(t) else "refused", t)
    print(f"cjson: {count} round trips, {wrong} different (seed {seed})")
    print(f"cjson: {count} damaged texts, {len(unlike)} judged differently")
    return 1 if wrong or unlike else 0


sys.exit(main())
