"""The simulated TeslaMate on a real broker, steered while it runs."""

import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import server_folder
from tests.demo.test_broker import Client, client
from tests.support.full_teslamate import FullTeslaMate
from tmsync.demo import server
from tmsync.demo.broker import private_broker
from tmsync.demo.pacer import Pacer
from tmsync.demo.server import DemoError, PrivateServer, free_port
from tmsync.demo.simulator import Phase, SimulatedCar, State

CARS = [SimulatedCar(number, f"Car {number}", (Phase(State.CHARGING, timedelta(days=9)),)) for number in range(1, 6)]


@pytest.fixture
def broker() -> Iterator[PrivateServer]:
    with server_folder() as folder, private_broker(folder) as running:
        yield running


def simulated() -> FullTeslaMate:
    return FullTeslaMate(CARS, datetime(2026, 11, 2, tzinfo=UTC))


def arrives(reader: Client, wanted: Callable[[str, bytes, bool], bool]) -> None:
    with reader.news:
        assert reader.news.wait_for(lambda: any(wanted(*message) for message in reader.messages), 30)


def test_subscriber_sees_retained_values_live_heartbeats_and_controls(broker: PrivateServer) -> None:
    with Pacer(simulated(), broker.port, speed=40) as pacer, client(broker) as reader:
        reader.mqtt.subscribe("teslamate/#", qos=1)
        for car in CARS:
            topic = f"teslamate/cars/{car.car_id}"
            name = car.name.encode()
            arrives(reader, lambda at, payload, _: (at, payload) == (f"{topic}/display_name", name))  # noqa: B023
            arrives(reader, lambda at, payload, kept: (at, payload, kept) == (f"{topic}/healthy", b"true", False))  # noqa: B023
        with pacer.steering() as teslamate:
            teslamate.force(3, State.ASLEEP)
        arrives(reader, lambda at, payload, _: (at, payload) == ("teslamate/cars/3/state", b"asleep"))
        with pacer.steering() as teslamate:
            teslamate.die()
        reader.publish("marker", b"")
        time.sleep(0.5)
        with reader.news:
            reader.messages.clear()
        time.sleep(1)
        assert reader.messages == []
        with pacer.steering() as teslamate:
            teslamate.start_again()
        arrives(reader, lambda at, payload, _: (at, payload) == ("teslamate/cars/3/state", b"asleep"))


def test_stop_ends_it_and_may_be_repeated(broker: PrivateServer) -> None:
    pacer = Pacer(simulated(), broker.port, speed=1000)
    pacer.start()
    pacer.stop()
    reached = pacer.teslamate.now
    pacer.stop()
    with pacer.steering() as teslamate:
        assert isinstance(teslamate, FullTeslaMate)
        teslamate.rename(1, "Red")
    assert pacer.teslamate.now == reached
    with pacer, client(broker) as reader:
        reader.mqtt.subscribe("teslamate/#", qos=1)
        arrives(reader, lambda at, payload, _: (at, payload) == ("teslamate/cars/1/display_name", b"Red"))


def test_unreachable_broker_is_one_clear_error(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(DemoError, match=f"port {port} is not reached"):
        Pacer(simulated(), port).start()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_is_taken_by_one_family_alone_is_not_given(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, address: str
) -> None:
    free = free_port()
    with socket.socket(family) as taken:
        taken.bind((address, 0))
        port = taken.getsockname()[1]
        chosen = iter([port, free])
        monkeypatch.setattr(server, "_GIVEN", set())
        monkeypatch.setattr(server.secrets, "choice", lambda _: next(chosen))
        assert free_port() == free
    assert server.is_free(port, address)


def test_no_outgoing_connection_can_take_a_port_between_its_choice_and_its_use() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert max(server.PORTS) < lowest
    assert free_port() in server.PORTS
