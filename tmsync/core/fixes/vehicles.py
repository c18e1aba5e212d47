"""Fixes for vehicles and their telemetry."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
