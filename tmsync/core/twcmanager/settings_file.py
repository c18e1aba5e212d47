"""TWCManager's settings.json: three keys of it are tmsync's business, everything else survives whatever happens.

Source: TWCManager lib/TWCManager/TWCMaster.py (loadSettings, saveSettings), lib/TWCManager/Vehicle/TeslaAPI.py.
"""

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core import trace
from tmsync.core.clock import Clock
from tmsync.core.errors import Cause, DeliveryError, Problem
from tmsync.core.replace import (
    ExchangeUnsupported,
    exchange,
    overwrite_in_place,
    sync_folder,
    write_beside,
)
from tmsync.core.twcmanager.lock import exclusive

BEARER: Final = "carApiBearerToken"
REFRESH: Final = "carApiRefreshToken"
EXPIRY: Final = "carApiTokenExpireTime"
MAX_BYTES: Final = 64 << 20
ROUNDS: Final = 200
"""How often a merge is begun anew when another program keeps saving; one round loses only to one save."""
GAP_S: Final = 0.02
GAP_ROUNDS: Final = 50
"""TWCManager's save leaves a moment without settings.json; after this many looks it is really missing."""
RUN_AS: Final = "Run tmsync as the user TWCManager runs as (sudo -u twcmanager tmsync sync-tokens), or as root."


class TokenFields(NamedTuple):
    """The three keys, as they shall stand. expires_at: epoch seconds."""

    bearer: str
    refresh: str
    expires_at: int

    def as_settings(self) -> dict[str, Any]:
        """As TWCManager names them."""
        return {BEARER: self.bearer, REFRESH: self.refresh, EXPIRY: self.expires_at}


