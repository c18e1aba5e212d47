"""The file in serve.state_dir that keeps what the facade remembers."""

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Problem
from tmsync.core.files.state import StateError, StateFolder
from tmsync.core.serve.memory import Memory, encoded_memory
from tmsync.core.serve.problems import OpenProblems

log = logging.getLogger(__name__)

STATE_FILE: Final = "facade.json"
WAIT_S: Final = 1.0
"""A disk that takes longer must keep no charge from being stopped."""


class MemoryFile:
    """Written in a thread of its own: one that hangs on a disk hinders nobody else."""

    def __init__(self, folder: StateFolder, memory: Memory, problems: OpenProblems) -> None:
        self._folder = folder
        self._memory = memory
        self._problems = problems
        self._wanted = self._written = b""
        self._thread = ThreadPoolExecutor(1, "state")
        self._writing: asyncio.Future[Problem | None] | None = None

    def restore(self, now: float) -> None:
        """Take over what an earlier process left. now: seconds of running time."""
        try:
            document: Any = json.loads(self._folder.read(STATE_FILE) or b"null")
        except (StateError, ValueError, RecursionError):
            return
        self._memory.restore(document, now)

    async def save(self) -> None:
        """Never raises."""
        self._wanted = encoded_memory(self._memory)
        while self._wanted != self._written:
            writing = self._writing
            if writing is None or writing.done():
                writing = self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write)
            # Others wait for it, too, and may have begun the next one by then.
            done, _ = await asyncio.wait({writing}, timeout=WAIT_S)
            if not done:
                log.warning(f"{STATE_FILE} takes long to be written")
                return
            if (found := writing.result()) is not None:
                self._problems.raised(found, critical=True)
                return
            self._problems.cleared(Cause.STATE_UNUSABLE)

    def close(self) -> None:
        """Write no more."""
        self._thread.shutdown(wait=False)

    def _write(self) -> Problem | None:
        data = self._wanted
        try:
            self._folder.write(STATE_FILE, data)
        except StateError as error:
            return error.problem
        self._written = data
        return None
