"""Somebody who types on a terminal, waits for what is asked, and answers it."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

PATIENCE_S = 40


class Conversation:
    """A program on a pseudo terminal; `told` is all it wrote so far."""

    def __init__(self, *arguments: str, environ: Mapping[str, str], cwd: str = "/", program: str = "") -> None:
        clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "xterm", "COLUMNS": "200", **environ}
        command = [program or sys.executable, *([] if program else ["-m", "tmsync"]), *arguments]
        self.told = ""
        self.code: int | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, clean)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def wait_for(self, words: str) -> str:
        """Read until `words` were written after what was read before; what was written until then."""
        begun, deadline = len(self.told), time.monotonic() + PATIENCE_S
        while words not in self.told[begun:]:
            assert time.monotonic() < deadline, f"no {words!r} in:\n{self.told[begun:]}"
            assert self._read(deadline), f"it ended without {words!r}:\n{self.told[begun:]}"
        return self.told[begun:]

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def answer(self, question: str, text: str) -> str:
        """Wait for the question, and type the answer and Enter; what was told before the question."""
        told = self.wait_for(question)
        # The hidden questions turn the echo off first; an answer typed before that would be seen.
        time.sleep(0.05)
        self.type(f"{text}\n")
        return told

    def end(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more comes after:\n{self.told[-2000:]}"
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.told += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace")).replace("\r\n", "\n")
        return bool(data)
