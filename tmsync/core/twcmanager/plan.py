"""What is to be done so that TWCManager uses a token: decided purely, from what is known of it.

Source: TWCManager lib/TWCManager/TWCMaster.py (loadSettings at the start only, saveSettings on every change).
"""

from dataclasses import dataclass
from enum import StrEnum

from tmsync.core.errors import DeliveryError
from tmsync.core.twcmanager.presence import Presence, Sighting
from tmsync.core.twcmanager.settings_content import Snapshot, TokenFields


class Via(StrEnum):
    """The way a token takes."""

    AUTO = "auto"
    FILE = "file"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How sync-tokens was asked to work."""

    via: Via = Via.AUTO
    dry_run: bool = False
    check: bool = False
    force: bool = False


class Action(StrEnum):
    """What a run does."""

    LOOK = "look"
    """See first whether TWCManager runs."""
    KEEP = "keep"
    """Nothing: TWCManager holds the token."""
    WRITE = "write"
    """Write settings.json; a running TWCManager must be restarted after that."""
    TAKE_UP = "take-up"
    """settings.json is right, but the running TWCManager has not read it: restart it."""
    PUSH = "push"
    """Hand the token to the web control, unless TWCManager holds it."""
    PUSH_AGAIN = "push-again"
    """Likewise, although settings.json holds it: the running TWCManager has not read that."""
    GIVE_UP = "give-up"
    """No way leads there: the settings cannot be read, or no web control answers."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of TWCManager. held: its settings.json, None where that cannot be read or is not looked for.

    ours: tmsync wrote what stands there, and TWCManager has saved nothing since. seen: whether it runs; None before
    anybody looked. has_read: whether the running one was started after settings.json was put in place. far: it is on
    another host, and no file here is its own. unreadable: why its settings.json cannot be read.
    """

    held: Snapshot | None
    ours: bool = False
    seen: Sighting | None = None
    has_read: bool = False
    far: bool = False
    unreadable: DeliveryError | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and which way."""

    action: Action
    via: Via


def decide(situation: Situation, wanted: TokenFields, options: SyncOptions) -> Plan:
    """The way to make TWCManager use `wanted`."""
    held, seen = situation.held, situation.seen
    by_web = options.via is Via.HTTP or (situation.far and options.via is Via.AUTO)
    if seen is None:
        complete = held is not None and held.holds(wanted) and not situation.ours
        return Plan(Action.KEEP, Via.FILE) if complete and not by_web else Plan(Action.LOOK, Via.FILE)
    reachable = seen.url is not None and options.via is not Via.FILE
    if by_web:
        return Plan(Action.PUSH if reachable else Action.GIVE_UP, Via.HTTP)
    if held is not None and held.holds(wanted):
        if seen.presence is not Presence.RUNNING or situation.has_read:
            return Plan(Action.KEEP, Via.FILE)
        if reachable:
            return Plan(Action.PUSH_AGAIN, Via.HTTP)
        # Of one whose process cannot be seen nothing tells later that it was restarted.
        return Plan(Action.KEEP if seen.process is None else Action.TAKE_UP, Via.FILE)
    if reachable:
        return Plan(Action.PUSH, Via.HTTP)
    return Plan(Action.GIVE_UP if held is None else Action.WRITE, Via.FILE)
