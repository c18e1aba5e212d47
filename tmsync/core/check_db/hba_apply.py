"""Puts the line into pg_hba.conf and makes the server read it.

The change is proven before it is put in place (parsed, evaluated), written beside the file and renamed over it: a crash
leaves the old file or the new one. The previous content stays as `<name>.backup`, or a numbered one.

Source: PostgreSQL documentation, "Server Signaling Functions", "pg_ctl" (reload sends SIGHUP to the postmaster, whose
process id is the first line of postmaster.pid).
"""

import errno
import itertools
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.errors import TmsyncError
from tmsync.core.files.lease import lease
from tmsync.core.files.paths import follow, read_regular
from tmsync.core.files.replace import (
    NO_HARD_LINKS,
    not_kept,
    only_writer,
    sweep,
    sync_folder,
    write_beside,
)
from tmsync.core.fixes import problem
from tmsync.core.hba import DiskReader, Insertion

SERVER_NAMES: Final = ("postgres", "postmaster")
VARIANTS: Final = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "immutable"}


class HbaNotWritten(TmsyncError):
    """The change is not there, or not for certain: the message says which."""


class Written(NamedTuple):
    """What was done. backup: holds the former content. notes: what the new file does not share with the former one."""

    backup: Path
    notes: tuple[str, ...] = ()


def write_insertion(path: Path, before: str, change: Insertion) -> Written:
    """Put `change` in place, the former content into a backup of a name that nothing had.

    before: the text the change was made from.
    Raises: HbaNotWritten.
    """
    real, not_followed = follow(path)
    if not_followed is not None:
        message = f"{path} was not changed: {not_followed}"
        raise HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant="link"))
    marker = _marker(real)
    old, new = (text.encode("utf-8", "surrogateescape") for text in (before, change.new_text))
    temporary = backup = None
    with only_writer(real.parent) as alone:
        try:
            if alone:
                sweep(real, marker)
            found = real.stat()
            backup = _keep(real, old, found, marker)
            temporary = write_beside(real, new, found, marker)
            notes = not_kept(real, temporary, found)
            if not alone:
                sweep(real, marker, temporary)
            if _read(real) != old:
                message = f"{path} was changed by another program meanwhile"
                raise HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant="changed"))
            _place(temporary, real, old, new)
        except OSError as error:
            raise _not_written(path, error, old, new, backup) from None
        finally:
            if temporary is not None:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
    return Written(backup, notes)


def sweep_leftovers(path: Path) -> None:
    """Remove what a killed run left beside the file."""
    real, not_followed = follow(path)
    with only_writer(real.parent) as alone:
        if alone and not_followed is None:
            sweep(real, _marker(real))


def _marker(real: Path) -> str:
    return f".{real.name}.tmsync-"


def _read(path: Path) -> bytes:
    return DiskReader().read_text(str(path)).encode("utf-8", "surrogateescape")


def _place(temporary: Path, real: Path, old: bytes, new: bytes) -> None:
    try:
        temporary.replace(real)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Mounted as a single file: it cannot be replaced, only written.
        with lease(real, to_write=True) as held:
            held.put(new, old)
    sync_folder(real.parent, strict=True)


def _keep(real: Path, old: bytes, found: os.stat_result, marker: str) -> Path:
    """The former content under a name of its own: `.backup`, or the first free of `.backup.1`, `.backup.2`, ..."""
    copy = write_beside(real, old, found, marker)
    try:
        for number in itertools.count():
            backup = real.with_name(f"{real.name}.backup{f'.{number}' * bool(number)}")
            # Both fail where the name is taken, which a rename would not.
            with suppress(FileExistsError):
                try:
                    os.link(copy, backup)
                except OSError as error:
                    if error.errno not in NO_HARD_LINKS:
                        raise
                    write_beside(real, old, found, "", backup)
                sync_folder(real.parent, strict=True)
                return backup
            with suppress(OSError):
                if not backup.is_symlink() and _read(backup) == old:
                    return backup
    finally:
        with suppress(OSError):
            copy.unlink()
    raise AssertionError("unreachable")


def _not_written(path: Path, error: OSError, old: bytes, new: bytes, backup: Path | None) -> HbaNotWritten:
    """In words that are true of what the file holds now."""
    words = error.strerror or "unknown error"
    try:
        there = _read(path)
    except OSError:
        there = old if backup is None else b""
    if there == new:
        message = f"{path} was changed, but it is not certain that the change reached the disk: {words}"
        return HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant="unsynced", backup=backup))
    if there != old:
        message = f"{path} could not be written whole: {words}"
        return HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant="damaged", path=path, backup=backup))
    variant = VARIANTS.get(error.errno or 0, "")
    if error.errno in (errno.EPERM, errno.EACCES) and os.geteuid() == 0:
        variant = "immutable"
    message = f"{path} was not changed: {words}"
    return HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant=variant, path=path))


def signal_server(hba_file: Path) -> str | None:
    """Send SIGHUP to the server whose data folder holds `hba_file`; in words what was done, None where it cannot be."""
    try:
        pid = int(read_regular(hba_file.resolve().with_name("postmaster.pid"), 4096)[0].splitlines()[0])
        name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
        if pid <= 1 or name not in SERVER_NAMES:
            return None
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError, IndexError):
        return None
    return f"SIGHUP sent to the server, process {pid}"
