"""`--verbose`: what the package logs, on standard error."""

import logging

from tmsync.commands.output import say
from tmsync.render.text import printable


def log_to_stderr() -> None:
    """Write what the package logs, from INFO on, to standard error (`--verbose`). No secret is ever logged."""
    handler = _ToStderr(logging.INFO)
    logger = logging.getLogger("tmsync")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"tmsync: {printable(record.getMessage())}")
