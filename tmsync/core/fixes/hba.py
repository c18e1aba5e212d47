"""Fixes for pg_hba.conf."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
