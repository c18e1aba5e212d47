"""What is in TWCManager's settings.json: reading, judging and laying out its text.

Source: TWCManager lib/TWCManager/TWCMaster.py (loadSettings, saveSettings), lib/TWCManager/Vehicle/TeslaAPI.py.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.files.paths import is_open_to_all, is_readable_by_all
from tmsync.core.fixes import problem
from tmsync.core.process import user_name

BEARER: Final = "carApiBearerToken"
REFRESH: Final = "carApiRefreshToken"
EXPIRY: Final = "carApiTokenExpireTime"
MAX_BYTES: Final = 64 << 20


class Unparsable(DeliveryError):
    """The text is no JSON object: damaged for good, or in the middle of a save."""


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

    @property
    def moment(self) -> tuple[int, int] | None:
        """Tells one save from the next."""
        return None if self.stat is None else (self.stat.st_ino, self.stat.st_mtime_ns)

    def holds(self, fields: TokenFields) -> bool:
        """Whether nothing is left to do."""
        wanted = fields.as_settings()
        return self.stat is not None and all(
            key in self.data and type(self.data[key]) is type(value) and self.data[key] == value
            for key, value in wanted.items()
        )


def read_raw(path: Path) -> tuple[bytes, os.stat_result | None]:
    """Content and status; without a file nothing and None. path: no symbolic link, which could lead anywhere.

    Raises: DeliveryError (settings-unreadable).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            found = os.fstat(descriptor)
            kind = stat.S_IFMT(found.st_mode)
            raw = file.read(MAX_BYTES + 1) if kind == stat.S_IFREG else b""
    except FileNotFoundError:
        return b"", None
    except IsADirectoryError:
        raise unreadable(path, "it is a folder") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise unreadable(path, "it is not a regular file") from None
        variants = {errno.EACCES: "permission", errno.EIO: "disk"}
        raise unreadable(path, error.strerror or "unknown error", variants.get(error.errno or 0, "")) from None
    if kind != stat.S_IFREG:
        raise unreadable(path, "it is not a regular file")
    if len(raw) > MAX_BYTES:
        raise unreadable(path, "it is larger than 64 MiB")
    return raw, found


def parse(path: Path, raw: bytes, backup: Path) -> dict[str, Any]:
    """The settings in `raw`. backup: told of where it could replace them.

    Raises: Unparsable (settings-unreadable).
    """
    try:
        return _parsed(raw)
    except ValueError as error:
        empty = not raw.strip()
        variant = "content-with-backup" if backup != path and _is_good(backup) else "empty" if empty else "content"
        message = f"{path} cannot be used: {error}"
        raise Unparsable(problem(Cause.SETTINGS_UNREADABLE, message, variant=variant, backup=backup.name)) from None


def _parsed(raw: bytes) -> dict[str, Any]:
    """Raises: ValueError, with words."""
    if not raw.strip():
        raise ValueError("it is empty")
    try:
        data = json.loads(raw)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError):
        raise ValueError("it is JSON that no program can read") from None
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")  # noqa: TRY004 - the same for every kind of damage
    return data


def _is_good(backup: Path) -> bool:
    try:
        return bool(_parsed(read_raw(backup)[0]))
    except (DeliveryError, ValueError):
        return False


def end_of(raw: bytes) -> int | None:
    """How long the JSON object at the beginning is; None where there is none, or no whole one."""
    text = raw.decode("utf-8", "surrogateescape")
    begin = len(text) - len(text.lstrip())
    try:
        data, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    return len(text[:end].encode("utf-8", "surrogateescape")) if isinstance(data, dict) else None


def unreadable(path: Path, what: str, variant: str = "") -> DeliveryError:
    """The error for a settings file that cannot be used. what: why, in words."""
    message = f"{path} cannot be used: {what}"
    if variant == "permission":
        return DeliveryError(denied(Cause.SETTINGS_UNREADABLE, message, path))
    return DeliveryError(problem(Cause.SETTINGS_UNREADABLE, message, variant=variant))


def denied(cause: Cause, message: str, path: Path) -> Problem:
    """The problem of a file that this user may not read, or not replace; says whose it is.

    TWCManager runs as the owner of the folder, by all appearances. It makes the file anew at each save, so that the
    file is that user's, too, unless somebody else has touched it.
    """
    me, folder = os.geteuid(), path.parent
    owner, folder_owner = _owner(path), _owner(folder)
    whose = f"it belongs to {_name(owner)}" if owner is not None else "there is no such file yet"
    message += f" ({whose}, its folder to {_name(folder_owner)}; tmsync runs as {_name(me)})"
    if owner is None or owner == folder_owner:
        variant = "mode" if folder_owner == me else "user"
    elif owner == me and cause is Cause.SETTINGS_UNWRITABLE:
        variant = "folder"
    else:
        variant = "owner"
    values: dict[str, Any] = {
        "file": path if owner is not None else None,
        "user": _name(me),
        "folder_owner": _name(folder_owner),
    }
    return problem(cause, message, variant=variant, path=path, folder=folder, **values)


def exposed(path: Path, *, soon: bool = False) -> Problem | None:
    """The problem of a settings file with a token in it that every user of this machine can read. path: the real one.

    Its folder is what keeps them out: TWCManager makes the file anew at each save, with a mode of its own.
    soon: whether that counts already while the present file's mode still keeps them out.
    """
    if not (is_readable_by_all(path) or (soon and is_open_to_all(path))):
        return None
    message = f"every user of this machine can read {path}, and the token in it commands the car"
    return problem(Cause.LOOSE_PERMISSIONS, message, variant="settings", folder=path.parent)


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _name(number: int | None) -> str:
    return "somebody else" if number is None else user_name(number) or f"#{number}"


def dump(data: dict[str, Any], like: bytes) -> bytes:
    """`data` in the layout of the text it came from: indented or on one line, plain or escaped characters.

    Raises: RecursionError when it is nested so deep that it can be read, but not written.
    """
    lines = like.split(b"\n")
    indent = len(lines[1]) - len(lines[1].lstrip(b" ")) if len(lines) > 1 and lines[0].strip() == b"{" else None
    end = b"\n" if like.endswith(b"\n") else b""
    try:
        return json.dumps(data, indent=indent or None, ensure_ascii=like.isascii()).encode() + end
    except UnicodeEncodeError:
        # A lone surrogate can only stand escaped.
        return json.dumps(data, indent=indent or None).encode() + end
