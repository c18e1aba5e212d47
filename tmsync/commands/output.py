"""Standard output and standard error, in one place: encodings, closed pipes, quiet and verbose."""

import os
import sys
from typing import TextIO

from tmsync.core.errors import Problem
from tmsync.render.text import printable


def prepare() -> None:
    """Let every character through: what the terminal's encoding lacks is shown as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def result(text: str) -> bool:
    """Write a result to standard output; False when nobody reads it any more."""
    return _write(sys.stdout, text)


def message(text: str) -> None:
    """Write a line for people to standard error."""
    _write(sys.stderr, text + "\n")


def verbose(line: str) -> None:
    """Write what happens inside to standard error."""
    message(f"tmsync: {printable(line)}")


def problem(found: Problem, kind: str = "error") -> None:
    """Tell a problem: what is wrong, and on a line of its own what to do."""
    message(f"tmsync: {kind}: {printable(found.message)}")
    if found.hint:
        message(f"  {printable(found.hint)}")


def can_move_cursor() -> bool:
    """Whether the terminal understands more than plain lines."""
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _write(stream: TextIO, text: str) -> bool:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough. What follows goes nowhere, and the exit code stays the command's.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
