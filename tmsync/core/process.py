"""What programs that tmsync starts may see of its own environment."""

from collections.abc import Mapping
from typing import Final

OURS: Final = ("TMSYNC_", "PG")
"""Variables that may hold secrets and are nobody else's business."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program of somebody else's."""
    return {name: value for name, value in environ.items() if not name.startswith(OURS)}
