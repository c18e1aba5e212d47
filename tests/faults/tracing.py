"""strace: which system calls of a run touch a folder, and what comes of it when one of them fails or is the last.

The program under test marks the part that counts by asking for files named /begin and, if it goes on, /end.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

NEEDS_STRACE = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="no strace"),
]
BEGIN, END = '"/begin"', '"/end"'
CALL = re.compile(r"(?:\d+ +)?(\w+)\(")
FILE_CALLS = re.compile(
    r"(?:new)?(?:open|l?stat|f?stat|p?read|p?write|fsync|flock|fcntl|rename|link|unlink|fchmod|fchown|getdents|close"
    r"|lseek|f?truncate|\w*xattr)"
)


class Fault(NamedTuple):
    """What the `number`-th call of this name meets: `error=...` or `signal=...`."""

    call: str
    number: int
    what: str

    @property
    def rule(self) -> str:
        return f"{self.call}:{self.what}:when={self.number}"

    @property
    def kills(self) -> bool:
        return "SIGKILL" in self.what


def strace(*injected: str, trace: Path | None = None) -> list[str]:
    """The words before a command. injected: rules of faults; trace: where every call is written down."""
    options = [
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        str(trace or "/dev/null"),
        "-y",
        "-s",
        "0" if trace is None else "200",
    ]
    if trace is None:
        options += ["-e", "trace=" + (",".join(sorted({rule.split(":")[0] for rule in injected})) or "none")]
    for rule in injected:
        options += ["-e", f"inject={rule}"]
    return ["strace", *options]


def calls(trace: Path, *places: Path, only: re.Pattern[str] | None = None) -> Iterator[tuple[str, int]]:
    """Name, and number in the whole run, of every call of the marked part that touches one of `places`."""
    seen: dict[str, int] = {}
    within = False
    for line in trace.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        name = found[1]
        seen[name] = seen.get(name, 0) + 1
        if BEGIN in line or END in line:
            within = BEGIN in line
        if within and any(str(place) in line for place in places) and (only is None or only.match(name)):
            yield name, seen[name]


def faults(
    found: Sequence[tuple[str, int]], whats: Mapping[str, Sequence[str]], always: Sequence[str] = ()
) -> Iterator[Fault]:
    """Every fault of these calls. whats: what a call meets -> the calls that may, none named: all.

    always: rules of every run; the calls that they make fail are left alone.
    """
    spared = {rule.split(":")[0] for rule in always}
    for name, number in found:
        for what, may in whats.items():
            if name not in spared and (not may or name in may):
                yield Fault(name, number, what)
