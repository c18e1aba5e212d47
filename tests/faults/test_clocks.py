"""The wall clock goes forward a day and back an hour under a watch-mqtt that runs: nobody is judged by it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import BLUE, Broker, Watching, broker, needs_mosquitto, watching

BEAT_S = 0.3
STALE_S = 4
JUMPS = {"a day ahead": 86_400, "an hour back": -3_600}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Broker]:
    with broker() as running:
        running.publisher.car(**BLUE)
        yield running


@contextmanager
def clock_to_set(mosquitto: Broker, tmp_path: Path) -> Iterator[tuple[Watching, Path]]:
    """A watch-mqtt that has heard the car live, and the file its clock is set by."""
    offset = tmp_path / "seconds-ahead"
    offset.write_text("0")
    environ = mosquitto.environ(
        SECONDS_AHEAD_FILE=str(offset),
        PYTHONPATH=str(ROOT),
        TMSYNC_HEALTH_LATE_AFTER_CHARGING=str(STALE_S / 2),
        TMSYNC_HEALTH_STALE_AFTER_CHARGING=str(STALE_S),
    )
    arguments = ["--json", "--interval", "0.1"]
    with watching(arguments, environ, module="tests.faults.jumping") as watch:
        # What the broker retains is there, so the subscription is.
        watch.verdict("waiting")
        mosquitto.publisher.healthy()
        watch.event(lambda event: event.get("to") == "TeslaMate")
        yield watch, offset


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def beats(mosquitto: Broker, watch: Watching, seconds: float) -> list[dict[str, Any]]:
    """What watch-mqtt says while heartbeats come."""
    watch.seen.clear()
    end = time.monotonic() + seconds
    level = 10
    while time.monotonic() < end:
        level += 1
        mosquitto.publisher.car(battery_level=str(level))
        mosquitto.publisher.healthy()
        time.sleep(BEAT_S)
    # The last value is the mark up to which to read.
    watch.event(lambda event: event.get("telemetry", {}).get("battery_level") == level)
    return watch.seen


@needs_mosquitto
@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())
def test_clock_that_jumps_makes_no_car_stale(mosquitto: Broker, tmp_path: Path, jump: int) -> None:
    with clock_to_set(mosquitto, tmp_path) as (watch, offset):
        offset.write_text(str(jump))
        said = beats(mosquitto, watch, STALE_S + 1)
        assert {event["event"] for event in said} == {"vehicle"}
        assert {event["verdict"] for event in said} == {"fresh"}
        assert all(0 <= event["silence_s"] < STALE_S / 2 for event in said)
        # Moments of the past are told by the clock as it is now, like "at" beside them.
        spans = [moment(event["at"]) - moment(event["last_heartbeat_at"]) for event in said]
        assert all(timedelta(0) <= span < timedelta(seconds=STALE_S) for span in spans)
        assert watch.end() == (0, "")


@needs_mosquitto
@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS.keys())
def test_clock_that_jumps_keeps_no_silent_car_fresh(mosquitto: Broker, tmp_path: Path, jump: int) -> None:
    with clock_to_set(mosquitto, tmp_path) as (watch, offset):
        begun = time.monotonic()
        offset.write_text(str(jump))
        change = watch.event(lambda event: event.get("to") == "TeslaAPI")
        assert (change["from"], change["verdict"]) == ("TeslaMate", "stale")
        assert STALE_S - 1 < time.monotonic() - begun < STALE_S + 5
