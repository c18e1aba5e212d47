"""What is still to be sent: of every topic the newest payload, and no older one. Pure.

It is bounded by the topics there are: a broker that is slow, or away, makes nothing pile up.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from tmsync.core.publish.topics import HEARTBEAT, ONLINE, Layout, Payload, State, retained, unseen

WORDING_S: Final = 60.0
"""A payload that says the same, with another span of time in it, is sent again after this."""


class Message(NamedTuple):
    """One message to send; an empty payload clears a topic that is retained."""

    topic: str
    payload: str


class _Sent(NamedTuple):
    payload: Payload
    at: float


class Outbox:
    """For one connection at a time. published: retained topics of ours that may stand on the broker."""

    def __init__(self, layout: Layout, published: Collection[str]) -> None:
        self._layout = layout
        self.published = set(published)
        self._wanted: dict[str, Payload] = {}
        self._gone: set[str] = set()
        self._sent: dict[str, _Sent] = {}
        """Since the connection began."""
        self._due: OrderedDict[str, None] = OrderedDict()
        self._values: OrderedDict[str, str] = OrderedDict()
        self._greets = False

    def connected(self) -> None:
        """A connection begins: the broker may have lost everything."""
        self._sent = {}
        self._values.clear()
        self._due = OrderedDict.fromkeys([*self._wanted, *self._gone])
        self._greets = bool(self._wanted)

    def update(self, state: State, now: float) -> None:
        """What is known now. now: seconds of running time."""
        wanted = retained(state, self._layout)
        # What an earlier run heard last remains true until something newer is heard.
        kept = {f"{self._layout.car(view.namespace, view.car_id)}/{HEARTBEAT}" for view in state.vehicles}
        gone = self.published - wanted.keys() - kept - {self._layout.status}
        if not state.settled:
            wanted |= {topic: words for topic in gone if (words := unseen(topic, state, self._layout)) is not None}
            gone = set()
        self._greets |= not self._wanted
        self._wanted, self._gone = wanted, gone
        self.published |= wanted.keys() | {self._layout.status}
        self._due.update(
            dict.fromkeys(topic for topic, payload in wanted.items() if self._is_news(topic, payload, now))
        )
        # Home Assistant forgets a car first, and then its topics are cleared: else it complains of each of them.
        self._due.update(dict.fromkeys(sorted(gone, key=lambda topic: not self._layout.is_discovery(topic))))

    def _is_news(self, topic: str, payload: Payload, now: float) -> bool:
        before = self._sent.get(topic)
        if before is None or before.payload.meaning != payload.meaning:
            return True
        return before.payload.text != payload.text and now - before.at >= WORDING_S

    def again(self, topics: Collection[str]) -> None:
        """Send these once more, where they are wanted."""
        self._due.update(dict.fromkeys(topic for topic in topics if topic in self._wanted))

    def repeat(self, values: Mapping[str, str]) -> None:
        """Topics and values to send once, not retained; they replace those that have not gone out yet."""
        self._values.update(values)

    def next(self, now: float) -> Message | None:
        """What to send next and to have retained; None when that is all for now. "online" comes last."""
        while self._due:
            topic, _ = self._due.popitem(last=False)
            payload = self._wanted.get(topic)
            if payload is not None:
                self._sent[topic] = _Sent(payload, now)
                return Message(topic, payload.text)
            self._sent.pop(topic, None)
            if topic in self.published:
                return Message(topic, "")
        if self._greets:
            self._greets = False
            return Message(self._layout.status, ONLINE)
        return None

    def values(self, most: int) -> list[Message]:
        """Values to send now, not to be retained."""
        return [Message(*self._values.popitem(last=False)) for _ in range(min(most, len(self._values)))]

    @property
    def is_empty(self) -> bool:
        """Whether all that is retained has been sent."""
        return not self._due and not self._greets

    def acknowledged(self, message: Message) -> None:
        """The broker has it."""
        if not message.payload and message.topic not in self._wanted:
            self.published.discard(message.topic)
