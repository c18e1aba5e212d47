"""Restarting TWCManager after its settings.json was written, and only while no car charges.

A wall connector stops charging some 30 s after its master falls silent, and a car takes that three times a session.

Source: TWCManager lib/TWCManager/TWCMaster.py (getStatus: carsCharging), lib/TWCManager/TWCSlave.py.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tmsync.core.causes import Cause
from tmsync.core.errors import DeliveryError, Problem
from tmsync.core.fixes import problem
from tmsync.core.process import run_command
from tmsync.core.twcmanager.plan import Action
from tmsync.core.twcmanager.presence import STATUS_TIMEOUT_S, Sighting, Users

log = logging.getLogger(__name__)

RESTART_S: Final = 60.0
Charging: TypeAlias = Callable[[], bool | None]
"""Whether a car charges; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class Restart:
    """How TWCManager is restarted. charging: asked where its web control does not say whether a car charges."""

    command: tuple[str, ...]
    charging: Charging
    environ: Mapping[str, str]

    def obstacle(self, seen: Sighting, users: Users, action: Action) -> Problem | None:
        """Why this run does not restart it; None where it may.

        Whether a car charges may be unknown: one run waits for that (WRITE), and the next one does not (TAKE_UP).
        """
        if not self.command:
            message = (
                f"TWCManager is running ({seen.reason}): it does not read the file before its next start, and its next"
                " save writes its old token over it"
            )
            return problem(Cause.TWCMANAGER_RUNNING, message)
        charging = self._charging(seen, users)
        if charging:
            message = (
                "a car is charging, and restarting TWCManager could end that; a run in which none does restarts it"
            )
            return problem(Cause.RESTART_WAITS, message)
        if charging is None and action is Action.WRITE:
            message = (
                "neither TWCManager's web control nor TeslaMate's records tell whether a car is charging, which"
                " restarting TWCManager could end; the next run restarts it"
            )
            return problem(Cause.RESTART_WAITS, message, variant="unknown")
        return None

    def check(self) -> None:
        """For a run that only tries: whether there is such a program.

        Raises: DeliveryError.
        """
        if shutil.which(self.command[0], path=self.environ.get("PATH")) is None:
            message = f"twcmanager.restart_command ({self.command[0]}) is not a program that this user can run"
            raise DeliveryError(problem(Cause.TWCMANAGER_RUNNING, message, variant="no-command"))

    def run(self, secrets: tuple[str, ...]) -> None:
        """Raises: DeliveryError."""
        log.info("restarting TWCManager: %s", self.command[0])
        words = run_command(self.command, environ=self.environ, timeout_s=RESTART_S, secrets=secrets)
        if words:
            message = f"the file was written, but twcmanager.restart_command ({self.command[0]}) failed: {words}"
            raise DeliveryError(problem(Cause.TWCMANAGER_RUNNING, message, variant="restart-failed"))

    def _charging(self, seen: Sighting, users: Users) -> bool | None:
        from tmsync.core.twcmanager.http import cars_charging

        count = cars_charging(seen.url, STATUS_TIMEOUT_S, users) if seen.url is not None else None
        return self.charging() if count is None else count > 0
