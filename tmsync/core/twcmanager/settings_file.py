"""TWCManager's settings.json: three keys of it are tmsync's business, everything else survives whatever happens.

TWCManager may save at any moment, without a lock, and in two ways: the released 1.3.2 truncates the file and writes it
anew; later ones write a temporary file, rename the old one to .backup, and rename the new one into place. What becomes
of such a save in the moment of ours: `tmsync.core.files.swap`.

Source: TWCManager lib/TWCManager/TWCMaster.py (loadSettings, saveSettings), of 1.3.2 and of master.
"""

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.files.lease import lease
from tmsync.core.files.lock import sweep_lock
from tmsync.core.files.paths import follow, is_folder, is_hidden
from tmsync.core.files.swap import PAUSE_S, PAUSES, Busy, Overtaken, Placed, SharedFile
from tmsync.core.fixes import problem
from tmsync.core.twcmanager.settings_content import (
    BEARER,
    Snapshot,
    TokenFields,
    Unparsable,
    denied,
    dump,
    end_of,
    parse,
    read_raw,
    unreadable,
)

log = logging.getLogger(__name__)

ROUNDS: Final = 200
"""How often a merge is begun anew when another program keeps saving; one round loses only to one save."""
BUSY_ROUNDS: Final = 10
BUSY_PAUSE_S: Final = 0.05
"""How often and how long one waits for a program that has the file open; then only its content counts."""
VARIANTS: Final = {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read-only"}


class Written(NamedTuple):
    """What a write came to."""

    changed: bool
    backup: Path | None = None
    warnings: tuple[Problem, ...] = ()


class SettingsFile:
    """One settings.json. `path` is what the user named; a symbolic link stays one, its target is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.real, self._not_followed = follow(path)
        self.shared = SharedFile(self.real, end_of)
        self.backup = self.shared.backup
        self._checked = False

    def read(self, clock: Clock) -> Snapshot:
        """The file as it is, once no save is under way.

        Raises: DeliveryError (settings-unreadable, settings-unwritable when its folder is missing).
        """
        self._check()
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
        if snapshot.stat is None or os.geteuid() not in (0, snapshot.stat.st_uid):
            # This user cannot have put it there.
            return False
        try:
            raw, backup = read_raw(self.backup)
            before = parse(self.backup, raw, self.backup) if backup is not None else {}
        except DeliveryError:
            return False
        placed_ns = snapshot.stat.st_ctime_ns if backup is None else backup.st_ctime_ns
        return snapshot.stat.st_mtime_ns <= placed_ns and before.get(BEARER) != snapshot.held(BEARER)

    def note_save_by_twcmanager(self) -> None:
        """Let `is_ours` tell later that TWCManager has put the content there: its own renames look like ours."""
        with suppress(OSError):
            os.utime(self.real, follow_symlinks=False)

    def write(self, fields: TokenFields, clock: Clock, check: Callable[[Snapshot], None] | None = None) -> Written:
        """Put the three keys in; nothing is written when they stand there already.

        check: called with what is about to be changed, under the lock; it may raise.
        Raises: DeliveryError (settings-unreadable, settings-unwritable, locked).
        """
        if self.read(clock).holds(fields) and not self.shared.left_behind():
            sweep_lock(self.real)
            return Written(changed=False)
        try:
            with self.shared.writing(clock):
                return self._write(fields, clock, check)
        except OSError as error:
            raise self._unwritable(error, fields) from None

    def rehearse(self, fields: TokenFields, clock: Clock, check: Callable[[Snapshot], None]) -> None:
        """All of `write` but putting the new content in place. check: as there.

        Raises: DeliveryError (settings-unreadable, settings-unwritable, locked).
        """
        try:
            snapshot = self.read(clock)
            check(snapshot)
            self.shared.rehearse(self._merge(snapshot, fields), snapshot.stat, clock)
        except OSError as error:
            raise self._unwritable(error, fields) from None

    # -- one write, under the lock

    def _write(self, fields: TokenFields, clock: Clock, check: Callable[[Snapshot], None] | None) -> Written:
        busy = 0
        for _ in range(ROUNDS):
            snapshot = self.read(clock)
            if snapshot.holds(fields):
                return Written(changed=False)
            if check is not None:
                check(snapshot)
            merged = self._merge(snapshot, fields)
            try:
                placed = self.shared.put(merged, snapshot.raw, snapshot.stat, clock, by_content=busy >= BUSY_ROUNDS)
            except Overtaken:
                log.info(f"{self.real} was saved by another program meanwhile; merging again")
                busy = 0
            except Busy:
                log.info(f"{self.real} is open in another program")
                busy += 1
                clock.sleep(BUSY_PAUSE_S)
            else:
                log.info(f"{self.real} written")
                return Written(True, placed.backup, self._warnings(snapshot, placed))
        message = f"{self.path} is saved by another program all the time"
        raise DeliveryError(problem(Cause.SETTINGS_UNWRITABLE, message, variant="busy"))

    def _merge(self, snapshot: Snapshot, fields: TokenFields) -> bytes:
        data = {**snapshot.data, **fields.as_settings()}
        try:
            return dump(data, snapshot.raw)
        except RecursionError:
            message = f"{self.path} cannot be used: it is nested too deep to be written again"
            raise DeliveryError(problem(Cause.SETTINGS_UNREADABLE, message, variant="content")) from None

    def _warnings(self, snapshot: Snapshot, placed: Placed) -> tuple[Problem, ...]:
        found = []
        if snapshot.restored:
            message = f"{self.path} was missing; it was made from {self.backup.name}, which TWCManager keeps beside it"
            found.append(problem(Cause.SETTINGS_RESTORED, message))
        if placed.in_place:
            message = f"{self.path} is mounted as a single file, so it was written in place; a power cut in that moment"
            message += f" could have damaged it (the previous content is in {self.backup.name})"
            if not placed.guarded:
                message += ", and so could a save of TWCManager's, or be lost: nothing here keeps others from writing"
            found.append(problem(Cause.NOT_ATOMIC, message))
        if placed.not_kept:
            message = f"{self.path} is a new file now; {'; '.join(placed.not_kept)}"
            found.append(problem(Cause.NOT_KEPT, message, path=self.path))
        return tuple(found)

    # -- reading

    def _check(self) -> None:
        """Raises: DeliveryError where the name leads to a file that cannot be meant."""
        if self._checked:
            return
        if self._not_followed is not None:
            raise unreadable(self.path, self._not_followed, "link")
        if self.shared.is_lost_mount():
            words = "it is a file mounted by itself, and where it comes from another file has taken its place"
            raise unreadable(self.path, words, "lost-mount")
        self._checked = True

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

    def _unwritable(self, error: OSError, fields: TokenFields) -> DeliveryError:
        """In words that are true of what the file holds now."""
        words = error.strerror or "unknown error"
        try:
            raw, found = read_raw(self.real)
            written = found is not None and Snapshot(raw, parse(self.path, raw, self.backup), found).holds(fields)
        except DeliveryError:
            message = f"{self.path} was being written, and cannot be read now: {words}"
            return DeliveryError(problem(Cause.SETTINGS_UNWRITABLE, message, variant="damaged", backup=self.backup))
        if written:
            message = f"{self.path} was written, but it is not certain that it reached the disk: {words}"
            return DeliveryError(problem(Cause.SETTINGS_UNWRITABLE, message, variant="unsynced"))
        message = f"{self.path} was not changed: {words}"
        is_denied = error.errno in (errno.EPERM, errno.EACCES)
        if is_denied and os.geteuid():
            return DeliveryError(denied(Cause.SETTINGS_UNWRITABLE, message, self.real))
        variant = "immutable" if is_denied else VARIANTS.get(error.errno or 0, "disk")
        folder = self.real.parent
        return DeliveryError(
            problem(Cause.SETTINGS_UNWRITABLE, message, variant=variant, path=self.real, folder=folder)
        )
