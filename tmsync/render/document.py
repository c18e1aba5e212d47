"""JSON documents."""

import json
from collections.abc import Mapping
from typing import Any, Final

from tmsync import __version__

STREAMING: Final = frozenset({"watch-mqtt", "serve"})
"""Commands that print a document per line, an error too."""


def document(command: str, fields: Mapping[str, Any]) -> str:
    """One document, ending in a newline.

    Fields:
        command (text): the command that printed it; empty where the command line names none
        version (text): tmsync's
    """
    indent = None if command in STREAMING else 2
    return json.dumps({"command": command, "version": __version__, **fields}, indent=indent, ensure_ascii=True) + "\n"
