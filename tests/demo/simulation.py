"""Simulations on a fixed clock, and ways to look at what they publish."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from tests.support.full_teslamate import FullTeslaMate
from tmsync.demo.simulator import Attention, Phase, Publication, SimulatedCar, SimulatedTeslaMate, State

START = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
SLOW = 80.0
"""Seconds a request to Tesla's API may take."""


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def for_ever(
    state: State, attention: Attention = Attention.NONE, *, streaming: bool = True, **more: int
) -> SimulatedCar:
    return SimulatedCar(1, "Blue", (Phase(state, hours(5), attention),), streaming, **more)


def simulate(*cars: SimulatedCar, seed: int = 0, live: bool = True, namespace: str = "") -> FullTeslaMate:
    return FullTeslaMate(cars, START, seed=seed, sends_live_healthy=live, namespace=namespace)


def run(teslamate: SimulatedTeslaMate, span: timedelta) -> list[Publication]:
    """What is published of its cars."""
    return [message for message in teslamate.until(teslamate.now + span) if message.topic.startswith("teslamate/")]


def settled(*cars: SimulatedCar, live: bool = True) -> FullTeslaMate:
    """Ten minutes after its start."""
    teslamate = simulate(*cars, live=live)
    run(teslamate, minutes(10))
    return teslamate


def key(message: Publication) -> str:
    return message.topic.rsplit("/", 1)[1]


def told(messages: Iterable[Publication]) -> list[tuple[str, bytes]]:
    return [(key(message), message.payload) for message in messages]


def values(messages: Iterable[Publication]) -> dict[str, bytes]:
    """What a broker retains for one car."""
    held = {}
    for message in messages:
        if message.retain and message.payload:
            held[key(message)] = message.payload
        elif message.retain:
            held.pop(key(message), None)
    return held


def beats(messages: Iterable[Publication], car_id: int = 1) -> list[datetime]:
    return [m.at for m in messages if m.topic == f"teslamate/cars/{car_id}/healthy" and not m.retain]


def gaps(moments: Iterable[datetime]) -> list[float]:
    return [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
