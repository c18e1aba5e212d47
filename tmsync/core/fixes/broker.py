"""Fixes for the MQTT broker."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
