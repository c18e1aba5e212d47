"""Which way a token goes into TWCManager, and the proof that it arrived.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (it refreshes by itself only while it holds a refresh token, and a
refresh rotates the token behind TeslaMate's back), lib/TWCManager/TWCMaster.py (loadSettings at the start only,
saveSettings whenever something changed), lib/TWCManager/Control/HTTPControl.py.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from tmsync.core.clock import Clock
from tmsync.core.config.settings import TwcSettings
from tmsync.core.errors import Cause, DeliveryError, Problem
from tmsync.core.files.lock import exclusive
from tmsync.core.files.paths import is_file, is_there
from tmsync.core.teslamate.assessment import fingerprint
from tmsync.core.teslamate.claims import read_claims
from tmsync.core.twcmanager.presence import Presence, Sighting, is_here, look, started_at
from tmsync.core.twcmanager.settings_content import BEARER, REFRESH, Snapshot, TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile

log = logging.getLogger(__name__)

HTTP_TIMEOUT_S: Final = 5.0
STATUS_TIMEOUT_S: Final = 2.0
PROOF_S: Final = 3.0
"""How long TWCManager may take to save what was pushed."""
CLEAR_REFRESH_TOKEN: Final = (
    "Clear it (a push cannot): sudo systemctl stop twcmanager; sudo -u twcmanager tmsync sync-tokens --via file;"
    " sudo systemctl start twcmanager"
)


class Result(StrEnum):
    """What a run came to."""

    WRITTEN = "written"
    PUSHED = "pushed"
    UNCHANGED = "unchanged"
    DRY_RUN = "dry-run"
    OUT_OF_SYNC = "out-of-sync"
    FAILED = "failed"


class Via(StrEnum):
    """The way a token takes."""

    AUTO = "auto"
    FILE = "file"
    HTTP = "http"


@dataclass(slots=True)
class Delivery:
    """How the token went, or would go. verified: None where nothing can prove it."""

    via: Via
    target: str
    verified: bool | None = None
    twcmanager: Presence = Presence.UNKNOWN
    backup: str | None = None


@dataclass(slots=True)
class Order:
    """What is to be delivered, how, and what came of it so far (also when an error ends it)."""

    fields: TokenFields
    shared: bool
    via: Via
    expires_at: datetime | None
    """The token's; a newer one is not replaced. None: whatever stands there is."""
    only: Result | None
    """For --check and --dry-run: what to answer where something would have to be done."""
    result: Result = Result.FAILED
    delivery: Delivery | None = None
    held: str = ""
    """Fingerprint of the token TWCManager held before, empty when it held none."""
    warnings: list[Problem] = field(default_factory=list)
    lasting: bool = True
    """False when a running TWCManager is about to write its old token over the new one."""


class Overtaken(Exception):
    """TWCManager holds a token that expires later than ours: another run may have brought a newer one meanwhile."""


def holds_refresh_token() -> Problem:
    """The warning for a TWCManager that can refresh by itself."""
    return Problem(
        Cause.HOLDS_REFRESH_TOKEN,
        "TWCManager holds a refresh token, too; once it uses that, TeslaMate's tokens are no longer valid",
        CLEAR_REFRESH_TOKEN,
    )


def refuse_if_it_syncs_itself(where: str, syncs: bool | None) -> None:
    """Raises: DeliveryError (sync-enabled-in-twcmanager)."""
    if syncs:
        raise DeliveryError(
            Cause.SYNC_ENABLED_IN_TWCMANAGER,
            f"TWCManager's own syncTokens is on ({where}, vehicle.TeslaMate); it refuses other tokens",
            "Set syncTokens to false there and restart TWCManager.",
        )


