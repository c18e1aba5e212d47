"""Fixes for delivery to TWCManager."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
