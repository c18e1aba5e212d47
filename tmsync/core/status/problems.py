"""What of the findings is a problem, how bad, and what to do about it. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tmsync.core.errors import Cause, Problem
from tmsync.core.status.report import Finding, Severity, Status
from tmsync.core.telemetry.fleet import VehicleView
from tmsync.core.telemetry.health import Verdict
from tmsync.core.twcmanager.deliver import holds_refresh_token
from tmsync.core.words import in_words

RENAME_HINT: Final = (
    "TWCManager matches vehicles by display name: give each its own in the Tesla app, and restart TWCManager."
)
UNHEALTHY_HINT: Final = "See what keeps TeslaMate from Tesla's API: docker compose logs --tail 50 teslamate"
STALE_HINT: Final = (
    "See whether TeslaMate runs and reaches the broker: docker compose ps; docker compose logs --tail 50 teslamate"
)


def findings(status: Status) -> Iterator[Finding]:
    """Every problem, in the order of the link: database, tokens, TWCManager, broker, vehicles."""
    yield from _database(status)
    yield from _twcmanager(status)
    for problem in (status.broker.problem, status.broker.nobody):
        if problem is not None:
            yield _critical(problem)
    yield from _vehicles(status)
    yield from _names(status)
    yield from _unpublished(status)


def _critical(problem: Problem) -> Finding:
    return Finding(Severity.CRITICAL, problem)


def _warning(cause: Cause, message: str, hint: str = "") -> Finding:
    return Finding(Severity.WARNING, Problem(cause, message, hint))


def _database(status: Status) -> Iterator[Finding]:
    database = status.database
    if database.problem is not None:
        yield _critical(database.problem)
    for warning in database.tokens.warnings(status.at) if database.tokens else ():
        severity = Severity.CRITICAL if warning.cause is Cause.EXPIRED else Severity.WARNING
        yield Finding(severity, warning)


def _twcmanager(status: Status) -> Iterator[Finding]:
    twc, tokens = status.twcmanager, status.database.tokens
    if status.database.ok is None:
        # Telemetry alone: TWCManager's tokens are none of our business.
        return
    if twc.sync_enabled:
        yield _critical(
            Problem(
                Cause.SYNC_ENABLED_IN_TWCMANAGER,
                "TWCManager's own syncTokens is on; it refuses other tokens",
                "Set vehicle.TeslaMate.syncTokens to false in its config.json and restart TWCManager.",
            )
        )
    if twc.problem is not None:
        yield _warning(twc.problem.cause, twc.problem.message, twc.problem.hint)
    if twc.holds_refresh_token:
        yield Finding(Severity.WARNING, holds_refresh_token())
    if tokens is None or status.in_sync is not False:
        return
    held = f"TWCManager holds {twc.fingerprint}" if twc.fingerprint else "TWCManager holds no token"
    expired = twc.fingerprint is None or (twc.expires_at is not None and twc.expires_at <= status.at)
    more = " (expired)" if twc.fingerprint and expired else ""
    message = f"{held}{more}, TeslaMate's is {tokens.fingerprint}"
    problem = Problem(Cause.OUT_OF_SYNC, message, "Run tmsync sync-tokens, or see why its timer does not.")
    yield Finding(Severity.CRITICAL if expired else Severity.WARNING, problem)


def _vehicles(status: Status) -> Iterator[Finding]:
    for view in status.broker.vehicles:
        record = status.database.cars.get(view.car_id)
        if record is not None and record.enabled is False:
            message = f"{view.name}: TeslaMate does not log this car (its logging is switched off)"
            yield _warning(Cause.LOGGING_DISABLED, message, "Switch it on in TeslaMate's settings, then restart it.")
        elif view.judgement.verdict is Verdict.STALE:
            yield _critical(Problem(Cause.STALE, _told(view, status), STALE_HINT))
        elif view.judgement.verdict is Verdict.UNHEALTHY:
            yield _warning(Cause.UNHEALTHY, _told(view, status), UNHEALTHY_HINT)


def _told(view: VehicleView, status: Status) -> str:
    record = status.database.cars.get(view.car_id)
    words = f"{view.name}: {view.judgement.reason}"
    if record is not None and record.last_record_at is not None:
        words += f"; its newest record in the database is {in_words(status.at - record.last_record_at)} old"
    return words


def _names(status: Status) -> Iterator[Finding]:
    by_name: dict[str, list[int]] = defaultdict(list)
    for view in status.broker.vehicles:
        by_name[view.name].append(view.car_id)
    for name, ids in by_name.items():
        if len(ids) > 1:
            cars = ", ".join(map(str, ids))
            yield _warning(Cause.DUPLICATE_NAME, f"cars {cars} are all called {name}", RENAME_HINT)
    for view in status.broker.vehicles:
        record = status.database.cars.get(view.car_id)
        before = [name for name in view.names[:-1] if name != view.name]
        if record is not None and record.name and record.name != view.name and not view.name_is_made_up:
            before.append(record.name)
        if before:
            message = f"car {view.car_id} is called {view.name}, and was called {before[-1]}"
            yield _warning(Cause.RENAMED, message, RENAME_HINT)


def _unpublished(status: Status) -> Iterator[Finding]:
    if not status.broker.ok or not status.broker.vehicles:
        return
    seen = {view.car_id for view in status.broker.vehicles}
    for record in status.database.cars.values():
        if record.car_id not in seen and record.enabled is not False:
            message = f"{record.name or f'car {record.car_id}'} is known to TeslaMate, but nothing of it is published"
            hint = "TeslaMate publishes a car that was added or enabled after its start only when it starts again:"
            yield _warning(Cause.NOT_PUBLISHED, message, f"{hint} docker compose restart teslamate")
