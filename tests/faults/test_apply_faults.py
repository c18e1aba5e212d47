"""check-db --apply while every system call that touches the folder of pg_hba.conf fails, or the run is killed there.

strace lets the n-th call of a name fail or deliver SIGKILL. After each: the file holds the old or the new content,
whole; exit code and words are true of it; the next run finishes the work and leaves nothing behind.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="no strace"),
]
OLD = "# mine\nlocal all all peer\nhost all all 0.0.0.0/0 reject\n"
NEW = OLD.replace("host all", "host teslamate teslamate 192.168.1.50/32 scram-sha-256\nhost all")
ARGUMENTS = ["check-db", "--json", "--offline", "--client-address", "192.168.1.50", "--pg-hba"]
# All is imported, and the file matched once, before the part that is tested; the marker shows in the trace.
SCRIPT = """
import contextlib, io, os, sys
from tmsync.cli import run
from tmsync.core.check_db import hba_apply
with contextlib.redirect_stdout(io.StringIO()): run(sys.argv[1:])
os.access("/marker", os.F_OK)
sys.exit(run([*sys.argv[1:], "--apply"]))
"""
CHANGES = ("openat", "write", "pwrite64", "fsync", "rename", "link", "unlink", "fchmod")
ERRORS = {"EIO": (), "ENOSPC": CHANGES, "EPERM": CHANGES}
"""The calls that may fail so; none named: all."""
MARKER = '"/marker"'
CALL = re.compile(r"(?:\d+ +)?(\w+)\(")
TOUCHES = re.compile(
    r"open|l?stat|f?stat|read|p?write|fsync|flock|rename|link|unlink|fchmod|fchown|getdents|close|lseek|f?truncate|\w*xattr"
)
BY_MOUNT = "rename:error=EBUSY"
"""What the kernel says of a file that is mounted by itself."""
NO_LINKS = "link:error=EPERM"


class Fault(NamedTuple):
    """What the `number`-th call of this name meets: an error, or SIGKILL."""

    call: str
    number: int
    what: str

    @property
    def can_be(self) -> bool:
        only = ERRORS.get(self.what.removeprefix("error="), ())
        return not only or self.call in only

    @property
    def rule(self) -> str:
        return f"{self.call}:{self.what}:when={self.number}"


def apply(hba: Path, *injected: str, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
    options = ["-f", "--seccomp-bpf", "-qq", "-o", str(trace or "/dev/null"), "-y", "-s", "0"]
    if trace is None:
        options += ["-e", "trace=" + ",".join(sorted({rule.split(":")[0] for rule in injected}))]
    for rule in injected:
        options += ["-e", f"inject={rule}"]
    command = ["strace", *options, sys.executable, "-c", SCRIPT, *ARGUMENTS, str(hba)]
    environ = {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    hba = folder / "pg_hba.conf"
    hba.write_text(OLD)
    return hba


def calls(hba: Path, trace: Path, *always: str) -> Iterator[tuple[str, int]]:
    """Name and number of every call behind the marker that touches the folder."""
    done = apply(hba, *always, trace=trace)
    assert done.returncode == 0, done
    seen: dict[str, int] = {}
    behind = False
    for line in trace.read_text().splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        name = found[1]
        seen[name] = seen.get(name, 0) + 1
        behind = behind or MARKER in line
        if behind and str(hba.parent) in line and TOUCHES.match(name.removeprefix("new")):
            yield name, seen[name]


def check(hba: Path, fault: Fault, done: subprocess.CompletedProcess[str]) -> None:
    there = hba.read_text()
    assert there in (OLD, NEW), fault
    backups = [path for path in hba.parent.glob("pg_hba.conf.backup*") if path.read_text() == OLD]
    if "SIGKILL" not in fault.what:
        assert "Traceback" not in done.stderr, fault
        told = json.loads(done.stdout)["checks"][0]
        unreadable = told.get("cause") == "unreadable-file"
        assert done.returncode == (2 if unreadable else told["status"] == "fail"), fault
        if done.returncode == 0:
            assert (there, told["applied"]) == (NEW, True), fault
        elif told["cause"] == "hba-unwritable":
            said = "was changed, but" if there == NEW else "was not changed: "
            assert said in told["summary"], (fault, told["summary"])
        else:
            assert (unreadable, there) == (True, OLD), (fault, told)
        if done.returncode == 0 or there == NEW:
            assert backups, fault
    again = apply_again(hba)
    assert (again.returncode, hba.read_text()) == (0, NEW), (fault, again)
    names = {path.name for path in hba.parent.iterdir()}
    assert all(re.fullmatch(r"pg_hba\.conf(\.backup(\.\d+)?)?", name) for name in names), (fault, names)
    assert any(path.read_text() == OLD for path in hba.parent.glob("pg_hba.conf.backup*")), fault


def apply_again(hba: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tmsync", *ARGUMENTS, str(hba), "--apply"]
    return subprocess.run(command, capture_output=True, text=True, env={"HOME": "/nonexistent"}, timeout=60)


@pytest.mark.parametrize(
    ("always", "whats"),
    [
        ((), (*(f"error={error}" for error in ERRORS), "signal=SIGKILL")),
        ((NO_LINKS,), ("error=EIO", "signal=SIGKILL")),
        ((BY_MOUNT,), ("error=EIO", "error=ENOSPC")),
    ],
    ids=["usual", "no-hard-links", "mounted-by-itself"],
)
def test_every_call_in_the_folder_may_fail(tmp_path: Path, always: tuple[str, ...], whats: tuple[str, ...]) -> None:
    folder = tmp_path / "data"
    found = list(calls(fresh(folder), tmp_path / "trace", *always))
    assert len(found) > 20
    count = 0
    for name, number in found:
        if any(rule.startswith(f"{name}:") for rule in always):
            continue
        for what in whats:
            fault = Fault(name, number, what)
            if not fault.can_be:
                continue
            hba = fresh(folder)
            check(hba, fault, apply(hba, *always, fault.rule))
            count += 1
    print(f"{count} faults at {len(found)} calls")
