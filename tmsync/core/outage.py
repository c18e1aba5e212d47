"""A database out of reach for long, such as a night: told when that begins, when TWCManager's token runs low, and when
it is over, rather than by a mail every five minutes.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock, iso
from tmsync.core.config.settings import Settings
from tmsync.core.errors import DeliveryError
from tmsync.core.files.state import StateError, StateFolder
from tmsync.core.sync import Report
from tmsync.core.teslamate.claims import EXPIRES_SOON, read_claims
from tmsync.core.twcmanager.settings_content import BEARER
from tmsync.core.twcmanager.settings_file import SettingsFile

log = logging.getLogger(__name__)

OUT_OF_REACH: Final = frozenset({
    Cause.UNRESOLVABLE, Cause.REFUSED, Cause.TIMEOUT, Cause.UNREACHABLE, Cause.NOT_POSTGRESQL, Cause.NO_ANSWER,
    Cause.CONNECTION_LOST, Cause.STARTING_UP, Cause.TOO_MANY_CONNECTIONS, Cause.NOT_ACCEPTING, Cause.POOLER,
    Cause.SERVER_ERROR,
})  # fmt: skip
"""What a server that is restarted, backed up or cut off looks like; one may turn into the other."""


class Telling(Enum):
    """What a run says of an outage."""

    AS_EVER = "as ever"
    BEGINS = "begins"
    SILENT = "silent"
    LOW = "low"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Memory:
    """What the last run left. since: of the outage, None where there is none; low: it was told that the token runs low.

    expires_at: of the token that TWCManager got last.
    """

    since: datetime | None = None
    low: bool = False
    expires_at: datetime | None = None

    @classmethod
    def of(cls, raw: bytes, now: datetime) -> "Memory":
        """From what was written; what cannot be read is nothing, and so is an outage that begins in the future."""
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            return cls()
        since = _time(data.get("since"))
        return cls(since if since is not None and since <= now else None, data.get("low") is True,
                   _time(data.get("expires_at")))  # fmt: skip

    def as_json(self) -> bytes:
        """To write."""
        times = {"since": self.since, "expires_at": self.expires_at}
        return json.dumps({"low": self.low} | {name: iso(at) for name, at in times.items() if at is not None}).encode()


@dataclass(frozen=True, slots=True)
class News:
    """What is said. since: when the outage began; expires_at: when TWCManager's token expires, as far as is known."""

    telling: Telling = Telling.AS_EVER
    since: datetime | None = None
    expires_at: datetime | None = None


def decide(memory: Memory, cause: Cause | None, expires_at: datetime | None, now: datetime) -> tuple[Memory, News]:
    """What to remember, and what to say. cause: of the run's error. expires_at: of TWCManager's token. Pure."""
    if cause not in OUT_OF_REACH:
        over = memory.since is not None and cause is None
        return Memory(expires_at=expires_at), News(Telling.OVER if over else Telling.AS_EVER, memory.since)
    low = expires_at is not None and expires_at - now < EXPIRES_SOON
    if memory.since is None:
        return Memory(now, low, expires_at), News(Telling.BEGINS, now, expires_at)
    telling = Telling.LOW if low and not memory.low else Telling.SILENT
    return Memory(memory.since, memory.low or low, expires_at), News(telling, memory.since, expires_at)


def news(report: Report, settings: Settings, clock: Clock) -> News:
    """Compare the run with what the one before left in serve.state_dir; AS_EVER where nothing can be kept there."""
    folder, name = StateFolder(settings.state_dir), f"sync-tokens-{_target(settings)}.json"
    now = clock.now()
    try:
        raw = folder.read(name)
        memory = Memory.of(raw, now)
        remembered, found = decide(memory, *_seen(report, settings, clock, memory), now)
        if remembered.as_json() != raw:
            folder.write(name, remembered.as_json())
    except StateError as error:
        log.info("%s", error)
        return News()
    return found


def _seen(report: Report, settings: Settings, clock: Clock, memory: Memory) -> tuple[Cause | None, datetime | None]:
    """The run's error, and when TWCManager's token expires."""
    cause = report.error.cause if report.error is not None else None
    if cause in OUT_OF_REACH:
        return cause, _held(settings, clock) or memory.expires_at
    return cause, report.tokens.expires_at if report.tokens is not None and cause is None else memory.expires_at


def _target(settings: Settings) -> str:
    """Tells one configuration from another, as two may have one folder."""
    text = "\n".join(
        map(str, (settings.config_path, *map(settings.get, ("twcmanager.settings_file", "twcmanager.url"))))
    )
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _held(settings: Settings, clock: Clock) -> datetime | None:
    """When the token in TWCManager's settings expires."""
    try:
        claims = read_claims(SettingsFile(settings.twcmanager().settings_file).read(clock).held(BEARER))
    except DeliveryError:
        return None
    return claims.expires_at if claims else None


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
