"""check-db --apply while every system call that touches the folder of pg_hba.conf fails, or the run is killed there.

strace lets the n-th call of a name fail or deliver SIGKILL. After each: the file holds the old or the new content,
whole; exit code and words are true of it; the next run finishes the work and leaves nothing behind.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.tracing import FILE_CALLS, NEEDS_STRACE, Fault, calls, faults, strace

pytestmark = NEEDS_STRACE
OLD = "# mine\nlocal all all peer\nhost all all 0.0.0.0/0 reject\n"
NEW = OLD.replace("host all", "host teslamate teslamate 192.168.1.50/32 scram-sha-256\nhost all")
ARGUMENTS = ["check-db", "--json", "--offline", "--client-address", "192.168.1.50", "--pg-hba"]
# All is imported, and the file matched once, before the part that is tested; the mark shows in the trace.
SCRIPT = """
import contextlib, io, os, sys
from tmsync.cli import run
from tmsync.core.check_db import hba_apply
with contextlib.redirect_stdout(io.StringIO()): run(sys.argv[1:])
os.access("/begin", os.F_OK)
sys.exit(run([*sys.argv[1:], "--apply"]))
"""
CHANGES = ("openat", "write", "pwrite64", "fsync", "rename", "link", "unlink", "fchmod")
KILLED = "signal=SIGKILL"
WHATS: dict[str, Sequence[str]] = {"error=EIO": (), "error=ENOSPC": CHANGES, "error=EPERM": CHANGES, KILLED: ()}
"""What a call meets; the calls that may, none named: all."""
BY_MOUNT = "rename:error=EBUSY"
"""What the kernel says of a file that is mounted by itself."""
NO_LINKS = "link:error=EPERM"


def apply(hba: Path, *injected: str, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*strace(*injected, trace=trace), sys.executable, "-c", SCRIPT, *ARGUMENTS, str(hba)]
    environ = {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    hba = folder / "pg_hba.conf"
    hba.write_text(OLD)
    return hba


def check(hba: Path, fault: Fault, done: subprocess.CompletedProcess[str]) -> None:
    there = hba.read_text()
    assert there in (OLD, NEW), fault
    backups = [path for path in hba.parent.glob("pg_hba.conf.backup*") if path.read_text() == OLD]
    if not fault.kills:
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
    [((), tuple(WHATS)), ((NO_LINKS,), ("error=EIO", KILLED)), ((BY_MOUNT,), ("error=EIO", "error=ENOSPC"))],
    ids=["usual", "no-hard-links", "mounted-by-itself"],
)
def test_every_call_in_the_folder_may_fail(tmp_path: Path, always: tuple[str, ...], whats: tuple[str, ...]) -> None:
    folder, trace = tmp_path / "data", tmp_path / "trace"
    done = apply(fresh(folder), *always, trace=trace)
    assert done.returncode == 0, done
    found = list(calls(trace, folder, only=FILE_CALLS))
    assert len(found) > 20
    tried = list(faults(found, {what: WHATS[what] for what in whats}, always))
    for fault in tried:
        hba = fresh(folder)
        check(hba, fault, apply(hba, *always, fault.rule))
    print(f"{len(tried)} faults at {len(found)} calls")
