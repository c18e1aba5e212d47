"""What is wrong with each part of the link, and how bad it is. Pure."""

from collections.abc import Iterable, Iterator

from tmsync.core.errors import Cause, Problem
from tmsync.core.fixes import problem
from tmsync.core.status.report import Part, RatedProblem, Severity, Status
from tmsync.core.status.vehicles import all_unpublished, assess, logged
from tmsync.core.twcmanager.deliver import holds_refresh_token, syncs_itself
from tmsync.core.words import in_words


def problems(status: Status, warnings: Iterable[Problem] = ()) -> tuple[RatedProblem, ...]:
    """Every problem, worst first; within a severity in the order of the link.

    warnings: what the configuration itself has against it.
    """
    broker = status.broker
    found = [
        *(_warning(Part.CONFIGURATION, warning) for warning in warnings),
        *_token(status),
        *_twcmanager(status),
        *_broker(status),
        *assess(broker.vehicles, status.database.cars, status.at),
    ]
    return tuple(sorted(found, key=lambda rated: list(Severity).index(rated.severity)))


def _critical(part: Part, problem: Problem) -> RatedProblem:
    return RatedProblem(Severity.CRITICAL, part, problem)


def _warning(part: Part, problem: Problem) -> RatedProblem:
    return RatedProblem(Severity.WARNING, part, problem)


def _token(status: Status) -> Iterator[RatedProblem]:
    database = status.database
    if database.problem is not None:
        yield _critical(Part.DATABASE, database.problem)
    for warning in database.tokens.problems(status.at) if database.tokens else ():
        yield (_critical if warning.cause is Cause.EXPIRED else _warning)(Part.TOKEN, warning)


def _twcmanager(status: Status) -> Iterator[RatedProblem]:
    twc = status.twcmanager
    if status.database.ok is None:
        # Telemetry alone: TWCManager's tokens are none of our business.
        return
    if twc.sync_enabled:
        yield _critical(Part.TWCMANAGER, syncs_itself("its configuration"))
    if twc.problem is not None:
        yield _warning(Part.TWCMANAGER, twc.problem)
    if twc.holds_refresh_token:
        yield _warning(Part.TWCMANAGER, holds_refresh_token())
    if twc.readable and status.in_sync is not True:
        yield from _held(status)


def _held(status: Status) -> Iterator[RatedProblem]:
    """TWCManager's own token, where it is not known to be TeslaMate's current one."""
    twc, tokens = status.twcmanager, status.database.tokens
    useless = twc.fingerprint is None or (twc.expires_at is not None and twc.expires_at <= status.at)
    held = f"TWCManager holds {twc.fingerprint}" if twc.fingerprint else "TWCManager holds no token"
    if useless and twc.expires_at is not None:
        held += f", which expired {in_words(status.at - twc.expires_at)} ago"
    if tokens is not None:
        message = f"{held}; TeslaMate's is {tokens.fingerprint}"
        found = problem(Cause.OUT_OF_SYNC, message)
        yield (_critical if useless else _warning)(Part.TWCMANAGER, found)
    elif useless:
        message = f"{held}, and TeslaMate's cannot be read"
        found = problem(Cause.OUT_OF_SYNC, message, variant="no-database")
        yield _critical(Part.TWCMANAGER, found)


def _broker(status: Status) -> Iterator[RatedProblem]:
    broker, database = status.broker, status.database
    if broker.problem is not None:
        yield _critical(Part.BROKER, broker.problem)
    if broker.nobody is None:
        return
    holds_nothing = broker.nobody.cause is Cause.NO_VEHICLES and not broker.elsewhere
    if holds_nothing and database.sessions and logged(database.cars):
        yield all_unpublished(database.cars, broker.where or "")
    else:
        yield _critical(Part.VEHICLES, broker.nobody)
