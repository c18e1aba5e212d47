"""Carries out what is planned for a token: by file, by TWCManager's web control, with a restart; and proves it.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (it refreshes by itself only while it holds a refresh token, and a
refresh rotates the token behind TeslaMate's back), lib/TWCManager/Control/HTTPControl.py.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import TwcSettings
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.files.lock import exclusive
from tmsync.core.files.paths import is_file, is_there
from tmsync.core.fixes import problem
from tmsync.core.teslamate.assessment import fingerprint
from tmsync.core.teslamate.claims import read_claims
from tmsync.core.twcmanager.plan import Action, Plan, Situation, SyncOptions, Via, decide
from tmsync.core.twcmanager.presence import (
    ANYBODY,
    Presence,
    Sighting,
    asks_fleet_api,
    is_far,
    is_here,
    look,
    started_at,
    trusted_users,
)
from tmsync.core.twcmanager.restart import Restart
from tmsync.core.twcmanager.settings_content import BEARER, REFRESH, Snapshot, TokenFields, exposed
from tmsync.core.twcmanager.settings_file import SettingsFile

log = logging.getLogger(__name__)

HTTP_TIMEOUT_S: Final = 5.0
STATUS_TIMEOUT_S: Final = 2.0
PROOF_S: Final = 3.0
"""How long TWCManager may take to save what was pushed."""


class Result(StrEnum):
    """What a run came to."""

    WRITTEN = "written"
    PUSHED = "pushed"
    UNCHANGED = "unchanged"
    DRY_RUN = "dry-run"
    OUT_OF_SYNC = "out-of-sync"
    FAILED = "failed"


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


@dataclass(frozen=True, slots=True)
class WantedToken:
    """What is to be delivered. replaces_until: a token that expires later is not replaced; None: any token is."""

    fields: TokenFields
    shared: bool
    replaces_until: datetime | None


class NewerTokenHeld(Exception):
    """TWCManager holds a token that expires later than ours: another run may have brought a newer one meanwhile."""


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


def deliver(twc: TwcSettings, wanted: WantedToken, options: SyncOptions, clock: Clock, restart: Restart) -> Delivery:
    """Make TWCManager use the token. An error is in the delivery, with all that came before it.

    Raises: NewerTokenHeld.
    """
    return _Delivering(twc, wanted, options, clock, restart).run()


class _Delivering:
    """One delivery. `file` is TWCManager's settings.json, as far as is known."""

    def __init__(
        self, twc: TwcSettings, wanted: WantedToken, options: SyncOptions, clock: Clock, restart: Restart
    ) -> None:
        self.twc = twc
        self.wanted = wanted
        self.options = options
        self.clock = clock
        self.restart = restart
        self.file = SettingsFile(twc.settings_file)
        self.users = ANYBODY if twc.url_given else trusted_users(self.file.real)
        self.far = is_far(twc)

    def run(self) -> Delivery:
        """Look, decide, carry out."""
        held, unreadable = None, None
        if self.options.via is not Via.HTTP and not (self.far and self.options.via is Via.AUTO):
            try:
                held = self.file.read(self.clock)
            except DeliveryError as error:
                log.info("%s", error)
                unreadable = error
        ours = held is not None and held.holds(self.wanted.fields) and self.file.is_ours(held)
        situation = Situation(held, ours, far=self.far)
        plan = decide(situation, self.wanted.fields, self.options)
        if plan.action is Action.LOOK:
            seen = self._look()
            situation = replace(situation, seen=seen, has_read=_has_read(seen, held, self.clock.now()))
            plan = decide(situation, self.wanted.fields, self.options)
        delivery = self._carry_out(plan, situation, unreadable)
        loose = None if self.far else exposed(self.file.real)
        return delivery if loose is None else replace(delivery, warnings=(*delivery.warnings, loose))

    def _carry_out(self, plan: Plan, situation: Situation, unreadable: DeliveryError | None) -> Delivery:
        seen, held = situation.seen, situation.held
        target = str(self.file.path) if plan.via is Via.FILE else (seen and seen.url) or self.twc.url
        begun = Delivery(
            plan.via,
            target,
            twcmanager=seen.presence if seen else Presence.UNKNOWN,
            held=_fingerprint_of(held),
            fleet_only=seen is not None and asks_fleet_api(seen, self.twc.config),
        )
        steps: Mapping[Action, Callable[[Delivery, Situation], Delivery]] = {
            Action.KEEP: self._keep,
            Action.WRITE: self._write,
            Action.TAKE_UP: self._take_up,
            Action.PUSH: self._push,
            Action.PUSH_AGAIN: self._push,
        }
        try:
            if plan.action is Action.GIVE_UP:
                raise unreadable if unreadable is not None and not self.twc.only_url_is_named else self._unreachable()
            return steps[plan.action](begun, situation)
        except _Failed as failed:
            return replace(failed.delivery, result=Result.FAILED, error=failed.error)
        except DeliveryError as error:
            return replace(begun, error=error)

    # -- by file

    def _keep(self, begun: Delivery, _situation: Situation) -> Delivery:
        if not self._only_asked:  # A killed run may have left something to finish.
            self.file.write(self.wanted.fields, self.clock)
        return replace(begun, result=Result.UNCHANGED, verified=True)

    def _write(self, begun: Delivery, situation: Situation) -> Delivery:
        if self.options.dry_run:
            self.file.rehearse(self.wanted.fields, self.clock, self._refuse_older)
        if self._only_asked:
            return self._restarted(self._answered(begun), situation.seen, Action.WRITE)
        written = self.file.write(self.wanted.fields, self.clock, self._refuse_older)
        done = replace(
            begun,
            result=Result.WRITTEN if written.changed else Result.UNCHANGED,
            warnings=written.warnings,
            backup=str(written.backup) if written.backup else None,
        )
        done = self._restarted(done, situation.seen, Action.WRITE)
        if not self.file.read(self.clock).holds(self.wanted.fields):
            told = problem(
                Cause.TWCMANAGER_RUNNING,
                f"{self.file.path} was written, and another program put another token there at once",
                variant="overwrites",
            )
            raise _Failed(replace(done, verified=False), DeliveryError(told))
        return replace(done, verified=True)

    def _take_up(self, begun: Delivery, situation: Situation) -> Delivery:
        begun = self._answered(begun) if self._only_asked else self._keep(begun, situation)
        return self._restarted(begun, situation.seen, Action.TAKE_UP)

    def _restarted(self, done: Delivery, seen: Sighting | None, action: Action) -> Delivery:
        """A running TWCManager reads the file at its start only, and writes its own token over it at its next save."""
        if self.options.check or seen is None or seen.presence is not Presence.RUNNING:
            return done
        obstacle = self.restart.obstacle(seen, self.users, action)
        if obstacle is not None:
            return replace(done, lasting=False, warnings=(*done.warnings, obstacle))
        secrets = self.wanted.fields.bearer, self.wanted.fields.refresh
        try:
            if self.options.dry_run:
                self.restart.check()
                return done
            self.restart.run(secrets)
            if not self.file.read(self.clock).holds(self.wanted.fields):
                log.info("TWCManager saved its old token when it was stopped; once more")
                self.file.write(self.wanted.fields, self.clock)
                self.restart.run(secrets)
        except DeliveryError as error:
            raise _Failed(done, error) from None
        return replace(done, twcmanager=Presence.RUNNING)

    # -- by its web control

    def _push(self, begun: Delivery, situation: Situation) -> Delivery:
        from tmsync.core.twcmanager.http import reveal

        url = begun.target
        revealed = reveal(url, STATUS_TIMEOUT_S, self.users)
        if revealed.syncs_itself:
            raise DeliveryError(syncs_itself(url))
        self._use_its_own_file(url, revealed.settings_file)
        snapshot = self._seen()
        if snapshot is not None:
            warned = not self.wanted.shared and bool(snapshot.held(REFRESH))
            begun = replace(begun, held=_fingerprint_of(snapshot), warnings=(holds_refresh_token(),) if warned else ())
        again = situation.held is not None and situation.held.holds(self.wanted.fields)
        if snapshot is not None and self._is_held(snapshot) and not again:
            return replace(begun, result=Result.UNCHANGED, verified=True)
        if self.options.check and snapshot is None:
            told = problem(
                Cause.SETTINGS_UNREADABLE,
                f"{self.file.path} cannot be read here, so it is not known which token TWCManager holds",
                variant="for-check",
            )
            raise _Failed(begun, DeliveryError(told))
        if self.options.check:
            return self._answered(begun)
        with self._alone(snapshot):
            if self.options.dry_run:
                return self._answered(begun)
            verified = self._pushed(url)
        if verified is False:
            told = problem(
                Cause.TWCMANAGER_REFUSED,
                f"TWCManager at {url} answered, but {self.file.path} does not hold the new token",
                variant="not-taken",
            )
            raise _Failed(replace(begun, verified=False), DeliveryError(told))
        return replace(begun, result=Result.PUSHED, verified=verified)

    def _pushed(self, url: str) -> bool | None:
        """Push, and look for the proof; None where there is none to be had."""
        from tmsync.core.twcmanager.http import push

        form = {BEARER: self.wanted.fields.bearer}
        if self.wanted.shared:
            form[REFRESH] = self.wanted.fields.refresh
        before = self._seen()
        if before is not None:
            self._refuse_older(before)
        push(url, form, HTTP_TIMEOUT_S, self.users)
        if before is None:
            return None
        proven = self._proof(before)
        if proven is False and self._has_saved_since(before):
            # Its web control answers before its settings are loaded, and loading them undoes what was pushed.
            log.info("TWCManager saved another token, as it does when it is just starting; once more")
            push(url, form, HTTP_TIMEOUT_S, self.users)
            proven = self._proof(before)
        if proven:
            self.file.note_save_by_twcmanager()
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
                    log.info("no lock beside %s: %s", self.file.real, error.strerror)
            yield

    def _use_its_own_file(self, url: str, told: Path | None) -> None:
        """Where nobody named a settings file and none is found: the one TWCManager on this host says it uses."""
        known = self.twc.settings_given or self.twc.config is not None or is_there(self.file.real)
        if told is not None and not known and not self.far and is_here(url) and is_file(told):
            log.info("TWCManager says that its settings are in %s", told)
            self.file = SettingsFile(told)

    def _seen(self) -> Snapshot | None:
        if self.far:
            log.info("no proof by file: TWCManager is on another host")
            return None
        try:
            snapshot = self.file.read(self.clock)
        except DeliveryError as error:
            log.info("no proof by file: %s", error)
            return None
        return snapshot if snapshot.stat is not None else None

    def _is_held(self, snapshot: Snapshot) -> bool:
        """What counts in a running TWCManager; the expiry it works out by itself."""
        fields = self.wanted.fields
        refresh = not self.wanted.shared or snapshot.held(REFRESH) == fields.refresh
        return snapshot.held(BEARER) == fields.bearer and refresh

    def _proof(self, before: Snapshot) -> bool | None:
        """Whether TWCManager has saved since, and what it saved holds the token; None where that cannot be read."""
        deadline = self.clock.monotonic() + PROOF_S
        pause = 0.01
        while True:
            snapshot = self._seen()
            if snapshot is not None and self._is_held(snapshot) and snapshot.moment != before.moment:
                return True
            if self.clock.monotonic() >= deadline:
                return None if snapshot is None else False
            self.clock.sleep(pause)
            pause = min(2 * pause, 0.2)

    def _has_saved_since(self, before: Snapshot) -> bool:
        now = self._seen()
        return now is not None and now.moment != before.moment

    # -- shared

    def _look(self) -> Sighting:
        config_file = self.twc.config.path if self.twc.config else None
        seen = look(self.file.real, config_file, self.twc.urls, STATUS_TIMEOUT_S, given=self.twc.url_given)
        log.info("TWCManager is %s: %s", seen.presence, seen.reason)
        return seen

    def _unreachable(self) -> DeliveryError:
        from tmsync.core.twcmanager.http import why_not

        return why_not(self.twc.url, STATUS_TIMEOUT_S, self.users)

    def _refuse_older(self, snapshot: Snapshot) -> None:
        """Raises: NewerTokenHeld."""
        ours = self.wanted.replaces_until
        claims = read_claims(snapshot.held(BEARER)) if ours is not None else None
        if ours is not None and claims is not None and claims.expires_at is not None and claims.expires_at > ours:
            raise NewerTokenHeld

    @property
    def _only_asked(self) -> bool:
        return self.options.check or self.options.dry_run

    def _answered(self, begun: Delivery) -> Delivery:
        """For --check and --dry-run, where something would have to be done."""
        return replace(begun, result=Result.OUT_OF_SYNC if self.options.check else Result.DRY_RUN)


class _Failed(Exception):
    """An error after something was done already. delivery: what came before it."""

    def __init__(self, delivery: Delivery, error: DeliveryError) -> None:
        super().__init__(str(error))
        self.delivery = delivery
        self.error = error


def _fingerprint_of(snapshot: Snapshot | None) -> str:
    token = snapshot.held(BEARER) if snapshot is not None else ""
    return fingerprint(token) if token else ""


def _has_read(seen: Sighting, snapshot: Snapshot | None, now: datetime) -> bool:
    """Whether TWCManager was started after the file was put into place."""
    begun = started_at(seen.process, now) if seen.process is not None else None
    stat = snapshot.stat if snapshot is not None else None
    return begun is not None and stat is not None and begun.timestamp() > stat.st_ctime
