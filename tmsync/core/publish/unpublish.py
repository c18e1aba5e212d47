"""Takes back everything that was published, and looks whether it is gone.

This is the one moment in which tmsync listens to its own prefix: nothing is judged meanwhile, and what stands there may
be another machine's, or be missing in the file that says what was published.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.config.settings import MqttSettings, Settings
from tmsync.core.errors import BrokerError, Problem
from tmsync.core.fixes import problem
from tmsync.core.publish.discovery import ORIGIN
from tmsync.core.publish.ledger import Ledger
from tmsync.core.publish.topics import ONLINE, Layout
from tmsync.core.telemetry import diagnosis
from tmsync.core.telemetry.connection import ANSWER_S, BrokerConnection, Link
from tmsync.core.words import counted

FIRST_ANSWER_S: Final = 4 * ANSWER_S
SETTLED_S: Final = 1.0
"""What is retained has all come when nothing has come for so long."""
SETTLE_MOST_S: Final = 10.0
LOOK_S: Final = 0.05


class Unpublished(NamedTuple):
    """What was taken back. warning: why some of it may come again."""

    prefix: str
    topics: tuple[str, ...]
    warning: Problem | None

    @property
    def message(self) -> str:
        """In words."""
        return f"{counted(len(self.topics), 'topic')} cleared; nothing is left below {self.prefix}/"


def unpublish(settings: Settings, clock: Clock) -> Unpublished:
    """Clear all retained topics below publish.prefix, what an earlier prefix left, and what Home Assistant was told.

    Raises: BrokerError when the broker cannot be reached, or does not let this be done; ConfigError without mqtt.host.
    """
    options, target = settings.publish(), settings.mqtt()
    layout, ledger = Layout(options.prefix, options.discovery_prefix), Ledger(settings.state_dir)
    with _looking(target, layout, clock) as before:
        ours = before.ours()
        runs = before.held.get(layout.status) == ONLINE.encode()
        before.clear(ours | ledger.topics)
    with _looking(target, layout, clock) as after:
        if left := after.ours():
            raise BrokerError(diagnosis.of_refused_publishing(target, sorted(set(map(layout.filter_of, left)))))
    unwritable = ledger.write(()) if ledger.topics else None
    still = problem(Cause.LOCKED, f"{layout.status} says online: a tmsync serve is publishing here", variant="publish")
    return Unpublished(options.prefix, tuple(sorted(ours)), still if runs else unwritable)


class _Look(BrokerConnection):
    """Hears what is retained below the prefix, and what Home Assistant was told of any device."""

    def __init__(self, target: MqttSettings, layout: Layout, clock: Clock) -> None:
        discovery = layout.filter_of(layout.discovery("", 0))
        super().__init__(target, [f"{layout.prefix}/#", discovery], self._hear, self._linked, clock)
        self._layout = layout
        self.held: dict[str, bytes] = {}
        self._heard_at = clock.monotonic()
        self._lost: Problem | None = None

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        if retained:
            self._heard_at = self._clock.monotonic()
            self.held[topic] = payload

    def _linked(self, link: Link) -> None:
        self._heard_at = self._clock.monotonic()
        self._lost = link.problem

    def wait(self) -> None:
        """Until all that is retained has come.

        Raises: BrokerError.
        """
        self.answered.wait(FIRST_ANSWER_S)
        if self._lost is None and not self.subscribed:
            self._lost = problem(
                Cause.TIMEOUT,
                f"the broker at {self.target.place} does not answer the subscription",
                variant="subscription",
            )
        deadline = self._clock.monotonic() + SETTLE_MOST_S
        while self._lost is None and (now := self._clock.monotonic()) < min(self._heard_at + SETTLED_S, deadline):
            self._clock.sleep(min(LOOK_S, deadline - now))
        if self._lost is not None:
            raise BrokerError(self._lost)

    def ours(self) -> set[str]:
        """The topics that are tmsync's: all below the prefix, and Home Assistant's of those."""
        own = f"{self._layout.prefix}/"
        return {topic for topic, payload in self.held.items() if topic.startswith(own) or self._is_ours(payload)}

    def _is_ours(self, discovery: bytes) -> bool:
        try:
            told: Any = json.loads(discovery)
            return bool(
                told["origin"]["name"] == ORIGIN["name"] and told["availability"] == [{"topic": self._layout.status}]
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            return False

    def clear(self, topics: Collection[str]) -> None:
        """Publish nothing in each, and wait until the broker has it."""
        client = self._client
        if client is not None:
            for sent in [client.publish(topic, b"", qos=1, retain=True) for topic in sorted(topics)]:
                sent.wait_for_publish(ANSWER_S)


@contextmanager
def _looking(target: MqttSettings, layout: Layout, clock: Clock) -> Iterator[_Look]:
    """What is retained now. Raises: BrokerError."""
    look = _Look(target, layout, clock)
    look.start()
    try:
        look.wait()
        yield look
    finally:
        look.stop()
