"""What is wrong with vehicles, and how bad it is: one problem for all that share it. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.fixes import problem
from tmsync.core.status.report import Part, RatedProblem, Severity
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.records import CarRecord
from tmsync.core.teslamate.topics import prefix
from tmsync.core.words import MOST_NAMED, in_words, listed

Cars = Mapping[int, CarRecord]

RATED: Final[Mapping[Cause, tuple[Severity, str]]] = {
    Cause.STALE: (Severity.CRITICAL, "TeslaMate's data is stale"),
    Cause.MQTT_LINK_LOST: (Severity.CRITICAL, "TeslaMate does not reach this broker"),
    Cause.BLIND: (Severity.CRITICAL, "TeslaMate has no data from Tesla"),
    Cause.UNHEALTHY: (Severity.WARNING, "TeslaMate reports trouble with Tesla's API"),
    Cause.LEFT_OVER: (Severity.WARNING, "left over on the broker"),
}
"""What may be wrong with a vehicle's data -> severity, and what is said of several whose reasons differ."""


WHY_NOTHING: Final = (
    "The broker has lost its retained values (as Mosquitto does without persistence, whenever it starts), or TeslaMate"
    " was not restarted after its first sign-in, or it publishes to another broker."
)


def assess(views: Sequence[VehicleView], cars: Cars, at: datetime) -> Iterator[RatedProblem]:
    """Every problem of the vehicles seen. cars: what the database knows of them, by id."""
    for cause in RATED:
        yield from _shared(cause, [view for view in views if view.judgement.cause is cause], cars, at)
    lost = [view for view in views if view.state is None and view.judgement.cause is not Cause.LEFT_OVER]
    if lost:
        words = f"{listed([view.name for view in lost])}: the broker has lost its state and its other retained values"
        found = problem(Cause.RETAINED_LOST, words)
        yield RatedProblem(Severity.WARNING, Part.VEHICLES, found, tuple(view.car_id for view in lost))
    yield from _names([view for view in views if view.judgement.cause is not Cause.LEFT_OVER], cars)
    yield from unpublished(views, cars)


def unpublished(views: Sequence[VehicleView], cars: Cars) -> Iterator[RatedProblem]:
    """The cars that TeslaMate logs, and of which it publishes nothing, where others are there."""
    seen = {view.car_id for view in views}
    missing = [car for car in logged(cars) if car.car_id not in seen]
    if missing and views:
        words = f"TeslaMate logs {listed([_name(car) for car in missing])}, but publishes nothing about it"
        yield _warning(Cause.NOT_PUBLISHED, words, [car.car_id for car in missing])


def all_unpublished(cars: Cars, where: str) -> RatedProblem:
    """TeslaMate lives and logs cars, and the broker at `where` holds nothing of any."""
    names = listed([_name(car) for car in logged(cars)])
    message = f"TeslaMate runs and logs {names}, but the broker at {where} holds nothing of them"
    found = problem(Cause.NOT_PUBLISHED, message, variant="all", details=(WHY_NOTHING,))
    return RatedProblem(Severity.CRITICAL, Part.VEHICLES, found, tuple(car.car_id for car in logged(cars)))


def logged(cars: Cars) -> list[CarRecord]:
    """The cars whose logging is not switched off."""
    return [car for car in cars.values() if car.enabled is not False]


def _shared(cause: Cause, views: Sequence[VehicleView], cars: Cars, at: datetime) -> Iterator[RatedProblem]:
    """One problem for all vehicles of one cause."""
    if not views:
        return
    severity, together = RATED[cause]
    reasons = [view.judgement.reason for view in views]
    details = [f"{view.name}: {_told(view, cars, at)}" for view in views[:MOST_NAMED]]
    shared = len(set(reasons)) == 1
    message = f"{listed([view.name for view in views])}: {reasons[0] if shared else together}"
    if shared:
        details = [_last_record(view, cars, at) for view in views] if len(views) == 1 else []
    topics = " ".join(f"-t '{prefix(view.namespace)}{view.car_id}/#'" for view in views[:MOST_NAMED])
    found = problem(cause, message, details=tuple(filter(None, details)), topics=topics)
    yield RatedProblem(severity, Part.VEHICLES, found, tuple(view.car_id for view in views))


def _told(view: VehicleView, cars: Cars, at: datetime) -> str:
    return "; ".join(filter(None, (view.judgement.reason, _last_record(view, cars, at))))


def _last_record(view: VehicleView, cars: Cars, at: datetime) -> str:
    record = cars.get(view.car_id)
    if record is None or record.last_record_at is None:
        return ""
    return f"its newest record in the database is {in_words(at - record.last_record_at)} old"


def _names(views: Sequence[VehicleView], cars: Cars) -> Iterator[RatedProblem]:
    by_name: dict[str, list[int]] = defaultdict(list)
    for view in views:
        by_name[view.name].append(view.car_id)
    for name, ids in by_name.items():
        if len(ids) > 1:
            yield _warning(Cause.DUPLICATE_NAME, f"cars {listed(ids)} are all called {name}", ids)
    nameless = [view.car_id for view in views if view.name_is_made_up]
    if len(nameless) > 1:
        yield _warning(Cause.NAMELESS, f"cars {listed(nameless)} have no name", nameless)
    renamed = [(view, before) for view in views if (before := _name_before(view, cars)) is not None]
    if renamed:
        told = [f"car {view.car_id} is called {view.name}, and was called {before}" for view, before in renamed]
        yield _warning(Cause.RENAMED, "; ".join(told[:MOST_NAMED]), [view.car_id for view, _ in renamed])


def _name_before(view: VehicleView, cars: Cars) -> str | None:
    record = cars.get(view.car_id)
    before = [name for name in view.names[:-1] if name != view.name]
    if record is not None and record.name and record.name != view.name and not view.name_is_made_up:
        before.append(record.name)
    return before[-1] if before else None


def _name(car: CarRecord) -> str:
    return car.name or f"car {car.car_id}"


def _warning(cause: Cause, message: str, car_ids: Sequence[int]) -> RatedProblem:
    return RatedProblem(Severity.WARNING, Part.VEHICLES, problem(cause, message), tuple(car_ids))
