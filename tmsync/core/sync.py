"""Brings TeslaMate's token to TWCManager: one run of sync-tokens, start to end."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from tmsync.core.check_db.tokens import read_tokens
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import Cause, DeliveryError, ExitCode, Problem, TmsyncError
from tmsync.core.teslamate.assessment import Tokens
from tmsync.core.twcmanager.deliver import (
    Courier,
    Delivery,
    Order,
    Overtaken,
    Result,
    Via,
    refuse_if_it_syncs_itself,
)
from tmsync.core.twcmanager.settings_content import TokenFields

log = logging.getLogger(__name__)

FAR_AWAY: Final = 4_102_444_800
"""2100-01-01: an expiry that keeps TWCManager from refreshing a token whose refresh token is shared with it."""


@dataclass(slots=True)
class Report:
    """The outcome of one run."""

    result: Result = Result.FAILED
    tokens: Tokens | None = None
    shared: bool = False
    delivery: Delivery | None = None
    held: str = ""
    """Fingerprint of the token TWCManager held before, empty when it held none."""
    warnings: list[Problem] = field(default_factory=list)
    error: TmsyncError | None = None
    lasting: bool = True
    """False when a running TWCManager is about to write its old token over the new one."""

    @property
    def exit_code(self) -> ExitCode:
        """0 also for a dry run; 3 for out of sync."""
        if self.error is not None:
            return self.error.exit_code
        if self.result is Result.OUT_OF_SYNC:
            return ExitCode.OUT_OF_SYNC
        return ExitCode.GOOD if self.lasting else ExitCode.PROBLEM

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The document's fields, without command and version."""
        delivery = self.delivery
        return {
            "ok": self.exit_code is ExitCode.GOOD,
            "result": self.result.value,
            "token": self.tokens.as_json(now) if self.tokens else None,
            "refresh_token": "shared" if self.shared else "withheld",
            "delivery": None
            if delivery is None
            else {
                "via": delivery.via.value,
                "target": delivery.target,
                "verified": delivery.verified,
                "twcmanager": delivery.twcmanager.value,
                "backup": delivery.backup,
            },
            "warnings": [warning.as_json() for warning in self.warnings],
            "error": self.error.problem.as_json() if self.error else None,
        }


class Wish(NamedTuple):
    """How sync-tokens was asked to work."""

    via: Via
    dry_run: bool = False
    check: bool = False
    force: bool = False


def sync(settings: Settings, wish: Wish, *, clock: Clock, environ: Mapping[str, str]) -> Report:
    """One run, start to end. Never raises for what it is there to tell."""
    report = Report(warnings=list(settings.warnings))
    try:
        _run(settings, wish, report, clock, environ)
    except TmsyncError as error:
        report.result = Result.FAILED
        report.error = error
    return report


def _run(settings: Settings, wish: Wish, report: Report, clock: Clock, environ: Mapping[str, str]) -> None:
    twc = settings.twcmanager()
    report.shared = twc.share_refresh_token
    if twc.config is not None:
        refuse_if_it_syncs_itself(str(twc.config.path), twc.config.sync_tokens)
    try:
        _deliver(settings, wish, report, clock, environ, replace_newer=False)
    except Overtaken:
        log.info("TWCManager holds a newer token than the one just read; reading TeslaMate's again")
        _deliver(settings, wish, report, clock, environ, replace_newer=True)


def _deliver(
    settings: Settings, wish: Wish, report: Report, clock: Clock, environ: Mapping[str, str], *, replace_newer: bool
) -> None:
    tokens = report.tokens = read_tokens(settings, clock=clock, environ=environ, with_refresh=report.shared)
    judged = _judged(tokens, clock.now(), force=wish.force)
    order = Order(
        _fields(tokens, shared=report.shared),
        report.shared,
        wish.via,
        None if replace_newer else tokens.claims.expires_at,
        Result.OUT_OF_SYNC if wish.check else Result.DRY_RUN if wish.dry_run else None,
    )
    try:
        Courier(settings.twcmanager(), order, clock, environ).run()
    finally:
        report.result, report.delivery, report.held = order.result, order.delivery, order.held
        report.lasting = order.lasting
        report.warnings = [*settings.warnings, *judged, *order.warnings]


def _judged(tokens: Tokens, now: datetime, *, force: bool) -> list[Problem]:
    found = tokens.problems(now)
    for problem in found:
        if problem.cause is Cause.EXPIRED and not force:
            raise DeliveryError(problem)
    return found


def _fields(tokens: Tokens, *, shared: bool) -> TokenFields:
    refresh = tokens.refresh.reveal() if tokens.refresh else ""
    expiry = FAR_AWAY if shared else int(tokens.expires_at.timestamp())
    return TokenFields(tokens.access.reveal(), refresh, expiry)
