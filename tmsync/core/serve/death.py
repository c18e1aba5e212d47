"""TeslaMate's death, and what follows from it: its token ends, and nobody renews it. Pure."""

from collections.abc import Sequence
from datetime import datetime

from tmsync.core.clock import iso
from tmsync.core.errors import Cause, Problem
from tmsync.core.fixes import problem
from tmsync.core.telemetry.fleet import VehicleView
from tmsync.core.telemetry.liveness import LivenessReport


def is_gone(report: LivenessReport, views: Sequence[VehicleView]) -> bool:
    """Whether TeslaMate is gone: its sessions decide where they can be seen, else its web server, else its silence."""
    if report.sessions is not None:
        return not report.sessions
    if report.is_open:
        # Missing for less than half a minute: the next looks tell.
        return False
    if report.evidence.gone_at is not None or report.evidence.alive_at is not None:
        return report.evidence.says_gone(None)
    return bool(views) and all(view.judgement.cause is Cause.STALE for view in views)


def cut_off(expires_at: datetime | None, now: datetime) -> Problem:
    """The problem of a TeslaMate that is gone. expires_at: when its token ends; None where that is not known."""
    if expires_at is None:
        when = "as soon as that ends, at a time that is not known"
    else:
        when = f"since {iso(expires_at)}" if expires_at <= now else f"from {iso(expires_at)} on"
    message = f"TeslaMate is gone and renews its token no more: TWCManager is cut off from Tesla {when}"
    return problem(Cause.TESLAMATE_GONE, message)
