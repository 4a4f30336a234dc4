"""A shell on a pty, as a person has it: for tests of what is typed and shown."""
import os
import pty
import re
import select
import signal
import time

from harness import clean_env

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|[\r\a\x0f]|\x1b\][^\a]*\a")


class Terminal:
    """A shell on a pty; type() sends keys, until() waits for a text on the screen since the last type()."""

    def __init__(self, argv, cwd, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(argv[0], argv, clean_env(TERM="xterm", PS1="$ ", **env))
        self.seen = ""

    def type(self, keys):
        self.seen = ""
        os.write(self.fd, keys.encode())

    def until(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while True:
            text = ESCAPES.sub("", self.seen)
            if re.search(pattern, text, re.S):
                return text
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds} s: {pattern}\n{text!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"the shell ended before {pattern}\n{text!r}") from None

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
