"""What is wrong with each part of the link, and how bad it is. Pure."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from tmsync.core.causes import Cause
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.postgres.session import sql_names
from tmsync.core.status.report import Part, RatedProblem, Severity, Status
from tmsync.core.status.vehicles import all_unpublished, assess, logged
from tmsync.core.telemetry.health import Source
from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.vehicle import NO_DATA
from tmsync.core.teslamate.assessment import overdue, owner_api
from tmsync.core.twcmanager.delivery import holds_refresh_token, syncs_itself
from tmsync.core.twcmanager.facade import not_sent_here, own_telemetry, powerwall
from tmsync.core.words import in_words, life, listed


def problems(status: Status, warnings: Iterable[Problem] = ()) -> tuple[RatedProblem, ...]:
    """Every problem, worst first; within a severity in the order of the link.

    warnings: what the configuration itself has against it.
    """
    broker = status.broker
    found = [
        *(_warning(Part.CONFIGURATION, warning) for warning in warnings),
        *_token(status),
        *_twcmanager(status),
        *_facade(status),
        *_broker(status),
        *assess(broker.vehicles, status.database.cars, status.at),
        *_without_data(status),
    ]
    return tuple(sorted(found, key=lambda rated: list(Severity).index(rated.severity)))


def merged(*lists: tuple[RatedProblem, ...]) -> tuple[RatedProblem, ...]:
    """All of them, worst first; of those with one cause about the same cars, or the same server, the first."""
    found: dict[object, RatedProblem] = {}
    for one in (one for some in lists for one in some):
        server = one.part if one.part in (Part.DATABASE, Part.BROKER) else None
        found.setdefault((one.problem.cause, one.car_ids, server), one)
    return tuple(sorted(found.values(), key=lambda one: list(Severity).index(one.severity)))


def _critical(part: Part, problem: Problem) -> RatedProblem:
    return RatedProblem(Severity.CRITICAL, part, problem)


def _warning(part: Part, problem: Problem) -> RatedProblem:
    return RatedProblem(Severity.WARNING, part, problem)


def _token(status: Status) -> Iterator[RatedProblem]:
    database, tokens = status.database, status.database.tokens
    if database.problem is not None:
        yield _critical(Part.DATABASE, database.problem)
    if tokens is None:
        return
    found = tokens.problems(status.at)
    late = overdue(tokens.claims, tokens.stored_at, status.at)
    if late is not None and Cause.EXPIRES_SOON not in {one.cause for one in found}:
        found.append(late)
    if status.twcmanager.needs_fleet_token and (unusable := owner_api(tokens.claims)) is not None:
        found.append(unusable)
    for one in found:
        yield (_critical if one.cause is Cause.EXPIRED else _warning)(Part.TOKEN, one)


def _twcmanager(status: Status) -> Iterator[RatedProblem]:
    twc = status.twcmanager
    if status.database.ok is None and not status.local_token:
        # Without a database tmsync delivers no tokens.
        return
    if twc.sync_enabled:
        yield _critical(Part.TWCMANAGER, syncs_itself("its configuration"))
    if twc.problem is not None:
        yield _warning(Part.TWCMANAGER, twc.problem)
    # A local token commands the car for ever, and by way of tmsync serve with TeslaMate's own.
    bad = _critical if status.local_token else _warning
    if twc.holds_refresh_token:
        yield bad(Part.TWCMANAGER, holds_refresh_token(local=status.local_token))
    if twc.exposed is not None:
        yield bad(Part.TWCMANAGER, twc.exposed)
    if twc.readable and status.in_sync is not True:
        yield from _held(status)


def _facade(status: Status) -> Iterator[RatedProblem]:
    """What keeps TWCManager from being answered by tmsync serve."""
    serve, facts = status.serve, status.twcmanager.facts
    if serve is None:
        return
    if facts.proxy is not None and (elsewhere := not_sent_here(facts, serve)) is not None:
        yield (_critical if status.local_token else _warning)(Part.FACADE, elsewhere)
    if status.database.unread is not None:
        yield _warning(Part.FACADE, status.database.unread)
    if (by_itself := own_telemetry(facts)) is not None:
        yield _warning(Part.FACADE, by_itself)
    asks_tesla = powerwall(facts, Path(status.twcmanager.settings_file)) if status.local_token else None
    if asks_tesla is not None:
        yield _critical(Part.FACADE, asks_tesla)


def unreadable(report: LivenessReport, database: DatabaseSettings) -> Problem | None:
    """Which of TeslaMate's records its role may not read, of those without which every request goes to Tesla."""
    if report.database_at is None or any(car.position_at is not None for car in report.cars.values()):
        return None
    table, request = ("positions", "vehicle_data") if report.cars else ("cars", "request")
    message = f"the role {database.user} sees none of TeslaMate's {table}, so every {request} goes to Tesla"
    return problem(Cause.NO_PRIVILEGE, message, variant="records", **sql_names(database.user, database.name))


