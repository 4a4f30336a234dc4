"""A strict reader of line protocol as DataKit writes it.

It accepts exactly what the public client's serialiser produces (raw newlines inside quoted fields,
arrays, keys sorted, one escape per comma, space and equals sign) and raises Bad with the offset for
everything else: a judge, not a tolerant server.
"""
import re
from dataclasses import dataclass

INT64 = 1 << 63
FLOAT = re.compile(r"-?(\d+\.\d+(e[+-]\d{2,})?|\d(\.\d+)?e[+-]\d{2,})\Z")
INTEGER = re.compile(r"-?\d+i\Z")
STAMP = re.compile(r"[1-9]\d{18}")


class Bad(Exception):
    """The bytes are no valid line protocol."""


@dataclass
class Point:
    measurement: str
    tags: dict
    fields: dict
    time: int


class Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def bad(self, what):
        raise Bad(f"{what} at character {self.at}: {self.text[max(0, self.at - 20):self.at + 20]!r}")

    def peek(self):
        return self.text[self.at] if self.at < len(self.text) else ""

    def expect(self, char):
        if self.peek() != char:
            self.bad(f"expected {char!r}")
        self.at += 1

    def word(self, ends, escaped):
        """Text up to one of `ends`; `escaped` are the characters that a backslash protects."""
        got, last_is_backslash = [], False
        while self.at < len(self.text) and self.text[self.at] not in ends:
            char, follower = self.text[self.at], self.text[self.at + 1:self.at + 2]
            if char == "\\" and follower and follower in escaped:
                got.append(follower)
                self.at += 2
                last_is_backslash = False
                continue
            if char in escaped:
                self.bad(f"{char!r} is not escaped")
            if re.match(r"\s", char) or ord(char) < 32:
                self.bad(f"white space U+{ord(char):04X} that is not normalised to a space")
            last_is_backslash = char == "\\"
            got.append(char)
            self.at += 1
        if not got:
            self.bad("an empty name or value")
        if last_is_backslash:
            self.bad("a trailing backslash")
        return "".join(got)

    def string(self):
        self.expect('"')
        got = []
        while self.peek() != '"':
            char = self.peek()
            if not char:
                self.bad("a string that is not closed")
            if char == "\\":
                self.at += 1
                char = self.peek()
                if char not in ('"', "\\"):
                    self.bad("an escape other than \\\" and \\\\ in a string")
            if char == "\0":
                self.bad("a NUL byte")
            got.append(char)
            self.at += 1
        self.at += 1
        return "".join(got)

    def value(self):
        if self.peek() == '"':
            return self.string()
        if self.peek() == "[":
            return self.array()
        start = self.at
        while self.peek() and self.peek() not in ", ]\n":
            self.at += 1
        text = self.text[start:self.at]
        if text in ("true", "false"):
            return text == "true"
        if INTEGER.match(text):
            number = int(text[:-1])
            if not -INT64 <= number < INT64:
                self.bad(f"{text} is outside of 64 bits")
            return number
        if FLOAT.match(text):
            return float(text)
        return self.bad(f"{text!r} is no field value")

    def array(self):
        self.expect("[")
        got = []
        while self.peek() != "]":
            if got:
                self.expect(",")
            got.append(self.value())
            if isinstance(got[-1], list) or type(got[-1]) is not type(got[0]):
                self.bad("an array of mixed or nested types")
        self.at += 1
        return got

    def point(self):
        if self.peek() == "#":
            self.bad("a comment")
        measurement = self.word(", ", ", ")
        tags, fields = {}, {}
        while self.peek() == ",":
            self.at += 1
            key = self.word("=", ",= ")
            self.expect("=")
            self.put(tags, key, self.word(", ", ",= "))
        self.expect(" ")
        while True:
            key = self.word("=", ",= ")
            self.expect("=")
            self.put(fields, key, self.value())
            if self.peek() != ",":
                break
            self.at += 1
        self.expect(" ")
        stamp = STAMP.match(self.text, self.at)
        if not stamp:
            self.bad("no timestamp in nanoseconds")
        self.at = stamp.end()
        both = set(tags) & set(fields)
        if both:
            self.bad(f"{sorted(both)} are tags and fields")
        self.limits(measurement, tags, fields)
        return Point(measurement, tags, fields, int(stamp.group()))

    def put(self, into, key, value):
        if key in into:
            self.bad(f"{key!r} twice")
        if into and key < next(reversed(into)):
            self.bad(f"{key!r} is not in order")
        into[key] = value

    def limits(self, measurement, tags, fields):
        size = lambda text: len(text.encode())
        if size(measurement) > 1024 or len(tags) > 256 or len(fields) > 1024:
            self.bad("too long a measurement, or too many tags or fields")
        for key in [*tags, *fields]:
            if size(key) > 256:
                self.bad(f"key {key[:40]!r} is too long")
        for key, value in tags.items():
            if size(value) > 1024:
                self.bad(f"the value of tag {key[:40]!r} is longer than 1024 bytes")


def parse(body):
    """Points of a request body (bytes); raises Bad."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Bad(f"not UTF-8: {error}") from None
    if not text:
        raise Bad("an empty body")
    reader, points = Reader(text), []
    while True:
        points.append(reader.point())
        if reader.at == len(text):
            return points
        reader.expect("\n")
        if reader.at == len(text):
            reader.bad("a trailing newline")
