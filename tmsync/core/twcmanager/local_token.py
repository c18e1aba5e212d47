"""The bearers that tmsync itself gives to TWCManager, and which of them it still accepts.

A bearer is known to nobody but TWCManager: what is kept of it is its SHA-256 sum. It is shaped as a JWT with a far
`exp`, as TWCManager reads a token's expiry from that, and refreshes one that is about to expire.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (setCarApiBearerToken).
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.files.state import StateFolder
from tmsync.core.secret import Secret

FAR_AWAY: Final = 4_102_444_800
"""2100-01-01: an expiry that keeps TWCManager from refreshing."""
FILE: Final = "local-bearers.json"
MOST: Final = 4
"""So many are accepted, the newest: TWCManager may go on with an earlier one until it has read its settings."""


def make_bearer() -> Secret:
    """A new one."""
    claims = {"iss": "tmsync", "exp": FAR_AWAY}
    head, body = (_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return Secret(f"{head}.{body}.{secrets.token_urlsafe(32)}")


def sum_of(bearer: str) -> str:
    """Its SHA-256 in hexadecimal."""
    return hashlib.sha256(bearer.encode("utf-8", "surrogatepass")).hexdigest()


def is_among(found: str, sums: Iterable[str]) -> bool:
    """Whether `found` is one of `sums`; takes as long whichever it is."""
    # All of them, whichever fits: any() of a generator would end at the first.
    return sum(hmac.compare_digest(found, one) for one in sums) > 0


class Known(NamedTuple):
    """The sums of the bearers that are accepted, newest first, and whether the first of them was delivered."""

    sums: tuple[str, ...] = ()
    delivered: bool = False

    def accepts(self, bearer: str) -> bool:
        """Whether it is one of them."""
        return is_among(sum_of(bearer), self.sums)


class LocalBearers:
    """Kept in serve.state_dir, where a running serve finds what sync-tokens adds."""

    def __init__(self, folder: Path) -> None:
        self._folder = StateFolder(folder)
        self._moment: tuple[int, int] | None = None
        self._known = Known()

    def known(self) -> Known:
        """As they are now; read again only when they have changed.

        Raises: StateError.
        """
        moment = self._folder.moment(FILE)
        if moment != self._moment:
            self._known = _parsed(self._folder.read(FILE))
            self._moment = moment
        return self._known

    def add(self, bearer: Secret) -> None:
        """Accept this one, too.

        Raises: StateError.
        """
        with self._folder.alone():
            sums = (sum_of(bearer.reveal()), *_parsed(self._folder.read(FILE)).sums)
            self._write(Known(sums[:MOST]))

    def delivered(self, bearer: Secret, *, alone: bool = False) -> None:
        """TWCManager has it. alone: and no other is accepted any more.

        Raises: StateError.
        """
        with self._folder.alone():
            one, known = sum_of(bearer.reveal()), _parsed(self._folder.read(FILE))
            others = () if alone else tuple(other for other in known.sums if other != one)
            self._write(Known((one, *others), delivered=True))

    def drop(self, bearer: Secret) -> None:
        """It was not delivered.

        Raises: StateError.
        """
        with self._folder.alone():
            one, known = sum_of(bearer.reveal()), _parsed(self._folder.read(FILE))
            self._write(Known(tuple(other for other in known.sums if other != one), delivered=len(known.sums) > 1))

    def _write(self, known: Known) -> None:
        self._folder.write(FILE, json.dumps(known._asdict()).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _parsed(raw: bytes) -> Known:
    """What cannot be read accepts nobody: the next run of sync-tokens then delivers another."""
    try:
        data: Any = json.loads(raw)
        sums = tuple(one for one in data["sums"] if isinstance(one, str) and len(one) == 64 and one.isascii())
        return Known(sums[:MOST], data["delivered"] is True and bool(sums))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Known()
