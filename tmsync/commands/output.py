"""Standard output and standard error, in one place: encodings, closed pipes, full disks."""

import errno
import os
import re
import sys
from pathlib import Path
from typing import Final, TextIO

from tmsync.core.errors import Problem, TmsyncError
from tmsync.render.text import printable, wrapped

STDERR: Final = 2
USUAL_COLUMNS: Final = 80
SIZES: Final = ("COLUMNS", "LINES", "TERMINAL_WIDTH")
SIZE: Final = re.compile("0*[1-9][0-9]{0,5}")
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class Unwritable(TmsyncError):
    """Standard output takes no more, such as on a full disk."""


def prepare() -> None:
    """Let every character through: what the terminal's encoding lacks is shown as an escape.

    A stream that was closed before tmsync began (`>&-`) leads nowhere; its number is taken, or a database connection
    would get it. A size of the screen that is none (`COLUMNS=0`, as some shells without a terminal export it) counts as
    not given: Rich and Typer take it as it is.
    """
    for name in SIZES:
        if SIZE.fullmatch(os.environ.get(name, "80")) is None:
            del os.environ[name]
    while (taken := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(taken)
    # Python has made no stream for a closed one, whatever its type says.
    sys.stdout, sys.stderr = (stream or _nowhere() for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def unwritable(error: OSError) -> Problem | None:
    """Why standard output takes no more, for those who wrote to it past this module; it leads nowhere then.

    error: what they met; None is returned where it is about something else.
    """
    try:
        sys.stdout.flush()
    except OSError as flushed:
        error = flushed
    else:
        # What is written without a buffer (PYTHONUNBUFFERED) has nothing left to flush.
        if error.filename is not None or error.errno not in FULL:
            return None
    _lead_nowhere(sys.stdout)
    return _full(error)


def _full(error: OSError) -> Problem:
    from tmsync.core.causes import Cause
    from tmsync.core.fixes import problem

    return problem(Cause.OUTPUT_UNWRITABLE, f"standard output cannot be written: {error.strerror}")


def result(text: str) -> bool:
    """Write a result to standard output; False when nobody reads it any more.

    Raises: Unwritable.
    """
    try:
        return _write(sys.stdout, text)
    except OSError as error:
        _lead_nowhere(sys.stdout)
        found = _full(error)
        raise Unwritable(found) from None


def abandoned() -> bool:
    """Whether whoever read standard output has gone (`| head`), for those who have nothing to write at the moment."""
    import select

    poller = select.poll()
    poller.register(sys.stdout, 0)
    return bool(poller.poll(0))


def sentence(text: str) -> bool:
    """Write sentences to standard output, as `result` does."""
    return result(for_reading(sys.stdout, text) + "\n")


def message(text: str) -> None:
    """Write a line for people to standard error; where that takes none, nobody can be told."""
    try:
        _write(sys.stderr, text + "\n")
    except OSError:
        _lead_nowhere(sys.stderr)


def say(text: str) -> None:
    """Write sentences to standard error."""
    message(for_reading(sys.stderr, text))


def problem(found: Problem, kind: str = "error") -> None:
    """Tell a problem: what is wrong, and below it what to do."""
    say(f"tmsync: {kind}: {printable(found.message)}")
    if len(found.fix) == 1 and not found.fix[0].command:
        say(f"  {printable(found.hint)}")
        return
    from tmsync.render.problems import step_lines

    width = _width(sys.stderr) if sys.stderr.isatty() else sys.maxsize
    for line in step_lines(found.fix, width):
        message(line.text)


def warning(found: Problem) -> None:
    """Tell a problem that keeps nothing from its work."""
    problem(found, "warning")


def for_reading(stream: TextIO, text: str, *, spare: int = 0) -> str:
    """`text`, on a terminal broken between words, each line of it by itself; elsewhere as it is.

    spare: columns to leave at the end of each line.
    """
    if not stream.isatty():
        return text
    columns = _width(stream) - spare
    return "\n".join(_in_lines(line, columns) for line in text.split("\n"))


def _in_lines(line: str, columns: int) -> str:
    if len(line) <= columns:
        return line
    margin = " " * (len(line) - len(line.lstrip()))
    return wrapped(line.strip(), columns, margin)


def _width(stream: TextIO) -> int:
    return int(told) if (told := os.environ.get("COLUMNS", "")).isdigit() else _columns(stream)


def _columns(stream: TextIO) -> int:
    """As many as the terminal has; some that tell nothing of themselves say 0."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except OSError:
        return USUAL_COLUMNS


def can_move_cursor() -> bool:
    """Whether the terminal understands more than plain lines."""
    return os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _write(stream: TextIO, text: str) -> bool:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough. What follows goes nowhere, and the exit code stays the command's.
        _lead_nowhere(stream)
        return False
    return True


def _lead_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
