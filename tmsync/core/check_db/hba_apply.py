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
from typing import Final

from tmsync.core.errors import Cause, TmsyncError
from tmsync.core.files.replace import overwrite_in_place, sweep, sync_folder, write_beside
from tmsync.core.fixes import problem
from tmsync.core.hba import DiskReader, Insertion

SERVER_NAMES: Final = ("postgres", "postmaster")


class HbaNotWritten(TmsyncError):
    """The file was left as it is."""


def write_insertion(path: Path, before: str, change: Insertion) -> Path:
    """Put `change` in place; the name of the backup, which is never one that stands there already.

    before: the text the change was made from.
    Raises: HbaNotWritten; the file is untouched then, unless the message says otherwise.
    """
    real = Path(os.path.realpath(path))
    marker = f".{real.name}.tmsync-"
    old, new = (text.encode("utf-8", "surrogateescape") for text in (before, change.new_text))
    temporary, placed = None, False
    try:
        found = real.stat()
        backup = _keep(real, old, found, marker)
        temporary = write_beside(real, new, found, marker)
        sweep(real, marker, temporary)
        if DiskReader().read_text(str(real)) != before:
            message = f"{path} was changed by somebody else meanwhile"
            raise HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant="changed"))
        try:
            temporary.replace(real)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # Mounted as a single file: it cannot be replaced, only written.
            placed = True
            overwrite_in_place(real, new, found.st_size)
        placed = True
        sync_folder(real.parent)
    except OSError as error:
        raise _not_written(path, error, placed=placed) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return backup


def _keep(real: Path, old: bytes, found: os.stat_result, marker: str) -> Path:
    """The previous content under a name of its own: `.backup`, or the first free of `.backup.1`, `.backup.2`, ..."""
    copy = write_beside(real, old, found, marker)
    try:
        for number in itertools.count():
            backup = real.with_name(f"{real.name}.backup{f'.{number}' * bool(number)}")
            try:
                # Fails where the name is taken, which a rename would not.
                os.link(copy, backup)
            except FileExistsError:
                if backup.is_file() and not backup.is_symlink() and backup.read_bytes() == old:
                    return backup
            else:
                return backup
    finally:
        copy.unlink()
    raise AssertionError("unreachable")


def _not_written(path: Path, error: OSError, *, placed: bool) -> HbaNotWritten:
    words = error.strerror or "unknown error"
    if placed:
        message = f"{path} was written, but it is not certain that it reached the disk: {words}"
        return HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant="changed"))
    variant = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "immutable"}.get(error.errno or 0, "")
    if error.errno in (errno.EPERM, errno.EACCES) and os.geteuid() == 0:
        variant = "immutable"
    message = f"{path} cannot be written: {words}"
    return HbaNotWritten(problem(Cause.HBA_UNWRITABLE, message, variant=variant, path=path))


def signal_server(hba_file: Path) -> str | None:
    """Send SIGHUP to the server whose data folder holds `hba_file`; in words what was done, None where it cannot be."""
    try:
        pid = int((hba_file.resolve().with_name("postmaster.pid")).read_text("ascii").splitlines()[0])
        name = Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
        if pid <= 1 or name not in SERVER_NAMES:
            return None
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError, IndexError):
        return None
    return f"SIGHUP sent to the server, process {pid}"