class Courier:
    """Carries one order out."""

    def __init__(self, twc: TwcSettings, order: Order, clock: Clock, environ: Mapping[str, str]) -> None:
        self.twc = twc
        self.order = order
        self.clock = clock
        self.environ = environ
        self.file = SettingsFile(twc.settings_file)
        self.far = twc.url_given and not twc.settings_given and not is_here(twc.url)
        """TWCManager is on another host, and no file here is its own."""

    def run(self) -> None:
        """Deliver.

        Raises: Overtaken, DeliveryError (settings-unreadable, settings-unwritable, locked, twcmanager-running,
        twcmanager-refused, twcmanager-unreachable, sync-enabled-in-twcmanager).
        """
        if self.order.via is Via.HTTP or (self.far and self.order.via is Via.AUTO):
            self._by_web(self._reachable())
        else:
            self._by_file_or_web()

    # -- by file, or by whatever suits

    def _by_file_or_web(self) -> None:
        order = self.order
        try:
            snapshot = self.file.read(self.clock)
        except DeliveryError as error:
            # TWCManager may run where its files are not to be seen: then its address is enough.
            sighting = self._look() if order.via is Via.AUTO else None
            if sighting is None or sighting.url is None:
                raise
            log.info(str(error))
            self._by_web(sighting)
            return
        self._note_held(snapshot)
        delivery = order.delivery = Delivery(Via.FILE, str(self.file.path))
        if snapshot.holds(order.fields):
            self._already_there(snapshot, delivery)
            return
        sighting = self._look()
        delivery.twcmanager = sighting.presence
        if sighting.url is not None and order.via is Via.AUTO:
            self._by_web(sighting)
        elif not self._only_asked():
            self._write(sighting, delivery)

    def _already_there(self, snapshot: Snapshot, delivery: Delivery) -> None:
        """Nothing to do, unless a TWCManager that was running when we wrote the file has not taken it up yet."""
        order = self.order
        if order.only is None:
            # A killed run may have left something to finish.
            self.file.write(order.fields, self.clock)
        delivery.verified = True
        order.result = Result.UNCHANGED
        if order.via is not Via.AUTO or not snapshot.ours:
            return
        sighting = self._look()
        delivery.twcmanager = sighting.presence
        if sighting.presence is not Presence.RUNNING or _has_read(sighting, snapshot, self.clock.now()):
            return
        if sighting.url is not None:
            self._by_web(sighting, anew=True)
        elif not self._only_asked():
            self._make_it_last(sighting, delivery)

    def _look(self) -> Sighting:
        config_file = self.twc.config.path if self.twc.config else None
        sighting = look(self.file.real, config_file, self.twc.urls, STATUS_TIMEOUT_S)
        log.info(f"TWCManager is {sighting.presence}: {sighting.reason}")
        return sighting

    def _write(self, sighting: Sighting, delivery: Delivery) -> None:
        order = self.order
        written = self.file.write(order.fields, self.clock, self._refuse_older)
        order.warnings += written.warnings
        order.result = Result.WRITTEN if written.changed else Result.UNCHANGED
        delivery.backup = str(written.backup) if written.backup else None
        if sighting.presence is Presence.RUNNING:
            self._make_it_last(sighting, delivery)
        delivery.verified = self.file.read(self.clock).holds(order.fields)
        if not delivery.verified:
            raise DeliveryError(
                Cause.TWCMANAGER_RUNNING,
                f"{self.file.path} was written, and another program put another token there at once",
                "That is a running TWCManager: deliver with --via http.",
            )

    def _make_it_last(self, sighting: Sighting, delivery: Delivery) -> None:
        """A running TWCManager reads the file at its start only, and writes its own token over it at its next save."""
        command = self.twc.restart_command
        if command:
            self._restart(command)
            if not self.file.read(self.clock).holds(self.order.fields):
                log.info("TWCManager saved its old token when it was stopped; once more")
                self.file.write(self.order.fields, self.clock)
                self._restart(command)
            delivery.twcmanager = Presence.RUNNING
            return
        self.order.lasting = False
        self.order.warnings.append(
            Problem(
                Cause.TWCMANAGER_RUNNING,
                f"TWCManager is running ({sighting.reason}): it does not read the file before its next start, and its"
                " next save writes its old token over it",
                "Restart TWCManager now (sudo systemctl restart twcmanager), set twcmanager.restart_command, or deliver"
                " with --via http.",
            )
        )

    def _restart(self, command: tuple[str, ...]) -> None:
        from tmsync.core.twcmanager.restart import restart

        restart(command, self.environ, (self.order.fields.bearer, self.order.fields.refresh))

    # -- by its web control

    def _reachable(self) -> Sighting:
        from tmsync.core.twcmanager.http import first_answering, why_not

        url = first_answering(self.twc.urls, STATUS_TIMEOUT_S)
        if url is None:
            self.order.delivery = Delivery(Via.HTTP, self.twc.url)
            raise why_not(self.twc.url, STATUS_TIMEOUT_S)
        return Sighting(Presence.RUNNING, f"its web control answers at {url}", url)

    def _by_web(self, sighting: Sighting, *, anew: bool = False) -> None:
        """anew: the file holds the token already, but the running TWCManager does not."""
        from tmsync.core.twcmanager.http import reveal

        order, url = self.order, sighting.url or self.twc.url
        delivery = order.delivery = Delivery(Via.HTTP, url, twcmanager=sighting.presence)
        revealed = reveal(url, STATUS_TIMEOUT_S)
        refuse_if_it_syncs_itself(url, revealed.syncs_itself)
        self._use_its_own_file(url, revealed.settings_file)
        snapshot = self._seen()
        if snapshot is not None:
            self._note_held(snapshot)
            self._warn_of_refresh_token(snapshot)
        if snapshot is not None and self._is_held(snapshot) and not anew:
            delivery.verified = True
            order.result = Result.UNCHANGED
            return
        if order.only is Result.OUT_OF_SYNC and snapshot is None:
            raise DeliveryError(
                Cause.SETTINGS_UNREADABLE,
                f"{self.file.path} cannot be read here, so nothing tells which token TWCManager holds",
                "Run --check where TWCManager's settings.json can be read.",
            )
        if self._only_asked():
            return
        with self._alone(snapshot):
            delivery.verified = self._push(url)
        if delivery.verified is False:
            raise DeliveryError(
                Cause.TWCMANAGER_REFUSED,
                f"TWCManager at {url} answered, but {self.file.path} does not hold the new token",
                "Check that this is its settings.json, that TWCManager may write it, and that its own syncTokens is"
                " off.",
            )
        order.result = Result.PUSHED

    def _push(self, url: str) -> bool | None:
        """Push, and look for the proof; None where there is none to be had."""
        from tmsync.core.twcmanager.http import push

        form = {BEARER: self.order.fields.bearer}
        if self.order.shared:
            form[REFRESH] = self.order.fields.refresh
        before = self._seen()
        if before is not None:
            self._refuse_older(before)
        push(url, form, HTTP_TIMEOUT_S)
        if before is None:
            return None
        proven = self._proof(before)
        if not proven and self._has_saved_since(before):
            # Its web control answers before its settings are loaded, and loading them undoes what was pushed.
            log.info("TWCManager saved another token, as it does when it is just starting; once more")
            push(url, form, HTTP_TIMEOUT_S)
            proven = self._proof(before)
        return proven

    @contextmanager
    def _alone(self, snapshot: Snapshot | None) -> Iterator[None]:
        """Where a settings file is to be seen, no other run pushes or writes at the same time.

        Raises: DeliveryError (locked).
        """
        with ExitStack() as stack:
            if snapshot is not None:
                try:
                    stack.enter_context(exclusive(self.file.real, self.clock))
                except OSError as error:
                    log.info(f"no lock beside {self.file.real}: {error.strerror}")
            yield

    def _refuse_older(self, snapshot: Snapshot) -> None:
        """Raises: Overtaken."""
        ours = self.order.expires_at
        claims = read_claims(snapshot.held(BEARER)) if ours is not None else None
        if ours is not None and claims is not None and claims.expires_at is not None and claims.expires_at > ours:
            raise Overtaken

    def _use_its_own_file(self, url: str, told: Path | None) -> None:
        """Where nobody named a settings file and none is found: the one TWCManager on this host says it uses."""
        known = self.twc.settings_given or self.twc.config is not None or is_there(self.file.real)
        if told is not None and not known and not self.far and is_here(url) and is_file(told):
            log.info(f"TWCManager says that its settings are in {told}")
            self.file = SettingsFile(told)

    def _seen(self) -> Snapshot | None:
        if self.far:
            log.info("no proof by file: TWCManager is on another host")
            return None
        try:
            snapshot = self.file.read(self.clock)
        except DeliveryError as error:
            log.info(f"no proof by file: {error}")
            return None
        return snapshot if snapshot.stat is not None else None

    def _is_held(self, snapshot: Snapshot) -> bool:
        """What counts in a running TWCManager; the expiry it works out by itself."""
        fields = self.order.fields
        refresh = not self.order.shared or snapshot.held(REFRESH) == fields.refresh
        return snapshot.held(BEARER) == fields.bearer and refresh

    def _warn_of_refresh_token(self, snapshot: Snapshot) -> None:
        if not self.order.shared and snapshot.held(REFRESH):
            self.order.warnings.append(holds_refresh_token())

    def _proof(self, before: Snapshot) -> bool:
        """Whether TWCManager has saved since, and what it saved holds the token."""
        deadline = self.clock.monotonic() + PROOF_S
        pause = 0.01
        while True:
            snapshot = self._seen()
            if snapshot is not None and self._is_held(snapshot) and snapshot.moment != before.moment:
                return True
            if self.clock.monotonic() >= deadline:
                return False
            self.clock.sleep(pause)
            pause = min(2 * pause, 0.2)

    def _has_saved_since(self, before: Snapshot) -> bool:
        now = self._seen()
        return now is not None and now.moment != before.moment

    # -- shared

    def _only_asked(self) -> bool:
        """For --check and --dry-run: set the result and say that nothing is to be done."""
        if self.order.only is not None:
            self.order.result = self.order.only
        return self.order.only is not None

    def _note_held(self, snapshot: Snapshot) -> None:
        held = snapshot.held(BEARER)
        self.order.held = fingerprint(held) if held else ""


def _has_read(sighting: Sighting, snapshot: Snapshot, now: datetime) -> bool:
    """Whether TWCManager was started after the file was put into place."""
    begun = started_at(sighting.process, now) if sighting.process is not None else None
    return begun is not None and snapshot.stat is not None and begun.timestamp() > snapshot.stat.st_ctime
