"""sync-tokens while every system call that touches the folder of settings.json fails, or the run is killed there.

strace lets the n-th call of a name fail or deliver SIGKILL. After each: settings.json holds the old or the new content,
whole; exit code and words are true of it; the next run finishes the work and leaves nothing behind.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.tracing import FILE_CALLS, NEEDS_STRACE, Fault, calls, faults, strace

pytestmark = NEEDS_STRACE
OLD: dict[str, Any] = {
    "carApiBearerToken": "old-token",
    "carApiRefreshToken": "old-refresh",
    "carApiTokenExpireTime": 1,
    "chargeNowAmps": 32,
    "history": [["2026-11-24T10:00:00", number] for number in range(50)],
}
OURS = {"carApiBearerToken": "new-token", "carApiRefreshToken": "", "carApiTokenExpireTime": 1_800_000_000}
NEW = {**OLD, **OURS}
# All is imported before the part that is tested; the mark shows in the trace.
SCRIPT = """
import json, os, sys
from pathlib import Path
from tmsync.core.clock import SystemClock
from tmsync.core.errors import DeliveryError
from tmsync.core.fixes import catalogue
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile
import ctypes, fcntl, pwd
catalogue()
if "no-leases" in sys.argv: del fcntl.F_SETLEASE
fields = TokenFields("new-token", "", 1_800_000_000)
os.access("/begin", os.F_OK)
try:
    changed = SettingsFile(Path(sys.argv[1])).write(fields, SystemClock()).changed
except DeliveryError as error:
    print(json.dumps({"cause": error.cause, "message": str(error), "hint": error.problem.hint}))
    sys.exit(1)
print(json.dumps({"changed": changed}))
"""
CHANGES = (
    *("openat", "write", "pwrite64", "fsync", "rename", "renameat2", "link", "unlink", "fchmod", "fchown"),
    *("ftruncate", "flock", "fcntl", "getdents64"),
)
WHATS: dict[str, Sequence[str]] = {
    "error=EIO": (),
    "error=ENOSPC": CHANGES,
    "error=EPERM": CHANGES,
    "error=EAGAIN": ("fcntl",),
    "signal=SIGKILL": (),
}
"""What a call meets; the calls that may, none named: all."""


class Way(NamedTuple):
    """How the new content gets into place. always: faults of every run."""

    always: tuple[str, ...] = ()
    missing: bool = False
    mounted: bool = False
    leases: bool = True


WAYS = {
    "exchange": Way(),
    "rename": Way(("renameat2:error=EINVAL",)),
    "rename-without-leases": Way(("renameat2:error=EINVAL",), leases=False),
    "mounted-by-itself": Way(mounted=True),
    "mounted-by-itself-without-leases": Way(mounted=True, leases=False),
    "new-file": Way(missing=True),
    "new-file-without-hard-links": Way(("link:error=EPERM",), missing=True),
}


class Place:
    """A folder with a settings.json, mounted by itself where that is the way."""

    def __init__(self, tmp_path: Path, way: Way) -> None:
        self.way = way
        self.folder = tmp_path / "twcmanager"
        self.path = self.folder / "settings.json"
        self.origin = tmp_path / "origin.json"

    def fresh(self) -> "Place":
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        if not self.way.missing:
            (self.origin if self.way.mounted else self.path).write_text(json.dumps(OLD))
        if self.way.mounted:
            self.path.touch()
        return self

    def content(self) -> Any:
        path = self.origin if self.way.mounted else self.path
        return json.loads(path.read_text()) if path.exists() else None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        if self.way.mounted:
            mount = f'mount --bind {self.origin} {self.path} && exec "$@"'
            command = ("unshare", "--mount", "sh", "-c", mount, "sh", *command)
        environ = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)

    def write(self, *injected: str, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
        leases = () if self.way.leases else ("no-leases",)
        return self.run(*strace(*injected, trace=trace), sys.executable, "-c", SCRIPT, str(self.path), *leases)

    def again(self) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-c", SCRIPT, str(self.path))

    def calls(self, trace: Path) -> list[tuple[str, int]]:
        """Name and number of every call of the part that counts that touches the folder."""
        done = self.write(*self.way.always, trace=trace)
        assert done.returncode == 0, done
        return list(calls(trace, self.folder, self.origin, only=FILE_CALLS))


def check(place: Place, fault: Fault, done: subprocess.CompletedProcess[str]) -> None:
    there = place.content()
    untouched = None if place.way.missing else OLD
    expected = OURS if place.way.missing else NEW
    assert there in (untouched, expected), (fault, there)
    if not fault.kills:
        assert "Traceback" not in done.stderr, (fault, done.stderr)
        told = json.loads(done.stdout)
        if done.returncode == 0:
            assert (there, told["changed"]) == (expected, True), fault
        else:
            message = told["message"]
            assert told["hint"], fault
            assert told["cause"] in ("settings-unwritable", "settings-unreadable"), (fault, told)
            said = "was not changed: " in message or "cannot be used: " in message or "does not exist" in message
            if "cannot be read now" not in message:
                assert (there == expected) is ("was written, but" in message), (fault, told)
                assert (there == untouched) is said, (fault, told)
    again = place.again()
    assert (again.returncode, place.content()) == (0, expected), (fault, done, again)
    names = {path.name for path in place.folder.iterdir()}
    assert names <= {"settings.json", "settings.json.backup"}, (fault, names, done)
    if not place.way.missing:
        assert json.loads((place.folder / "settings.json.backup").read_text()) == OLD, fault


@pytest.mark.parametrize("way", WAYS)
def test_every_call_in_the_folder_may_fail_or_be_the_last(tmp_path: Path, way: str) -> None:
    place = Place(tmp_path, WAYS[way])
    found = place.fresh().calls(tmp_path / "trace")
    assert len(found) > 20
    tried = list(faults(found, WHATS, place.way.always))
    for fault in tried:
        check(place, fault, place.fresh().write(*place.way.always, fault.rule))
    kills = sum(fault.kills for fault in tried)
    print(f"{way}: {len(tried) - kills} errors and {kills} kills at {len(found)} calls")


def test_file_system_that_answers_every_lease_with_try_again(tmp_path: Path) -> None:
    """NFS without delegations, SMB: after a few looks the content alone decides, and one temporary file was made."""
    place = Place(tmp_path, WAYS["exchange"])
    first = next(number for name, number in place.fresh().calls(tmp_path / "trace") if name == "fcntl")
    trace = tmp_path / "again"
    done = place.fresh().write(f"fcntl:error=EAGAIN:when={first}+", trace=trace)
    assert (done.returncode, place.content()) == (0, NEW), done
    assert len(set(re.findall(r"\.settings\.json\.tmsync-[0-9a-f]{12}", trace.read_text()))) == 1
    assert {path.name for path in place.folder.iterdir()} == {"settings.json", "settings.json.backup"}
