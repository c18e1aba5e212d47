"""A part of what `make faults` does: connections that break at this byte and that."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.handshakes import Swiftly, check_db, few, some, sync_tokens, watch_mqtt
from tests.faults.proxy import Way
from tests.faults.swift import workers
from tests.support.brokers import BLUE, broker, needs_mosquitto
from tests.support.surroundings import TeslaMate

WAYS = {way.value for way in Way}


@pytest.fixture(scope="module")
def swiftly() -> Iterator[Swiftly]:
    with workers() as made:
        yield made


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with broker() as running:
        running.publisher.car(**BLUE)
        yield running.port


def test_check_db_on_a_connection_that_breaks_ends_with_one_clear_cause(swiftly: Swiftly, teslamate: TeslaMate) -> None:
    told = check_db(swiftly, teslamate, some)
    assert {way for way, _ in told} == WAYS
    causes = {cause for _, cause in told}
    # Before the first answer it may be anything; after it, it is a PostgreSQL that broke off or went silent.
    assert causes >= {None, "not-postgresql", "connection-lost", "no-answer", "login-failed"}


def test_sync_tokens_on_a_connection_that_breaks_leaves_the_settings_whole(
    swiftly: Swiftly, teslamate: TeslaMate, tmp_path: Path
) -> None:
    assert {way for way, _ in sync_tokens(swiftly, teslamate, few, tmp_path)} == WAYS


@needs_mosquitto
def test_watch_mqtt_and_status_on_a_connection_that_breaks_end_with_one_clear_cause(
    swiftly: Swiftly, port: int
) -> None:
    with ThreadPoolExecutor(2) as side_by_side:
        once = side_by_side.submit(watch_mqtt, swiftly, port, some, ["watch-mqtt", "--once"])
        status = side_by_side.submit(watch_mqtt, swiftly, port, few, ["status", "--wait", "1"])
    for told in (once.result(), status.result()):
        assert {way for way, _ in told} == WAYS
        # Not "no-vehicles": that the connection broke is what is wrong.
        assert {cause for _, cause in told} == {None, "not-mqtt", "timeout", "not-authorised", "connection-lost"}