def _held(status: Status) -> Iterator[RatedProblem]:
    """TWCManager's own token, where it is not known to be TeslaMate's current one."""
    twc, tokens = status.twcmanager, status.database.tokens
    by = "serve" if status.delivers else ""
    if status.local_token:
        if status.in_sync is False:
            what = f"TWCManager holds {twc.fingerprint or 'no token'}, and tmsync serve accepts none but its own"
            yield _critical(Part.TWCMANAGER, problem(Cause.OUT_OF_SYNC, what, variant=by))
        return
    useless = twc.fingerprint is None or (twc.expires_at is not None and twc.expires_at <= status.at)
    held = f"TWCManager holds {twc.fingerprint}" if twc.fingerprint else "TWCManager holds no token"
    if useless and twc.expires_at is not None:
        held += f", which expired {in_words(status.at - twc.expires_at)} ago"
    if tokens is not None:
        message = f"{held}; TeslaMate's is {tokens.fingerprint}"
        found = problem(Cause.OUT_OF_SYNC, message, variant=by)
        yield (_critical if useless else _warning)(Part.TWCMANAGER, found)
    elif useless:
        message = f"{held}, and TeslaMate's cannot be read"
        found = problem(Cause.OUT_OF_SYNC, message, variant="serve-no-database" if by else "no-database")
        yield _critical(Part.TWCMANAGER, found)


def _broker(status: Status) -> Iterator[RatedProblem]:
    broker, database = status.broker, status.database
    if broker.problem is not None:
        yield _critical(Part.BROKER, broker.problem)
    if broker.no_vehicles is None:
        return
    holds_nothing = broker.no_vehicles.cause is Cause.NO_VEHICLES and not broker.elsewhere
    if holds_nothing and database.sessions and logged(database.cars):
        yield all_unpublished(database.cars, broker.where or "")
    else:
        yield _critical(Part.VEHICLES, broker.no_vehicles)


def _without_data(status: Status) -> Iterator[RatedProblem]:
    """TeslaMate has no data of any car: it is signed out, or Tesla refuses its tokens; or it was started just now."""
    views = [view for view in status.broker.vehicles if view.judgement.cause is not Cause.LEFT_OVER]
    undecided = [view for view in views if view.judgement.source is not Source.TESLA_API]
    if not undecided or not all(view.state in NO_DATA for view in views):
        return
    tokens, at = status.database.tokens, status.at
    states = " and ".join(sorted({view.state or "" for view in views}))
    message = f"{listed([view.name for view in views])}: TeslaMate says {states}, so it has no data from Tesla"
    details: tuple[str, ...] = ()
    refused = False
    if tokens is not None:
        left = tokens.expires_at - at
        details = (f"Its token was stored {in_words(at - tokens.stored_at)} ago and {life(left)}.",)
        refused = left <= timedelta(0) or overdue(tokens.claims, tokens.stored_at, at) is not None
    found = problem(Cause.BLIND, message, details=details)
    severity = Severity.CRITICAL if refused else Severity.WARNING
    yield RatedProblem(severity, Part.VEHICLES, found, tuple(view.car_id for view in views))
