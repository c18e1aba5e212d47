"""init --force while every system call that touches the configuration's folder fails, or the run is killed there.

strace lets the n-th call of a name fail or deliver SIGKILL. After each: the file holds the old or the new content,
whole, and is private; exit code and words are true of it; nothing is left behind, by a killed run not after the next.
"""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.tracing import NEEDS_STRACE, calls, faults, strace

pytestmark = NEEDS_STRACE
OLD = "[database]\nhost = '127.0.0.2'\npassword = 'old-SECRET'\n"
# All is imported before the part that is tested; the markers show in the trace.
SCRIPT = """
import os, sys
from tmsync.core.setup import write
from tmsync.cli import run
real = write.write_private
def marked(*given, **more):
    os.access("/begin", os.F_OK)
    try:
        return real(*given, **more)
    finally:
        os.access("/end", os.F_OK)
write.write_private = marked
sys.exit(run(["init", "--non-interactive", "--force", "--db-host", "127.0.0.1", "--db-port", "1"]))
"""
CHANGES = ("openat", "write", "fsync", "rename", "link", "linkat", "unlink", "fchmod", "chmod", "mkdir")
WHATS: dict[str, Sequence[str]] = {"error=EIO": (), "error=ENOSPC": CHANGES, "signal=SIGKILL": CHANGES}
"""What a call meets; the calls that may, none named: all."""


def run(home: Path, *injected: str, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*strace(*injected, trace=trace), sys.executable, "-c", SCRIPT]
    environ = {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
               "TMSYNC_DATABASE_PASSWORD": "new-SECRET"}  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)


def fresh(home: Path, old: str | None) -> Path:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    path = home / ".config" / "tmsync" / "config.toml"
    if old is not None:
        path.parent.mkdir(parents=True)
        path.write_text(old)
        path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("old", "links"), [(OLD, True), (OLD, False), (None, True)], ids=["over another", "over another, no links", "new"]
)
def test_every_fault_leaves_the_old_or_the_new_file_whole(tmp_path: Path, old: str | None, links: bool) -> None:
    home = tmp_path / "home"
    wrong: list[str] = []
    always = () if links else ("link:error=EPERM",)
    fresh(home, old)
    run(home, *always, trace=tmp_path / "trace")
    tried = list(faults(list(calls(tmp_path / "trace", home)), WHATS, always))
    for fault in tried:
        path = fresh(home, old)
        done = run(home, *always, fault.rule)
        at = f"{fault.rule}: "
        content = path.read_text() if path.exists() else None
        new = content is not None and content != OLD
        if new and tomllib.loads(content or "")["database"]["password"] != "new-SECRET":
            wrong.append(at + "neither the old nor the new content")
        if content is None and old is not None:
            wrong.append(at + "the file is gone")
        if any(one.stat().st_mode & 0o077 for one in path.parent.glob("*") if one.is_file()):
            wrong.append(at + "others can read it")
        if done.returncode not in (1, 2, -9, 137):
            wrong.append(at + f"exit code {done.returncode}: {done.stderr[-300:]}")
        if done.returncode in (1, 2) and ("Written:" in done.stderr) is not new:
            wrong.append(at + f"told {done.stderr[-300:]!r}, and it is {'new' if new else 'old'}")
        if "Traceback" in done.stderr or "SECRET" in done.stderr + done.stdout:
            wrong.append(at + done.stderr[-300:])
        if fault.kills:
            run(home)
        names = {one.name for one in path.parent.glob("*")}
        if not names <= {"config.toml", "config.toml.backup"}:
            wrong.append(at + f"left {sorted(names)}")
    assert wrong == []
    assert len(tried) > 20
