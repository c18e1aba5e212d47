"""Fixes for the way to TeslaMate's database: network, protocol, TLS, login, tables."""

from typing import Final

from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {}
