"""What is delivered, and what came of it: the words that planning and carrying out have in common.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (it refreshes by itself only while it holds a refresh token, and a
refresh rotates the token behind TeslaMate's back).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import TwcSettings
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.fixes import problem
from tmsync.core.teslamate.assessment import fingerprint
from tmsync.core.teslamate.claims import read_claims
from tmsync.core.twcmanager.plan import SyncOptions, Via
from tmsync.core.twcmanager.presence import Presence, Users
from tmsync.core.twcmanager.restart import Restart
from tmsync.core.twcmanager.settings_content import BEARER, Snapshot, TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile


class Result(StrEnum):
    """What a run came to."""

    WRITTEN = "written"
    PUSHED = "pushed"
    UNCHANGED = "unchanged"
    DRY_RUN = "dry-run"
    OUT_OF_SYNC = "out-of-sync"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WantedToken:
    """What is to be delivered. replaces_until: a token that expires later is not replaced; None: any token is."""

    fields: TokenFields
    shared: bool
    replaces_until: datetime | None


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery as it is asked for. file: TWCManager's settings.json, as far as is known.

    users: whose TWCManager may get the token. far: it is on another host, and no file here is its own.
    """

    twc: TwcSettings
    wanted: WantedToken
    options: SyncOptions
    clock: Clock
    restart: Restart
    file: SettingsFile
    users: Users
    far: bool

    @property
    def only_asked(self) -> bool:
        """Whether nothing is to be changed."""
        return self.options.check or self.options.dry_run


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the token went, or would go, and what came of it.

    verified: None where nothing can prove it. held: fingerprint of the token TWCManager held before, empty for none.
    lasting: False when a running TWCManager is about to write its old token over the new one. fleet_only: whether it is
    known to talk to the Fleet API alone.
    """

    via: Via
    target: str
    result: Result = Result.FAILED
    verified: bool | None = None
    twcmanager: Presence = Presence.UNKNOWN
    backup: str | None = None
    held: str = ""
    lasting: bool = True
    fleet_only: bool = False
    warnings: tuple[Problem, ...] = ()
    error: DeliveryError | None = None


class Failed(Exception):
    """An error after something was done already. delivery: what came before it."""

    def __init__(self, delivery: Delivery, error: DeliveryError) -> None:
        super().__init__(str(error))
        self.delivery = delivery
        self.error = error


class NewerTokenHeld(Exception):
    """TWCManager holds a token that expires later than ours: another run may have brought a newer one meanwhile."""


def refuse_older(wanted: WantedToken, held: Snapshot) -> None:
    """Raises: NewerTokenHeld."""
    ours = wanted.replaces_until
    claims = read_claims(held.held(BEARER)) if ours is not None else None
    if ours is not None and claims is not None and claims.expires_at is not None and claims.expires_at > ours:
        raise NewerTokenHeld


def answered(begun: Delivery, options: SyncOptions) -> Delivery:
    """For --check and --dry-run, where something would have to be done."""
    return replace(begun, result=Result.OUT_OF_SYNC if options.check else Result.DRY_RUN)


def fingerprint_of(snapshot: Snapshot | None) -> str:
    """Of the token that stands there; empty for none."""
    token = snapshot.held(BEARER) if snapshot is not None else ""
    return fingerprint(token) if token else ""


def holds_refresh_token(*, local: bool = False) -> Problem:
    """The problem of a TWCManager that can refresh by itself. local: the token it should hold is tmsync's own."""
    if local:
        message = "TWCManager holds a refresh token, with which it would replace a local token, and TeslaMate's pair"
        return problem(Cause.HOLDS_REFRESH_TOKEN, message, variant="local")
    return problem(
        Cause.HOLDS_REFRESH_TOKEN,
        "TWCManager holds a refresh token, too; once it uses that, TeslaMate's tokens are no longer valid",
    )


def syncs_itself(where: str) -> Problem:
    """The problem of a TWCManager whose own token sync is on. where: what says so."""
    return problem(
        Cause.SYNC_ENABLED_IN_TWCMANAGER,
        f"TWCManager's own syncTokens is on ({where}, vehicle.TeslaMate); it refuses other tokens",
    )
