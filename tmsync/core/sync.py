"""Brings TeslaMate's token to TWCManager: one run of sync-tokens, start to end."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tmsync.core.causes import Cause
from tmsync.core.check_db.tokens import read_tokens
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings
from tmsync.core.errors import ConfigError, DeliveryError, ExitCode, Problem, TmsyncError
from tmsync.core.teslamate.assessment import Tokens, owner_api
from tmsync.core.teslamate.claims import NO_CLAIMS, read_claims
from tmsync.core.twcmanager.deliver import deliver
from tmsync.core.twcmanager.deliver_local import deliver_local
from tmsync.core.twcmanager.delivery import Delivery, NewerTokenHeld, Result, WantedToken, syncs_itself
from tmsync.core.twcmanager.local_token import FAR_AWAY, LocalBearers
from tmsync.core.twcmanager.plan import SyncOptions
from tmsync.core.twcmanager.restart import Restart
from tmsync.core.twcmanager.settings_content import TokenFields

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one run."""

    tokens: Tokens | None = None
    shared: bool = False
    local: bool = False
    """Whether the token is tmsync's own, for tmsync serve."""
    delivery: Delivery | None = None
    warnings: tuple[Problem, ...] = ()
    error: TmsyncError | None = None

    @property
    def result(self) -> Result:
        """What the run came to."""
        return Result.FAILED if self.error is not None or self.delivery is None else self.delivery.result

    @property
    def exit_code(self) -> ExitCode:
        """0 also for a dry run; 3 for out of sync."""
        if self.error is not None:
            return self.error.exit_code
        if self.result is Result.OUT_OF_SYNC:
            return ExitCode.OUT_OF_SYNC
        return ExitCode.GOOD if self.delivery is None or self.delivery.lasting else ExitCode.PROBLEM

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The document's fields, without command and version.

        Fields:
            ok (boolean): whether the exit code is 0
            result (SyncResult): what the run came to
            token (Token or null): TeslaMate's access token; null where it cannot be read
            refresh_token (text): `withheld` or `shared`, by `twcmanager.refresh_token`
            delivery (object or null): null before there is anything to deliver
            delivery.via (text): the way that was taken, `file` or `http`
            delivery.target (text): the settings file, or the address of the web control
            delivery.verified (boolean or null): whether TWCManager was seen to hold the token; null: nothing proves it
            delivery.twcmanager (Presence): whether TWCManager runs
            delivery.backup (text or null): the settings file as it was before
            warnings (list of Error): what did not keep the run from doing its work
            error (Error or null): what did
        """
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


def sync(
    settings: Settings, options: SyncOptions, *, clock: Clock, environ: Mapping[str, str], renew: bool = False
) -> Report:
    """One run, start to end. Never raises for what it is there to tell.

    renew: where TWCManager gets a token of tmsync's own, give it another one.
    """
    twc = settings.twcmanager()
    if twc.local_token:
        return _deliver_local(settings, options, clock, environ, renew=renew)
    report = Report(shared=twc.share_refresh_token, warnings=settings.warnings)
    if twc.config is not None and twc.config.sync_tokens:
        return replace(report, error=DeliveryError(syncs_itself(str(twc.config.path))))
    try:
        return _deliver(settings, options, report, clock, environ, replace_newer=False)
    except NewerTokenHeld:
        log.info("TWCManager holds a newer token than the one just read; reading TeslaMate's again")
        return _deliver(settings, options, report, clock, environ, replace_newer=True)


def _deliver_local(
    settings: Settings, options: SyncOptions, clock: Clock, environ: Mapping[str, str], *, renew: bool
) -> Report:
    twc, serve = settings.twcmanager(), settings.serve()
    report = Report(local=True, warnings=settings.warnings)
    if serve is None:
        # load_settings refuses twcmanager.token = "local" without serve.listen.
        return report
    bearers = LocalBearers(settings.state_dir)
    try:
        restart = _restart(settings, environ)
        delivery, bearer = deliver_local(twc, serve, bearers, options, clock=clock, restart=restart, renew=renew)
    except TmsyncError as error:
        return replace(report, error=error)
    tokens = None
    if bearer is not None:
        claims = read_claims(bearer.reveal()) or NO_CLAIMS
        far = datetime.fromtimestamp(FAR_AWAY, UTC)
        tokens = Tokens(bearer, None, claims, claims.expires_at or far, plain_text=False, stored_at=clock.now())
    warnings = (*report.warnings, *delivery.warnings)
    return replace(report, tokens=tokens, delivery=delivery, warnings=warnings, error=delivery.error)


def _deliver(
    settings: Settings,
    options: SyncOptions,
    report: Report,
    clock: Clock,
    environ: Mapping[str, str],
    *,
    replace_newer: bool,
) -> Report:
    try:
        tokens = read_tokens(settings, clock=clock, environ=environ, with_refresh=report.shared)
        report = replace(report, tokens=tokens)
        assessed = _assessed(tokens, clock.now(), force=options.force)
    except TmsyncError as error:
        return replace(report, error=error)
    until = None if replace_newer else tokens.claims.expires_at
    wanted = WantedToken(_fields(tokens, shared=report.shared), report.shared, until)
    delivery = deliver(settings.twcmanager(), wanted, options, clock, _restart(settings, environ))
    unusable = owner_api(tokens.claims) if delivery.fleet_only else None
    warnings = (*settings.warnings, *assessed, *([unusable] if unusable else []), *delivery.warnings)
    return replace(report, delivery=delivery, warnings=warnings, error=delivery.error)


def _restart(settings: Settings, environ: Mapping[str, str]) -> Restart:
    return Restart(settings.twcmanager().restart_command, lambda: _charging(settings), environ)


def _charging(settings: Settings) -> bool | None:
    """Whether a car charges by TeslaMate's records; None where they do not tell."""
    from tmsync.core.postgres.session import ConnectFailed, QueryFailed, connect
    from tmsync.core.teslamate.records import is_any_charging

    try:
        with connect(settings.database()) as session:
            return is_any_charging(session)
    except (ConfigError, ConnectFailed, QueryFailed):
        return None


def _assessed(tokens: Tokens, now: datetime, *, force: bool) -> list[Problem]:
    found = tokens.problems(now)
    for problem in found:
        if problem.cause is Cause.EXPIRED and not force:
            raise DeliveryError(problem)
    return found


def _fields(tokens: Tokens, *, shared: bool) -> TokenFields:
    refresh = tokens.refresh.reveal() if tokens.refresh else ""
    expiry = FAR_AWAY if shared else int(tokens.expires_at.timestamp())
    return TokenFields(tokens.access.reveal(), refresh, expiry)
