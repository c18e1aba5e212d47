"""What the genuine TeslaMate 4.2-dev published of eight cars, in a short form: states, names, and every heartbeat.

Streaming, no namespace, a Mosquitto without persistence. From second 82 on car 3 is in a dead zone, car 4 out of reach
in mid-charge (until 211), car 6 answered with errors (until 510), car 2 with 429 and Retry-After 600, and car 1 awake
by itself (until 577); car 5 was so from the beginning. The broker is restarted at 622 and has lost what it retained.
TeslaMate is killed at 761.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

RESTARTED_AT: Final = 622.0
KILLED_AT: Final = 761.0
_SAID: Final = (
    *((12.06, 1, key, value) for key, value in (("display_name", "Gen 1"), ("state", "asleep"))),
    *((32.17, 2, key, value) for key, value in (("state", "online"), ("display_name", "Gen 2"))),
    (692.16, 2, "state", "suspended"),
    *((3.36, 3, key, value) for key, value in (("display_name", "Gen 3"), ("state", "online"))),
    *((3.402, 3, key, value) for key, value in (("state", "driving"), ("since", "2026-11-26T05:23:17.843990Z"))),
    (162.521, 3, "state", "offline"),
    *((32.23, 4, key, value) for key, value in (("display_name", "Gen 4"), ("state", "online"))),
    (32.337, 4, "state", "charging"),
    *((32.216, 6, key, value) for key, value in (("state", "online"), ("display_name", "Gen 6"))),
    (512.633, 6, "display_name", 'Zoë 🚗 "x" / +#'),
    *((32.22, 7, key, value) for key, value in (("display_name", "Gen 7"), ("state", "online"))),
    (83.205, 7, "state", "suspended"),
    *((32.175, 8, key, value) for key, value in (("display_name", "Gen 8"), ("state", "online"))),
    (32.199, 8, "state", "updating"),
)
_BEATS: Final = {
    1: "12 42 72 582 612 642 672 702 732",
    2: "32 32 62 92.144 692.16",
    3: "3 3 4-81/1 163",
    4: "32 32 37 57 77 217 238-618/5 626 628-758/5",
    6: "32 32 62 92 112 132 152-192!/20 213-433!/20 453 473 493 513 573",
    7: "32 32 62 83",
    8: "32 32",
}  # fmt: skip
"""Seconds; `4-81/1`: from 4 to 81, one every second; `!`: unhealthy."""


class Said(NamedTuple):
    """One message. at: seconds since TeslaMate's start."""

    at: float
    topic: str
    payload: str


def short() -> list[Said]:
    """The short form, in order."""
    found = [Said(3.28, f"teslamate/cars/{car}/healthy", "") for car in range(1, 9)]
    found += [Said(at, f"teslamate/cars/{car}/{key}", value) for at, car, key, value in _SAID]
    for car, beats in _BEATS.items():
        found += [
            Said(at + 0.2, f"teslamate/cars/{car}/healthy", "false" if bad else "true") for at, bad in _moments(beats)
        ]
    return sorted(found)


def whole(path: Path) -> list[Said]:
    """A recording: a line a message, [seconds, topic, payload, ...], gzipped."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        messages = [Said(*json.loads(line)[:3]) for line in lines]
    return [message for message in messages if message.topic.startswith("teslamate/")]


def _moments(beats: str) -> Iterator[tuple[float, bool]]:
    for word in beats.split():
        span, _, step = word.replace("!", "").partition("/")
        first, _, last = span.partition("-")
        at = float(first)
        while at <= float(last or first):
            yield at, "!" in word
            at += float(step or 1)