class Snapshot(NamedTuple):
    """The file at one moment. `stat` is None when there was none; `data` then is what a new one starts from."""

    raw: bytes
    data: dict[str, Any]
    stat: os.stat_result | None
    restored: bool = False
    """Whether the content is that of settings.json.backup, settings.json itself being missing."""

    def held(self, key: str) -> str:
        """A token as TWCManager holds it; empty when it holds none."""
        value = self.data.get(key)
        return value if isinstance(value, str) else ""

    def holds(self, fields: TokenFields) -> bool:
        """Whether nothing is left to do."""
        wanted = fields.as_settings()
        return self.stat is not None and all(
            key in self.data and type(self.data[key]) is type(value) and self.data[key] == value
            for key, value in wanted.items()
        )


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

    def read(self) -> Snapshot:
        """The file as it is now.

        Raises: DeliveryError (settings-unreadable, settings-unwritable when its folder is missing).
        """
        if not self.real.parent.is_dir():
            raise DeliveryError(
                Cause.SETTINGS_UNWRITABLE,
                f"{self.path}: its folder does not exist",
                "Name TWCManager's settings.json with --twc-settings, or its config.json with --twc-config.",
            )
        raw, found = _read(self.real)
        if found is not None:
            return Snapshot(raw, _parse(self.path, raw, self.backup), found)
        return self._without_file()

    def write(self, fields: TokenFields, clock: Clock) -> Written:
        """Put the three keys in; nothing is written when they stand there already.

        Raises: DeliveryError (settings-unreadable, settings-unwritable, locked).
        """
        if self.read().holds(fields) and not self._left_behind():
            return Written(changed=False, backup=None)
        try:
            with exclusive(self.real, clock):
                self._recover()
                written = self._write(fields, clock)
                self._sweep()
                return written
        except OSError as error:
            raise self._unwritable(error) from None

    # -- one write, under the lock

    def _write(self, fields: TokenFields, clock: Clock) -> Written:
        for _ in range(ROUNDS):
            snapshot = self._read_past_gap(clock)
            if snapshot.holds(fields):
                return Written(changed=False, backup=None)
            merged = _dump({**snapshot.data, **fields.as_settings()}, snapshot.raw)
            temporary = write_beside(self.real, merged, snapshot.stat, self._marker)
            try:
                written = self._put(temporary, snapshot, merged)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
            if written is not None:
                sync_folder(self.real.parent)
                trace.say(f"{self.real} written")
                return written
            trace.say(f"{self.real} was saved by another program meanwhile; merging again")
        raise DeliveryError(
            Cause.SETTINGS_UNWRITABLE,
            f"{self.path} is saved by another program all the time",
            "Find the program that does, or deliver with --via http.",
        )

    def _put(self, temporary: Path, snapshot: Snapshot, merged: bytes) -> Written | None:
        """Put `temporary` into place; None when another program was faster and the merge is out of date."""
        if snapshot.stat is None:
            return self._put_new(temporary, snapshot)
        try:
            return self._put_by_exchange(temporary, snapshot)
        except FileNotFoundError:
            return None
        except ExchangeUnsupported:
            trace.say("this file system cannot swap names; using rename")
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
        warning = Problem(
            Cause.SETTINGS_RESTORED,
            f"{self.path} was missing; it was made from {self.backup.name}, which TWCManager keeps beside it",
            "Look whether TWCManager still has your settings.",
        )
        return Written(changed=True, backup=None, warnings=(warning,) if snapshot.restored else ())

    def _put_by_exchange(self, temporary: Path, snapshot: Snapshot) -> Written | None:
        if _identity(self.real) != _identity_of(snapshot.stat):
            return None
        journal = self._journal(temporary, snapshot)
        ours = _identity(temporary)
        temporary.rename(journal)
        try:
            exchange(journal, self.real)
        except (ExchangeUnsupported, OSError):
            journal.rename(temporary)
            raise
        if journal.read_bytes() == snapshot.raw:
            journal.rename(self.backup)
            return Written(changed=True, backup=self.backup)
        self._give_back(journal, ours)
        return None

    def _give_back(self, journal: Path, put: tuple[int, int] | None) -> None:
        """Another program saved between our look and our swap: what we took away is newer, so it goes back.

        put: what we have put into place. If the swap back brings out something else, that program has saved once more
        in between, and what is in hand now is newer still: it goes back likewise.
        """
        while True:
            held = _identity(journal)
            try:
                exchange(journal, self.real)
            except FileNotFoundError:
                # In the gap of a save; what comes next is newer, and replaces this.
                with suppress(OSError):
                    os.link(journal, self.real)
                break
            if _identity(journal) == put:
                break
            put = held
        journal.unlink()

    def _put_by_rename(self, temporary: Path, snapshot: Snapshot, merged: bytes) -> Written | None:
        self._keep_backup(snapshot)
        raw, found = _read(self.real)
        if found is None or raw != snapshot.raw:
            return None
        try:
            temporary.replace(self.real)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return self._put_in_place(snapshot, merged)
        return Written(changed=True, backup=self.backup)

    def _put_in_place(self, snapshot: Snapshot, merged: bytes) -> Written:
        self._keep_backup(snapshot)
        overwrite_in_place(self.real, merged, len(snapshot.raw))
        warning = Problem(
            Cause.NOT_ATOMIC,
            f"{self.path} is mounted as a single file, so it was written in place; a power cut in that moment could"
            f" have damaged it (the previous content is in {self.backup.name})",
            "Mount the folder that holds settings.json instead of the file.",
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
            return [path for path in self.real.parent.iterdir() if path.name.startswith(self._marker)]
        except OSError:
            return []

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

    def _read_past_gap(self, clock: Clock) -> Snapshot:
        snapshot = self.read()
        for _ in range(GAP_ROUNDS):
            if snapshot.stat is not None or not snapshot.restored:
                break
            clock.sleep(GAP_S)
            snapshot = self.read()
        return snapshot

    def _without_file(self) -> Snapshot:
        """settings.json is missing: TWCManager's backup, if there is a good one, holds the user's settings."""
        try:
            raw, found = _read(self.backup)
            if found is not None:
                return Snapshot(raw, _parse(self.backup, raw, self.backup), None, restored=True)
        except DeliveryError:
            pass
        return Snapshot(b"", {}, None)

    def _unwritable(self, error: OSError) -> DeliveryError:
        hints = {
            errno.ENOSPC: "Free some space; nothing was changed.",
            errno.EROFS: "The file system is mounted read-only; nothing was changed.",
        }
        return DeliveryError(
            Cause.SETTINGS_UNWRITABLE,
            f"{self.path} cannot be written: {error.strerror}",
            hints.get(error.errno or 0, RUN_AS),
        )


def _read(path: Path) -> tuple[bytes, os.stat_result | None]:
    """Content and status; without a file nothing and None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        raise _unreadable(path, error.strerror or "unknown error", RUN_AS) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _unreadable(path, "it is no regular file", "Name TWCManager's settings.json with --twc-settings.")
    with os.fdopen(descriptor, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _unreadable(path, "it is larger than 64 MiB", "Name TWCManager's settings.json with --twc-settings.")
    return raw, found


def _parse(path: Path, raw: bytes, backup: Path) -> dict[str, Any]:
    hint = "Mend the file. It was not touched."
    if backup.exists():
        hint = f"TWCManager restores {backup.name} at its next start; or mend the file. It was not touched."
    if not raw.strip():
        raise _unreadable(path, "it is empty", f"{hint} If there is nothing to keep, delete it.")
    try:
        data = json.loads(raw)
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not UTF-8 text", hint) from None
    except json.JSONDecodeError as error:
        raise _unreadable(path, f"it is not JSON ({error.msg}, line {error.lineno})", hint) from None
    except (ValueError, RecursionError):
        raise _unreadable(path, "it is JSON that no program can read", hint) from None
    if not isinstance(data, dict):
        raise _unreadable(path, "it holds no JSON object", hint)
    return data


def _unreadable(path: Path, what: str, hint: str) -> DeliveryError:
    return DeliveryError(Cause.SETTINGS_UNREADABLE, f"{path} cannot be used: {what}", hint)


def _dump(data: dict[str, Any], like: bytes) -> bytes:
    """`data` in the layout of the text it came from: indented or on one line, plain or escaped characters."""
    lines = like.split(b"\n")
    indent = len(lines[1]) - len(lines[1].lstrip(b" ")) if len(lines) > 1 and lines[0].strip() == b"{" else None
    end = b"\n" if like.endswith(b"\n") else b""
    try:
        return json.dumps(data, indent=indent or None, ensure_ascii=like.isascii()).encode() + end
    except UnicodeEncodeError:
        # A lone surrogate can only stand escaped.
        return json.dumps(data, indent=indent or None).encode() + end


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        return _identity_of(path.stat())
    except FileNotFoundError:
        return None


def _identity_of(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_ino, found.st_mtime_ns)
