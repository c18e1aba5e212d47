"""What TeslaMate's database holds of the values that the broker has lost, read in a thread of its own."""

import logging
import threading
from typing import Final

from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.publish.values import Recorded
from tmsync.core.telemetry.views import VehicleView

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
ALWAYS_THERE: Final = frozenset({"display_name", "latitude", "odometer", "battery_level", "ideal_battery_range_km"})
"""What TeslaMate publishes of every car: where one of them is missing, the broker has lost it."""


class RecordedValues:
    """Read once somebody misses some, and again every minute while that lasts."""

    def __init__(self, target: DatabaseSettings) -> None:
        self._target = target
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorded", daemon=True)
        self.values: Recorded = {}
        """As last read."""

    def start(self) -> None:
        """Begin to wait for somebody who misses something."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; a query under way ends by itself."""
        self._stopping.set()
        self._wanted.set()

    def look_at(self, view: VehicleView) -> None:
        """Read soon, if this car lacks what the database may know."""
        if not view.telemetry.keys() >= ALWAYS_THERE:
            self._wanted.set()

    def _run(self) -> None:
        from tmsync.core.postgres.session import ConnectFailed, QueryFailed, connect
        from tmsync.core.teslamate.last_values import read_last_values

        while True:
            self._wanted.wait()
            if self._stopping.is_set():
                return
            try:
                with connect(self._target) as session:
                    self.values = read_last_values(session)
            except (ConnectFailed, QueryFailed) as error:
                log.info(f"TeslaMate's database cannot be asked for values: {type(error).__name__}")
            self._stopping.wait(EVERY_S)
            self._wanted.clear()
