"""Connections that break in every way at every byte of a handshake. `make faults` takes every byte, the tests a part.

What holds for every one of them: one document, one clear cause, the exit code 1, no traceback, no hang, no damage.
"""

import argparse
import itertools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import teslamate_on
from tests.faults.proxy import Fault, Proxy, Way, proxy
from tests.faults.swift import WORKERS, Timed, workers
from tests.support.brokers import BLUE, broker
from tests.support.surroundings import TeslaMate, TwcFolder
from tmsync.demo.postgres import find_binaries
from tmsync.demo.server import free_port

POSTGRES_S = 20.0
"""With connect_timeout = 1: the probe, the login and a statement one second each, twice that in libpq; and a machine
that is busy."""
MQTT_S = 25.0
"""The broker's answer 5 s, another look at the port 2 s plain and 2 s with TLS."""
POSTGRES_CAUSES = {"no-answer", "not-postgresql", "connection-lost", "login-failed", "server-error", "unreachable"}
MQTT_CAUSES = {"not-mqtt", "timeout", "connection-lost", "not-authorised", "tls-mismatch"}
"""not-authorised: brokers that close on SUBSCRIBE look just like a connection that breaks there."""
OTHER = {"chargeNowAmps": 32, "carApiBearerToken": "old"}
Swiftly = Callable[[Sequence[str], Mapping[str, str]], Timed]
Bytes = Callable[[int], Iterator[int]]
"""Which of so many bytes to break at."""


def every(size: int) -> Iterator[int]:
    return iter(range(size))


def some(size: int) -> Iterator[int]:
    """The first, in which most is decided, and then one in every few."""
    return itertools.chain(range(min(size, 6)), range(6, size, max(1, size // 6)))


def few(size: int) -> Iterator[int]:
    return iter(sorted({0, size // 10, size // 2}))


def faults(size: int, upward: int, chosen: Bytes) -> list[Fault]:
    """Every way at every chosen byte, of `size` from the server and `upward` from the client."""
    down = [Fault(way, after) for way, after in itertools.product(Way, chosen(size))]
    return down + [Fault(way, after, upward=True) for way, after in itertools.product(Way, chosen(upward))]


def check(run: Timed, fault: Fault, causes: set[str], limit_s: float, cause: str | None) -> None:
    """cause: what the document tells; None where the run went well."""
    told = run.out + run.err
    assert "Traceback" not in told, told
    assert "unforeseen" not in told, told
    assert run.seconds < limit_s, (fault, run.seconds)
    if fault.way is Way.DELAY:
        assert (run.code, cause) == (0, None), (fault, told)
        return
    assert run.code == (0 if cause is None else 1), (fault, told)
    assert cause is None or cause in causes, (fault, told)


def through(
    port: int, found: list[Fault], job: Callable[[Proxy, Fault], str | None]
) -> Counter[tuple[str, str | None]]:
    """Do `job` through a proxy for each fault, many at once; how often which cause was told."""

    def one(fault: Fault) -> tuple[str, str | None]:
        with proxy(port, fault) as made:
            return fault.way.value, job(made, fault)

    with ThreadPoolExecutor(WORKERS) as side_by_side:
        return Counter(side_by_side.map(one, found))


def check_db(swiftly: Swiftly, teslamate: TeslaMate, chosen: Bytes) -> Counter[tuple[str, str | None]]:
    """check-db on a connection that breaks. Each of its connections breaks at the same byte."""

    def job(made: Proxy, fault: Fault) -> str | None:
        changes = {"TMSYNC_DATABASE_PORT": str(made.port), "TMSYNC_DATABASE_CONNECT_TIMEOUT": "1"}
        run = swiftly(["check-db", "--json"], teslamate.environ(**changes))
        cause = run.failed["cause"] if run.failed else None
        assert run.failed is None or run.failed["summary"]
        check(run, fault, POSTGRES_CAUSES, POSTGRES_S, cause)
        return cause

    return through(teslamate.postgres.port, faults(_handshake(teslamate), 120, chosen), job)


def sync_tokens(swiftly: Swiftly, teslamate: TeslaMate, chosen: Bytes, folder: Path) -> Counter[tuple[str, str | None]]:
    """sync-tokens likewise: the settings hold the old token or the new one, and nothing lies beside them."""
    number = itertools.count()

    def job(made: Proxy, fault: Fault) -> str | None:
        place = folder / str(next(number))
        place.mkdir()
        twc = TwcFolder(place, free_port())
        twc.write(OTHER)
        changes = {"TMSYNC_DATABASE_PORT": str(made.port), "TMSYNC_DATABASE_CONNECT_TIMEOUT": "1"}
        environ = teslamate.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), **changes)
        run = swiftly(["sync-tokens", "--json"], environ)
        error = run.json["error"]
        check(run, fault, POSTGRES_CAUSES, POSTGRES_S, error and error["cause"])
        if error is not None:
            assert twc.read() == OTHER
            assert not any(name.startswith(".") for name in twc.listing())
        else:
            assert twc.read()["carApiBearerToken"] == teslamate.access
        return error and str(error["cause"])

    return through(teslamate.postgres.port, faults(_handshake(teslamate), 0, chosen), job)


def watch_mqtt(swiftly: Swiftly, port: int, chosen: Bytes, command: Sequence[str]) -> Counter[tuple[str, str | None]]:
    """watch-mqtt --once or status while CONNECT, CONNACK, SUBSCRIBE, SUBACK and the retained values go through."""

    def job(made: Proxy, fault: Fault) -> str | None:
        environ = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(made.port)}
        run = swiftly([*command, "--json"], environ)
        document = run.json
        problems = document.get("problems") or []
        found = next((one["cause"] for one in problems), None)
        cause = document["error"]["cause"] if document.get("error") else found
        check(run, fault, MQTT_CAUSES, MQTT_S, cause)
        return cause

    return through(port, faults(60, 62, chosen), job)


def _handshake(teslamate: TeslaMate) -> int:
    """How many bytes the server sends until a session is open."""
    import psycopg2

    from tests.support.surroundings import PASSWORD

    with proxy(teslamate.postgres.port) as made:
        login = {"host": "127.0.0.1", "port": made.port, "dbname": "teslamate", "user": "teslamate"}
        psycopg2.connect(**login, password=PASSWORD).close()
        return len(made.seen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--some", action="store_true", help="as the tests do, not every byte")
    chosen = some if parser.parse_args().some else every
    with (
        teslamate_on(next(find_binaries())) as teslamate,
        broker() as mosquitto,
        workers() as swiftly,
        tempfile.TemporaryDirectory() as folder,
    ):
        teslamate.fresh()
        mosquitto.publisher.car(**BLUE)
        for name, told in {
            "check-db": lambda: check_db(swiftly, teslamate, chosen),
            "sync-tokens": lambda: sync_tokens(swiftly, teslamate, chosen, Path(folder)),
            "watch-mqtt --once": lambda: watch_mqtt(swiftly, mosquitto.port, chosen, ["watch-mqtt", "--once"]),
            "status": lambda: watch_mqtt(swiftly, mosquitto.port, chosen, ["status", "--wait", "1"]),
        }.items():
            found = told()
            print(f"{name}: {found.total()} connections broken")
            for (way, cause), count in sorted(found.items(), key=str):
                print(f"  {way:9} {cause or 'went well':16} {count}", flush=True)
    return 0


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    sys.exit(main())
