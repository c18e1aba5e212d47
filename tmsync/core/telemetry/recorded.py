"""What TeslaMate's database says against what the broker holds of a vehicle. Pure.

Source: TeslaMate lib/teslamate/log.ex and lib/teslamate/vehicles/vehicle.ex: it writes its records and publishes its
summary in the same moment, so that both agree while it reaches the broker.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tmsync.core.teslamate.records import CarRecord
from tmsync.core.teslamate.topics import Value
from tmsync.core.words import in_words

LEFT_OVER_AFTER: Final = timedelta(days=90)
"""A car whose newest record is so much older than another's was sold, unless it sleeps."""
CONTRADICTS_AFTER: Final = timedelta(seconds=120)
RECORDED_AS: Final[Mapping[str, str]] = {
    state: state for state in ("online", "asleep", "offline", "charging", "driving", "updating")
} | {"suspended": "online"}
"""TeslaMate's state on MQTT -> what its database calls it."""


def left_over(car_id: int, state: str | None, cars: Mapping[int, CarRecord]) -> str:
    """Why the values of a vehicle are remnants of former days; empty where they are not, or nothing is known."""
    if not cars:
        return ""
    record = cars.get(car_id)
    if record is None:
        return "left over: TeslaMate's database does not hold this car"
    if record.enabled is False:
        return "left over: its logging is switched off in TeslaMate"
    newest = max((car.last_record_at for car in cars.values() if car.last_record_at is not None), default=None)
    if newest is None or record.last_record_at is None or state in ("asleep", "offline"):
        return ""
    behind = newest - record.last_record_at
    return (
        f"left over: its newest record is {behind.days} d older than another car's" if behind > LEFT_OVER_AFTER else ""
    )


def contradiction(
    state: str | None, since: datetime | None, level: Value, record: CarRecord | None, at: datetime
) -> str:
    """What has been otherwise in the database than on the broker for so long that TeslaMate must have lost the broker.

    level: battery level in percent, as the broker has it. at: the time by the database's clock.
    """
    if record is None:
        return ""
    recorded = record.state
    told = RECORDED_AS.get(state or "")
    in_dead_zone = state == "offline" and recorded == "driving"
    if told is not None and recorded is not None and record.state_since is not None and not in_dead_zone:
        lasts = at - record.state_since
        # A drive or charge that was never closed, as by a restart in its midst, is older than what was said since.
        is_older = since is not None and since > record.state_since
        if told != recorded and lasts > CONTRADICTS_AFTER and not is_older:
            return f"its database has had the car {recorded} for {in_words(lasts)}, the broker says {state}"
    levels = record.levels
    # One that was never recorded is newer than all records, not older.
    older = next((index for index, (_, recorded_level) in enumerate(levels) if recorded_level == level), 0)
    if older and at - levels[older - 1][0] > CONTRADICTS_AFTER:
        return f"its newest record has the battery at {levels[0][1]} %, the broker still at {levels[older][1]} %"
    return ""
