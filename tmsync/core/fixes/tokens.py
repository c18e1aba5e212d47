"""Fixes for TeslaMate's tokens."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
