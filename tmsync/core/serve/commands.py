"""What TWCManager commanded, and whether TeslaMate has shown since what came of it. Pure.

Until it has, its values are older than the command and would contradict it: the charge just stopped would go on, and be
stopped again, or the limit just set would be the old one.

Source: TeslaMate lib/teslamate/vehicles/vehicle.ex: a position or a charge is recorded whenever data came from Tesla
(entering online, every few seconds while charging or driving, every five minutes while online).
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from tmsync.core.telemetry.liveness import LivenessReport
from tmsync.core.telemetry.views import VehicleView
from tmsync.core.teslamate.records import CarRecord

SHOWN_AFTER_S: Final = 5.0
"""A summary that is so much newer than the answer to a command shows what came of it."""
ASLEEP_AFTER_S: Final = 120.0
"""Waking takes so long, and so TeslaMate may still say asleep before."""
BURST_S: Final = 1.0
"""The values of a summary come in random order, together with the record: by then they are all there."""
AWAKE: Final = frozenset({"online", "charging", "driving"})


class PendingCommand(NamedTuple):
    """The newest command to a car, or several that went up together."""

    under_way: int = 0
    """How many are not answered yet."""
    answered_at: float = 0.0
    """When Tesla answered the last one, in seconds of running time."""
    limit: int | None = None
    """The charge limit in percent that TeslaMate must show."""
    record_at: datetime | None = None
    """The newest record at that time."""


def newest_record(car: CarRecord | None) -> datetime | None:
    """When data of the car last came from Tesla, by TeslaMate's records. UTC."""
    moments = () if car is None else (car.position_at, car.charge_at)
    return max((moment for moment in moments if moment is not None), default=None)


def is_settled(
    command: PendingCommand, view: VehicleView | None, car: CarRecord | None, report: LivenessReport, now: float
) -> bool:
    """Whether TeslaMate has shown what came of the command. view: as it is now, and trusted."""
    if command.under_way or view is None or view.heard_at is None:
        return False
    if view.heard_at < view.cut_off_until:
        # The summary with the newer record may be the one that the broker, or we, did not get.
        return False
    since = view.heard_at - command.answered_at
    if view.state not in AWAKE:
        return view.state in ("asleep", "offline") and since >= ASLEEP_AFTER_S
    if since < SHOWN_AFTER_S or not _has_newer_record(command, car, report, now):
        return False
    limit = view.telemetry.get("charge_limit_soc") if "charge_limit_soc" in view.told else None
    return command.limit is None or limit == command.limit


def _has_newer_record(command: PendingCommand, car: CarRecord | None, report: LivenessReport, now: float) -> bool:
    record = newest_record(car)
    if record is None or report.database_at is None or now - report.read_at < BURST_S:
        return False
    # By the database's clock, rather late than early: it was read between asked_at and read_at.
    answered = report.database_at + timedelta(seconds=command.answered_at - report.asked_at)
    return record > answered and (command.record_at is None or record > command.record_at)
