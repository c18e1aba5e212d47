"""JSON documents."""

import json
from collections.abc import Mapping
from typing import Any

from tmsync import __version__


def document(command: str, fields: Mapping[str, Any]) -> str:
    """One document, headed by command and version, ending in a newline."""
    return json.dumps({"command": command, "version": __version__, **fields}, indent=2, ensure_ascii=True) + "\n"
