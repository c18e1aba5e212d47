"""A real terminal for a command: a pseudo-terminal, and an emulator that shows what a person would see."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pyte

SECONDS = 20.0


class Terminal:
    """A program on a terminal of `columns` x `lines`."""

    def __init__(self, command: list[str], environ: Mapping[str, str], columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.lock = threading.Lock()
        self.master, slave = pty.openpty()
        self._set_size(columns, lines)
        self.before = termios.tcgetattr(slave)
        clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command,
            env={**clean, **environ},
            cwd="/",
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call, no lock
        )
        self.slave = slave
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self.lock:
                self.raw += data
                self.stream.feed(data)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        with self.lock:
            self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    @property
    def text(self) -> list[str]:
        """The screen, line by line, without the blanks at the ends."""
        with self.lock:
            return [line.rstrip() for line in self.screen.display]

    def wait_for(self, wanted: Callable[[list[str]], bool], seconds: float = SECONDS) -> list[str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if wanted(self.text):
                return self.text
            time.sleep(0.05)
        raise AssertionError("\n".join(self.text))

    def end(self, keys: str = "\x03") -> int:
        """Press Ctrl-C and wait; the exit code."""
        self.type(keys)
        code = self.process.wait(SECONDS)
        time.sleep(0.2)
        return code


@contextlib.contextmanager
def terminal(
    arguments: list[str],
    environ: Mapping[str, str],
    columns: int = 80,
    lines: int = 24,
    command: list[str] | None = None,
) -> Iterator[Terminal]:
    """command: what to run in place of tmsync with `arguments`."""
    running = Terminal(command or [sys.executable, "-m", "tmsync", *arguments], environ, columns, lines)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        os.close(running.slave)
        running.reader.join(SECONDS)
        with contextlib.suppress(OSError):
            os.close(running.master)
