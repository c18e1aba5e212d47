"""Which retained topics are ours on the broker, kept over restarts.

tmsync never subscribes to its own prefix: whoever listens there could not tell its own words from another's, and a
broker full of them would be read at every start. So it remembers what it has published, in a file in its state folder,
and writes a topic down before the topic is first published: after a crash the file names too many, never too few.
"""

import contextlib
import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tmsync.core.errors import Cause, Problem
from tmsync.core.files.paths import read_regular
from tmsync.core.files.replace import sweep, write_beside
from tmsync.core.fixes import problem

log = logging.getLogger(__name__)

NAME: Final = "published.json"
MARKER: Final = ".published-"
MAX_BYTES: Final = 4 << 20


class Ledger:
    """The file, and what it says. It serves one process at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.topics: set[str] = set()
        self.client_id = f"tmsync-{os.urandom(8).hex()}"
        """The same at every start: the broker ends the session of a process that a power failure killed when the next
        one comes, and not some minute later with an "offline" that is no longer true."""
        self._read()

    def _read(self) -> None:
        try:
            data, _ = read_regular(self.path, MAX_BYTES)
            known = json.loads(data)
            self.topics = {topic for topic in known["topics"] if isinstance(topic, str)}
            self.client_id = str(known["client_id"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.info(f"{self.path} cannot be read ({type(error).__name__}): what was published before stays")

    def write(self, topics: Collection[str]) -> Problem | None:
        """From now on these are ours. The problem that keeps it from being written down, if any."""
        self.topics = set(topics)
        text = json.dumps({"client_id": self.client_id, "topics": sorted(self.topics)}, indent=1)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep(self.path, MARKER)
            temporary = write_beside(self.path, text.encode(), None, MARKER)
            try:
                temporary.replace(self.path)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror or error}; topics of cars that go will stay"
            return problem(Cause.OUTPUT_UNWRITABLE, message, variant="state")
        return None
