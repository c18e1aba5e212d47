"""Puts the line into pg_hba.conf and makes the server read it.

The change is proven before it is put in place (parsed, evaluated), written beside the file and renamed over it: a crash
leaves the old file or the new one. The previous content stays as `<name>.backup`.

Source: PostgreSQL documentation, "Server Signaling Functions", "pg_ctl" (reload sends SIGHUP to the postmaster, whose
process id is the first line of postmaster.pid).
"""

import errno
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from tmsync.core.errors import Cause, TmsyncError
from tmsync.core.files.replace import overwrite_in_place, sync_folder, write_beside
from tmsync.core.hba import DiskReader, Insertion

SERVER_NAMES: Final = ("postgres", "postmaster")


class HbaNotWritten(TmsyncError):
    """The file was left as it is."""


def write_insertion(path: Path, before: str, change: Insertion) -> Path:
    """Put `change` in place; the backup's name.

    before: the text the change was made from.
    Raises: HbaNotWritten; the file is untouched then.
    """
    real = Path(os.path.realpath(path))
    marker = f".{real.name}.tmsync-"
    backup = real.with_name(f"{real.name}.backup")
    data = change.new_text.encode("utf-8", "surrogateescape")
    temporary = None
    try:
        found = real.stat()
        write_beside(real, before.encode("utf-8", "surrogateescape"), found, marker).replace(backup)
        temporary = write_beside(real, data, found, marker)
        if DiskReader().read_text(str(real)) != before:
            raise HbaNotWritten(
                Cause.HBA_UNWRITABLE, f"{path} was changed by somebody else meanwhile", "Look at it, and try again."
            )
        try:
            temporary.replace(real)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # Mounted as a single file: it cannot be replaced, only written.
            overwrite_in_place(real, data, found.st_size)
        sync_folder(real.parent)
    except OSError as error:
        raise HbaNotWritten(
            Cause.HBA_UNWRITABLE,
            f"{path} cannot be written: {error.strerror}",
            "Run tmsync as a user who may write it: sudo tmsync check-db --pg-hba ... --apply",
        ) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return backup


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
