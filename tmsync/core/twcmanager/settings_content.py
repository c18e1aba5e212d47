"""What is in TWCManager's settings.json: reading, judging and laying out its text.

Source: TWCManager lib/TWCManager/TWCMaster.py (loadSettings, saveSettings), lib/TWCManager/Vehicle/TeslaAPI.py.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.errors import Cause, DeliveryError

BEARER: Final = "carApiBearerToken"
REFRESH: Final = "carApiRefreshToken"
EXPIRY: Final = "carApiTokenExpireTime"
OUR_NANOSECONDS: Final = 515_273_849
"""Fraction of a second in the time of a file that tmsync wrote. While it stands, TWCManager has saved nothing since."""
MAX_BYTES: Final = 64 << 20
NO_FILE: Final = ("it is no regular file", "Name TWCManager's settings.json with --twc-settings.")
A_FOLDER: Final = ("it is a folder", NO_FILE[1])
RUN_AS: Final = "Run tmsync as the user TWCManager runs as (sudo -u twcmanager tmsync sync-tokens), or as root."


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

    @property
    def ours(self) -> bool:
        """Whether tmsync wrote the file, and TWCManager has not saved since."""
        return self.stat is not None and self.stat.st_mtime_ns % 1_000_000_000 == OUR_NANOSECONDS

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
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _unreadable(path, *NO_FILE) from None
        raise _unreadable(path, error.strerror or "unknown error", RUN_AS) from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _unreadable(path, *(A_FOLDER if stat.S_ISDIR(found.st_mode) else NO_FILE))
    with os.fdopen(descriptor, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _unreadable(path, "it is larger than 64 MiB", "Name TWCManager's settings.json with --twc-settings.")
    return raw, found


def parse(path: Path, raw: bytes, backup: Path) -> dict[str, Any]:
    """The settings in `raw`.

    Raises: Unparsable (settings-unreadable).
    """
    hint = "Mend the file. It was not touched."
    if backup.exists():
        hint = f"Mend it, or copy {backup.name} over it while TWCManager is stopped. It was not touched."
    if not raw.strip():
        raise _unparsable(path, "it is empty", f"{hint} If there is nothing to keep, delete it.")
    try:
        data = json.loads(raw)
    except UnicodeDecodeError:
        raise _unparsable(path, "it is not UTF-8 text", hint) from None
    except json.JSONDecodeError as error:
        raise _unparsable(path, f"it is not JSON ({error.msg}, line {error.lineno})", hint) from None
    except (ValueError, RecursionError):
        raise _unparsable(path, "it is JSON that no program can read", hint) from None
    if not isinstance(data, dict):
        raise _unparsable(path, "it holds no JSON object", hint)
    return data


def _unparsable(path: Path, what: str, hint: str) -> Unparsable:
    return Unparsable(Cause.SETTINGS_UNREADABLE, f"{path} cannot be used: {what}", hint)


def _unreadable(path: Path, what: str, hint: str) -> DeliveryError:
    return DeliveryError(Cause.SETTINGS_UNREADABLE, f"{path} cannot be used: {what}", hint)


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
