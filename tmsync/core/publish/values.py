"""TeslaMate's values repeated with every heartbeat, for readers with a time-out of their own. Pure.

TeslaMate sends a value when it changes, so that a value that holds looks like one that nobody renews.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tmsync.core.clock import iso
from tmsync.core.publish.topics import Layout, is_trusted
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.topics import Value

SAME_HEARTBEAT: Final = timedelta(seconds=0.5)
"""A wall time worked out from running time differs by microseconds at each look; heartbeats are further apart."""

Recorded = Mapping[int, Mapping[str, Value]]
"""Car id -> what TeslaMate's database holds of it, by the keys of MQTT."""


class Repeater:
    """Tells one heartbeat from the next, and which values are due: all with a heartbeat, else those that changed."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._heartbeats: dict[str, datetime] = {}
        self._told: dict[str, str] = {}

    def steady(self, view: VehicleView) -> tuple[VehicleView, bool]:
        """The view, one heartbeat told alike at every look; and whether it is a new one."""
        moment = view.last_heartbeat_at
        if moment is None:
            return view, False
        place = self._layout.car(view.namespace, view.car_id)
        before = self._heartbeats.get(place)
        if before is not None and abs(moment - before) < SAME_HEARTBEAT:
            return view._replace(last_heartbeat_at=before), False
        self._heartbeats[place] = moment
        return view, True

    def due(self, view: VehicleView, recorded: Recorded, *, beats: bool) -> dict[str, str]:
        """Topic -> value. beats: whether a heartbeat has just come."""
        if not is_trusted(view):
            return {}
        place = self._layout.car(view.namespace, view.car_id)
        # A value that TeslaMate deleted is there, and None: the database must not bring it back.
        values = {**recorded.get(view.car_id, {}), **view.telemetry}
        found = {f"{place}/{key}": text for key, value in values.items() if (text := as_text(value))}
        if not beats:
            found = {topic: text for topic, text in found.items() if self._told.get(topic) != text}
        self._told |= found
        return found


def as_text(value: Value) -> str:
    """As TeslaMate writes it; empty for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return iso(value) if isinstance(value, datetime) else str(value)
