"""A process that was stopped, as its machine may be: what lay in the socket meanwhile is not new."""

from tests.support.brokers import broker, needs_mosquitto
from tests.support.waiting import until
from tmsync.core.clock import SystemClock
from tmsync.core.config.settings import MqttSettings
from tmsync.core.telemetry.connection import BrokerConnection, Link


class Stoppable(SystemClock):
    """ahead_s: what passed while the process stood still."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@needs_mosquitto
def test_heartbeats_that_waited_in_the_socket_do_not_count_and_later_ones_do() -> None:
    clock, links, heard = Stoppable(), list[Link](), list[str]()
    with broker() as mosquitto:
        target = MqttSettings("127.0.0.1", mosquitto.port, None, None, "", False, None, None, None, False)
        topics = ["teslamate/cars/+/+"]
        connection = BrokerConnection(target, topics, lambda *found: heard.append(found[0]), links.append, clock)
        connection.start()
        try:
            until(lambda: connection.subscribed)
            mosquitto.publisher.healthy()
            until(lambda: len(heard) == 1)
            clock.ahead_s = 900.0
            mosquitto.publisher.healthy()
            until(lambda: len(links) == 3 and connection.subscribed)
            assert len(heard) == 1
            mosquitto.publisher.healthy()
            until(lambda: len(heard) == 2)
        finally:
            connection.stop()
    assert [link.connected for link in links] == [True, False, True]
    assert links[1].problem is not None
    assert links[1].problem.message == "tmsync stood still for 900 s: what the broker sent meanwhile does not count"
