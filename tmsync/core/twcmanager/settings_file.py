"""TWCManager's settings.json: three keys of it are tmsync's business, everything else survives whatever happens.

TWCManager may save at any moment, without a lock, and in two ways: the released 1.3.2 truncates the file and writes it
anew; later ones write a temporary file, rename the old one to .backup, and rename the new one into place. On Linux
what is guaranteed against both is:

* Old or new, never half, never missing by our doing. The merged text is a synced file of its own before it gets the
  name (`tmsync.core.files.replace`), and it gets it in one step.
* No save is lost. Our file is exchanged with the one in place, so what was replaced stays in hand. It counts as the
  previous content only if, after the exchange and a sync of the folder, it is still byte by byte what the merge was
  made from, nobody has it open for writing, and nobody waits to (`core.files.lease`). Else it is exchanged back, and
  what came out is kept as long as somebody may still write into it; then the merge begins anew. For the microseconds
  between those two exchanges a reader sees the older settings.
* A killed run costs nothing. The file in hand carries in its name what was being exchanged; the next run, which has
  the lock, finishes or undoes it.

What remains open: a writer of the first kind that has looked up the name, but has not yet come to open the file, all
the while the folder is synced. Where names cannot be exchanged (not Linux, some network file systems), the file is
compared right before a plain rename: a save within the microseconds between the two is lost. Where leases are not to
be had, the file in hand is compared once more after a pause. Where the file itself is a mount point it is written in
place.

Source: TWCManager lib/TWCManager/TWCMaster.py (loadSettings, saveSettings), of 1.3.2 and of master.
"""

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.clock import Clock
from tmsync.core.errors import Cause, DeliveryError, Problem
from tmsync.core.files.lease import Lease, lease
from tmsync.core.files.lock import exclusive
from tmsync.core.files.paths import is_folder, is_hidden
from tmsync.core.files.replace import (
    ExchangeUnsupported,
    exchange,
    is_ours,
    overwrite_in_place,
    sync_folder,
    write_beside,
)
from tmsync.core.fixes import problem
from tmsync.core.twcmanager.settings_content import (
    BEARER,
    Snapshot,
    TokenFields,
    Unparsable,
    dump,
    owner_of,
    parse,
    read_raw,
)

log = logging.getLogger(__name__)

ROUNDS: Final = 200
"""How often a merge is begun anew when another program keeps saving; one round loses only to one save."""
PAUSE_S: Final = 0.02
PAUSES: Final = 50
"""A save leaves a moment without settings.json, or with half of one; after this many looks that is how it is."""
SETTLE_S: Final = 0.005
"""Where no lease tells whether somebody still writes: how long one waits to see."""


class Written(NamedTuple):
    """What a write came to."""

    changed: bool
    backup: Path | None
    warnings: tuple[Problem, ...] = ()


