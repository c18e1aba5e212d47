"""Fixes for settings, files and command lines."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
