"""One serve at a time in each serve.state_dir.

Two would take the name of the publishing connection from each other, once a second and for ever, and each would write
over what the other has to remember.
"""

import logging
import os
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.errors import TmsyncError
from tmsync.core.files.lock import patiently
from tmsync.core.files.state import StateError, StateFolder
from tmsync.core.fixes import problem

log = logging.getLogger(__name__)

FILE: Final = "serve.lock"
PATIENCE_S: Final = 10.0
"""One that was told to end may take some seconds for it."""


class InUse(TmsyncError):
    """Another serve uses the folder."""


class StateLock:
    """Holds one folder, from `hold` to `release`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._path: Path | None = None
        self._descriptor: int | None = None

    def hold(self, path: Path) -> None:
        """Hold this folder in place of any other; wait some seconds for it. One that cannot be used is not held.

        Raises: InUse.
        """
        if path == self._path:
            return
        try:
            descriptor = patiently(lambda: StateFolder(path).hold(FILE), self._clock, PATIENCE_S)
        except StateError as error:
            # Whoever needs it tells of it.
            log.info(error.problem.message)
            self.release()
            return
        if descriptor is None:
            message = f"another tmsync serve has used {path} for {PATIENCE_S:g} s"
            raise InUse(problem(Cause.LOCKED, message, variant="serve"))
        self.release()
        self._path, self._descriptor = path, descriptor

    def release(self) -> None:
        """Let another one have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._path = self._descriptor = None
