"""TeslaMate's death, and what follows from it: its token ends, and nobody renews it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.clock import iso
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.telemetry.health import Verdict
from tmsync.core.telemetry.liveness import EVERY_S, LivenessReport
from tmsync.core.telemetry.views import VehicleView


class Death(StrEnum):
    """What is known of it."""

    PROVEN = "proven"
    """A second witness saw that TeslaMate is gone."""
    LIKELY = "likely"
    """It is silent about every car of which it should speak, and nobody has seen it alive since."""


LOOK_S: Final = EVERY_S + 10
"""Within so long after a witness saw TeslaMate alive, one that finds it gone has looked again."""
ALIVE: Final = frozenset({Verdict.FRESH, Verdict.LATE, Verdict.UNHEALTHY, Verdict.BLIND})


def death(report: LivenessReport, views: Sequence[VehicleView]) -> Death | None:
    """None where TeslaMate lives, as far as is known."""
    if report.sessions:
        return None
    if report.sessions is False or report.evidence.says_gone(None):
        # Witnesses are asked once a minute, and may be wrong, such as a web server at another address.
        seen = report.evidence.alive_at
        return None if any(_is_heard(view, seen) for view in views) else Death.PROVEN
    silent = [view for view in views if view.judgement.cause is Cause.STALE]
    lives = any(view.judgement.verdict in ALIVE for view in views) or report.evidence.vouches
    return Death.LIKELY if silent and not lives else None


def _is_heard(view: VehicleView, seen: float | None) -> bool:
    """Whether TeslaMate has gone on speaking of the car after a witness saw it alive for the last time."""
    if view.heard_at is None or view.judgement.verdict not in ALIVE:
        return False
    return seen is None or view.heard_at > seen + LOOK_S


def cut_off(found: Death, expires_at: datetime | None, now: datetime) -> Problem:
    """What follows from it. expires_at: when TeslaMate's last token ends; None where that is not known."""
    if expires_at is None:
        when = "as soon as that ends, at a time that is not known"
    else:
        when = f"since {iso(expires_at)}" if expires_at <= now else f"from {iso(expires_at)} on"
    if found is Death.PROVEN:
        message = f"TeslaMate is gone and renews its token no more: TWCManager is cut off from Tesla {when}"
    else:
        message = f"TeslaMate is silent about every car: if it is gone, TWCManager is cut off from Tesla {when}"
    return problem(Cause.TESLAMATE_GONE, message)
