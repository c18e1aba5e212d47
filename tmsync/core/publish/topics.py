"""What is to stand on the broker at one moment: topic by topic. Pure.

Everything here is retained; the values that `publish.values` repeats are in `values`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from tmsync.core.clock import iso
from tmsync.core.publish.discovery import device_payload
from tmsync.core.status.report import RatedProblem
from tmsync.core.telemetry.health import Source, Verdict
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.topics import CARS

ONLINE: Final = "online"
OFFLINE: Final = "offline"
VERDICT, SOURCE, REASON, TRUSTED, HEARTBEAT = "verdict", "source", "reason", "trusted", "last_heartbeat_at"
NO_NODE: Final = re.compile(r"[^a-zA-Z0-9_-]")
"""Source: Home Assistant homeassistant/components/mqtt/discovery.py (TOPIC_MATCHER)."""
UNSEEN: Final[Mapping[str, str]] = {
    VERDICT: Verdict.WAITING.value,
    SOURCE: Source.UNDECIDED.value,
    REASON: "tmsync has just started, and has not seen the car yet",
    TRUSTED: "false",
}
"""What an earlier run said of a car does not hold until the car is seen again."""


class State(NamedTuple):
    """What is known at one moment, for publishing."""

    namespace: str
    """TeslaMate's MQTT_NAMESPACE, empty for none."""
    vehicles: Sequence[VehicleView]
    """All of them."""
    settled: bool
    """Whether the broker's retained values are in, so that a car that is missing from `vehicles` is gone."""
    token_expires_at: datetime | None = None
    in_sync: bool | None = None
    """Whether TWCManager holds TeslaMate's current token; None where that cannot be told."""
    problems: Sequence[RatedProblem] = ()


class Payload(NamedTuple):
    """What stands in a topic.

    meaning: what makes it news. Two of one meaning differ by nothing but a span of time that grows ("silent for 40 s"),
    and the newer one can wait.
    """

    text: str
    meaning: object


class Layout(NamedTuple):
    """Where things are published."""

    prefix: str
    discovery_prefix: str

    @property
    def status(self) -> str:
        """Whether tmsync is there: online, else offline."""
        return f"{self.prefix}/status"

    @property
    def token(self) -> str:
        """What the token's topics begin with."""
        return f"{self.prefix}/token"

    @property
    def problems(self) -> str:
        """The problems, as JSON."""
        return f"{self.prefix}/problems"

    @property
    def birth(self) -> str:
        """Where Home Assistant says that it is there."""
        return f"{self.discovery_prefix}/status"

    def filter_of(self, topic: str) -> str:
        """All that is published beside `topic`: tmsync's own topics, or what Home Assistant learns of cars."""
        return f"{self.discovery_prefix}/device/+/config" if self.is_discovery(topic) else f"{self.prefix}/#"

    def is_discovery(self, topic: str) -> bool:
        """Whether it is for Home Assistant to learn of a car."""
        return topic.startswith(f"{self.discovery_prefix}/device/")

    def car(self, namespace: str, car_id: int) -> str:
        """What a car's topics begin with."""
        return f"{self.prefix}/{namespace}/{CARS}/{car_id}" if namespace else f"{self.prefix}/{CARS}/{car_id}"

    def discovery(self, namespace: str, car_id: int) -> str:
        """Where Home Assistant learns of a car; it passes over a topic with any other characters."""
        node = "_".join(filter(None, ("tmsync", NO_NODE.sub("_", namespace), str(car_id))))
        return f"{self.discovery_prefix}/device/{node}/config"


def retained(state: State, layout: Layout) -> dict[str, Payload]:
    """Topic -> what is to stand in it. `status` is not among them: it hangs on the connection."""
    found = {topic: Payload(text, text) for topic, text in _token(state, layout)}
    meaning = tuple((rated.severity, rated.problem.cause, rated.part, rated.car_ids) for rated in state.problems)
    found[layout.problems] = Payload(json.dumps([rated.as_json() for rated in state.problems]), meaning)
    for view in state.vehicles:
        found |= car(view, layout)
        if state.settled or not view.name_is_made_up:
            # Home Assistant makes the entities' names of the first one that it hears, and keeps them.
            found[layout.discovery(view.namespace, view.car_id)] = discovery(view, layout)
    return found


def car(view: VehicleView, layout: Layout) -> dict[str, Payload]:
    """What is said of one car."""
    place = layout.car(view.namespace, view.car_id)
    judgement = view.judgement
    texts = {
        VERDICT: judgement.verdict.value,
        SOURCE: judgement.source.value,
        TRUSTED: "true" if is_trusted(view) else "false",
    }
    found = {f"{place}/{key}": Payload(text, text) for key, text in texts.items()}
    found[f"{place}/{REASON}"] = Payload(judgement.reason, (judgement.verdict, judgement.cause, view.state))
    if view.last_heartbeat_at is not None:
        text = iso(view.last_heartbeat_at)
        found[f"{place}/{HEARTBEAT}"] = Payload(text, text)
    return found


def discovery(view: VehicleView, layout: Layout) -> Payload:
    """What Home Assistant learns of a car."""
    name = None if view.name_is_made_up else view.name
    place = layout.car(view.namespace, view.car_id)
    text = device_payload(view.namespace, view.car_id, name, place, layout.prefix)
    return Payload(text, text)


def is_trusted(view: VehicleView) -> bool:
    """Whether TeslaMate's data of the car is to be used."""
    return view.judgement.source is Source.TESLAMATE


def _token(state: State, layout: Layout) -> Iterator[tuple[str, str]]:
    if state.token_expires_at is not None:
        yield f"{layout.token}/expires_at", iso(state.token_expires_at)
    if state.in_sync is not None:
        yield f"{layout.token}/in_sync", "true" if state.in_sync else "false"


def unseen(topic: str, state: State, layout: Layout) -> Payload | None:
    """What takes the place of an earlier run's words on a car that has not been seen yet; None for any other topic."""
    before, _, key = topic.rpartition("/")
    above, _, car_id = before.rpartition("/")
    if key not in UNSEEN or f"{above}/" != layout.car(state.namespace, 0)[:-1] or not car_id.isdigit():
        return None
    return Payload(UNSEEN[key], UNSEEN[key])
