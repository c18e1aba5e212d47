"""Which retained topics are ours on the broker, kept over restarts.

tmsync never subscribes to its own prefix: whoever listens there could not tell its own words from another's, and a
broker full of them would be read at every start. So it remembers what it has published, in a file in its state folder,
and writes a topic down before the topic is first published: after a crash the file names too many, never too few.
"""

import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tmsync.core.errors import Problem
from tmsync.core.files.state import StateError, StateFolder

log = logging.getLogger(__name__)

NAME: Final = "published.json"


class Ledger:
    """The file, and what it says. It serves one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = StateFolder(folder)
        self.topics: set[str] = set()
        self.client_id = f"tmsync-{os.urandom(8).hex()}"
        """The same at every start: the broker then ends the session of a run that a power failure killed when the next
        one begins, and not some minute later with an "offline" that is no longer true."""
        try:
            found = self._folder.read(NAME)
            if found:
                known = json.loads(found)
                self.topics = {topic for topic in known["topics"] if isinstance(topic, str)}
                self.client_id = str(known["client_id"])
        except (StateError, ValueError, TypeError, KeyError) as error:
            log.info(f"{folder / NAME} cannot be read ({error}): what an earlier run published may stay on the broker")

    def write(self, topics: Collection[str]) -> Problem | None:
        """From now on these are ours. What keeps that from being written down, if anything."""
        self.topics = set(topics)
        known = {"client_id": self.client_id, "topics": sorted(self.topics)}
        try:
            self._folder.write(NAME, json.dumps(known, indent=1).encode())
        except StateError as error:
            return error.problem
        return None