class SettingsFile:
    """One settings.json. `path` is what the user named; a symbolic link stays one, its target is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.real = Path(os.path.realpath(path))
        self.backup = self.real.with_name(f"{self.real.name}.backup")
        self._marker = f".{self.real.name}.tmsync-"

    def read(self, clock: Clock) -> Snapshot:
        """The file as it is, once no save is under way.

        Raises: DeliveryError (settings-unreadable, settings-unwritable when its folder is missing).
        """
        for _ in range(PAUSES):
            try:
                snapshot = self._look()
            except Unparsable:
                if not self._may_be_half():
                    raise
            else:
                if not snapshot.restored:
                    return snapshot
            clock.sleep(PAUSE_S)
        return self._look()

    def is_ours(self, snapshot: Snapshot) -> bool:
        """Whether tmsync put the content there, and TWCManager has saved nothing since.

        Our content was complete before it got the name, so before the one it replaced became the backup. A save by
        TWCManager 1.3.2 is newer than that; one of later versions makes our content the backup.
        """
        if snapshot.stat is None:
            return False
        try:
            raw, backup = read_raw(self.backup)
            before = parse(self.backup, raw, self.backup) if backup is not None else {}
        except DeliveryError:
            return False
        placed_ns = snapshot.stat.st_ctime_ns if backup is None else backup.st_ctime_ns
        return snapshot.stat.st_mtime_ns <= placed_ns and before.get(BEARER) != snapshot.held(BEARER)

    def write(self, fields: TokenFields, clock: Clock, check: Callable[[Snapshot], None] | None = None) -> Written:
        """Put the three keys in; nothing is written when they stand there already.

        check: called with what is about to be changed, under the lock; it may raise.
        Raises: DeliveryError (settings-unreadable, settings-unwritable, locked).
        """
        if self.read(clock).holds(fields) and not self._left_behind():
            return Written(changed=False, backup=None)
        try:
            with exclusive(self.real, clock):
                self._recover()
                written = self._write(fields, clock, check)
                self._sweep()
                return written
        except OSError as error:
            raise self._unwritable(error) from None

    # -- one write, under the lock

    def _write(self, fields: TokenFields, clock: Clock, check: Callable[[Snapshot], None] | None) -> Written:
        for _ in range(ROUNDS):
            snapshot = self.read(clock)
            if snapshot.holds(fields):
                return Written(changed=False, backup=None)
            if check is not None:
                check(snapshot)
            merged = self._merge(snapshot, fields)
            temporary = write_beside(self.real, merged, snapshot.stat, self._marker)
            try:
                written = self._put(temporary, snapshot, merged, clock)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            if written is not None:
                log.info(f"{self.real} written")
                return written
            log.info(f"{self.real} was saved by another program meanwhile; merging again")
        message = f"{self.path} is saved by another program all the time"
        raise DeliveryError(problem(Cause.SETTINGS_UNWRITABLE, message, variant="busy"))

    def _merge(self, snapshot: Snapshot, fields: TokenFields) -> bytes:
        try:
            return dump({**snapshot.data, **fields.as_settings()}, snapshot.raw)
        except RecursionError:
            message = f"{self.path} cannot be used: it is nested too deep to be written again"
            raise DeliveryError(problem(Cause.SETTINGS_UNREADABLE, message, variant="content")) from None

    def _put(self, temporary: Path, snapshot: Snapshot, merged: bytes, clock: Clock) -> Written | None:
        """Put `temporary` into place; None when another program was faster and the merge is out of date."""
        if snapshot.stat is None:
            return self._put_new(temporary, snapshot)
        try:
            with lease(self.real) as held:
                return self._put_by_exchange(temporary, snapshot, merged, held, clock)
        except FileNotFoundError:
            return None
        except ExchangeUnsupported:
            log.info("this file system cannot swap names; using rename")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return self._put_in_place(snapshot, merged)
        return self._put_by_rename(temporary, snapshot, merged)

    def _put_new(self, temporary: Path, snapshot: Snapshot) -> Written | None:
        try:
            os.link(temporary, self.real)
        except FileExistsError:
            return None
        except OSError:
            # A file system without hard links.
            if self.real.exists():
                return None
            temporary.rename(self.real)
        sync_folder(self.real.parent)
        message = f"{self.path} was missing; it was made from {self.backup.name}, which TWCManager keeps beside it"
        warning = problem(Cause.SETTINGS_RESTORED, message)
        return Written(changed=True, backup=None, warnings=(warning,) if snapshot.restored else ())

    def _put_by_exchange(
        self, temporary: Path, snapshot: Snapshot, merged: bytes, held: Lease, clock: Clock
    ) -> Written | None:
        if not self._is_still(snapshot, held):
            return None
        journal = self._journal(temporary, snapshot)
        temporary.rename(journal)
        try:
            exchange(journal, self.real)
        except (ExchangeUnsupported, OSError):
            journal.rename(temporary)
            raise
        sync_folder(self.real.parent)
        if not held.granted:
            clock.sleep(SETTLE_S)
        if journal.read_bytes() == snapshot.raw and not held.wanted:
            journal.rename(self.backup)
            return Written(changed=True, backup=self.backup)
        self._give_back(journal, merged, clock)
        return None

    def _is_still(self, snapshot: Snapshot, held: Lease) -> bool:
        """Whether the merge can still be put into place: nobody writes, and nothing else was saved."""
        same = _identity(self.real) == _identity_of(snapshot.stat)
        return same and not (held.busy or held.wanted) and held.content() == snapshot.raw

    def _give_back(self, journal: Path, put: bytes, clock: Clock) -> None:
        """Another program saved between our look and our swap: what we took away is newer, so it goes back.

        put: what we have put into place. If the swap back brings out something else, that program has saved once more
        in between, and what is in hand now is newer still: it goes back likewise.
        """
        while True:
            taken = journal.read_bytes()
            try:
                exchange(journal, self.real)
            except FileNotFoundError:
                # In the gap of a save; what comes next is newer, and replaces this.
                with suppress(OSError):
                    os.link(journal, self.real)
                break
            self._await_writers(journal, clock)
            if journal.read_bytes() == put:
                break
            put = taken
        journal.unlink()

    def _await_writers(self, path: Path, clock: Clock) -> None:
        """Until nobody has `path` open for writing, or for a second."""
        for _ in range(PAUSES):
            with lease(path) as held:
                if not held.busy:
                    return
            clock.sleep(PAUSE_S)

    def _put_by_rename(self, temporary: Path, snapshot: Snapshot, merged: bytes) -> Written | None:
        self._keep_backup(snapshot)
        try:
            with lease(self.real) as held:
                if not self._is_still(snapshot, held):
                    return None
                temporary.replace(self.real)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return self._put_in_place(snapshot, merged)
        sync_folder(self.real.parent)
        return Written(changed=True, backup=self.backup)

    def _put_in_place(self, snapshot: Snapshot, merged: bytes) -> Written:
        self._keep_backup(snapshot)
        overwrite_in_place(self.real, merged, len(snapshot.raw))
        warning = problem(
            Cause.NOT_ATOMIC,
            f"{self.path} is mounted as a single file, so it was written in place; a power cut in that moment could"
            f" have damaged it (the previous content is in {self.backup.name})",
        )
        return Written(changed=True, backup=self.backup, warnings=(warning,))

    def _keep_backup(self, snapshot: Snapshot) -> None:
        copy = write_beside(self.real, snapshot.raw, snapshot.stat, self._marker)
        copy.replace(self.backup)
        sync_folder(self.real.parent)

    # -- what a crash may have left

    def _journal(self, temporary: Path, snapshot: Snapshot) -> Path:
        """A name that tells, after a crash, what was about to be swapped: our file, and the one it was made from."""
        assert snapshot.stat is not None  # noqa: S101 - a swap needs two files
        ours = temporary.stat()
        parts = (ours.st_ino, ours.st_mtime_ns, snapshot.stat.st_ino, snapshot.stat.st_mtime_ns)
        return temporary.with_name(self._marker + "-".join(map(str, ("swap", *parts))))

    def _left_behind(self) -> list[Path]:
        try:
            left = [path for path in self.real.parent.iterdir() if path.name.startswith(self._marker)]
        except OSError:
            return []
        return [path for path in left if is_ours(path, self.real)]

    def _recover(self) -> None:
        """Finish what a killed run left: only a run that holds the lock makes such files, and we hold it now."""
        for left in self._left_behind():
            try:
                ours_ino, ours_mtime, base_ino, base_mtime = map(int, left.name.split("-swap-")[1].split("-"))
            except (ValueError, IndexError):
                continue
            ours, base = (ours_ino, ours_mtime), (base_ino, base_mtime)
            brought_out, there = _identity(left), _identity(self.real)
            if there == ours and brought_out == base:
                left.rename(self.backup)
            elif there == ours and brought_out != ours:
                # Killed between taking away another program's newer file and giving it back.
                exchange(left, self.real)

    def _sweep(self) -> None:
        for left in self._left_behind():
            with suppress(OSError):
                left.unlink()

    # -- reading

    def _look(self) -> Snapshot:
        if not is_folder(self.real.parent) and not is_hidden(self.real.parent):
            message = f"{self.path}: its folder does not exist"
            raise DeliveryError(problem(Cause.SETTINGS_UNWRITABLE, message, variant="no-folder"))
        raw, found = read_raw(self.real)
        if found is not None:
            return Snapshot(raw, parse(self.path, raw, self.backup), found)
        return self._without_file()

    def _may_be_half(self) -> bool:
        """Whether what cannot be parsed may be a save that is under way."""
        try:
            with lease(self.real) as held:
                if held.granted:
                    parse(self.path, held.content(), self.backup)
        except Unparsable:
            return False
        except OSError:
            pass
        return True

    def _without_file(self) -> Snapshot:
        """settings.json is missing: TWCManager's backup, if there is a good one, holds the user's settings."""
        try:
            raw, found = read_raw(self.backup)
            if found is not None:
                return Snapshot(raw, parse(self.backup, raw, self.backup), None, restored=True)
        except DeliveryError:
            pass
        return Snapshot(b"", {}, None)

    def _unwritable(self, error: OSError) -> DeliveryError:
        variants = {errno.ENOSPC: "full", errno.EROFS: "read-only"}
        return DeliveryError(
            problem(
                Cause.SETTINGS_UNWRITABLE,
                f"{self.path} cannot be written: {error.strerror}",
                variant=variants.get(error.errno or 0, ""),
                owner=owner_of(self.real),
                changed="Nothing was changed.",
            )
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        return _identity_of(path.stat())
    except FileNotFoundError:
        return None


def _identity_of(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_ino, found.st_mtime_ns)
