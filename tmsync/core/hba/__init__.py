"""pg_hba.conf as the server reads it: parse it, judge a client by it, criticise it, cure it.

    hba = read_hba("/etc/postgresql/17/main/pg_hba.conf", server_major=17)
    verdict = evaluate(hba, Client("teslamate", "teslamate", "192.168.1.50"))
    change = cure(hba, Client("teslamate", "teslamate", "192.168.1.50"))

Nothing here prints, reads a clock or opens a connection; files come through a FileReader, names and interfaces
through Surroundings. Source of the rules: PostgreSQL src/backend/libpq/hba.c, versions 12 to 18.
"""

from __future__ import annotations

from importlib import import_module

from tmsync.core.hba.files import DiskReader, FileReader
from tmsync.core.hba.load import NEWEST_SERVER, OLDEST_SERVER, Hba, parse_hba, read_hba
from tmsync.core.hba.match import Client, Outcome, Part, Roles, Surroundings, Verdict, evaluate
from tmsync.core.hba.model import ConnectionType, Family, HbaError, Method, Rule, Token
from tmsync.core.hba.rules import NOT_IN_LINUX_BUILDS, format_rule

# Explanations, advice and remedies load when first asked for: a plain verdict does without them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from tmsync.core.hba.explanation import NearMiss, describe, explain, near_misses, place
    from tmsync.core.hba.insertion import Cure, cure, entry_for, quote_name
    from tmsync.core.hba.lint import Finding, FindingKind, criticise

_LATER = {
    "Finding": "lint", "FindingKind": "lint", "criticise": "lint",
    "NearMiss": "explanation", "describe": "explanation", "explain": "explanation", "near_misses": "explanation",
    "place": "explanation",
    "Cure": "insertion", "cure": "insertion", "entry_for": "insertion", "quote_name": "insertion",
}  # fmt: skip

__all__ = [
    "NEWEST_SERVER", "NOT_IN_LINUX_BUILDS", "OLDEST_SERVER",
    "Client", "ConnectionType", "Cure", "DiskReader", "Family", "FileReader", "Finding", "FindingKind", "Hba",
    "HbaError", "Method", "NearMiss", "Outcome", "Part", "Roles", "Rule", "Surroundings", "Token", "Verdict",
    "criticise", "cure", "describe", "entry_for", "evaluate", "explain", "format_rule", "near_misses", "parse_hba",
    "place", "quote_name", "read_hba",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
