"""pg_hba.conf as the server reads it: parse it, match a client against it, lint it, find the line that is missing.

    hba = read_hba("/etc/postgresql/17/main/pg_hba.conf", server_major=17)
    result = evaluate(hba, Client("teslamate", "teslamate", "192.168.1.50"))
    change = insertion_for(hba, Client("teslamate", "teslamate", "192.168.1.50"))

Nothing here prints, reads a clock or opens a connection; files come through a FileReader. What depends on the
server's network (host names, its own interfaces) only the server can tell. Source of the rules: PostgreSQL
src/backend/libpq/hba.c, versions 12 to 18.
"""

from tmsync.core.hba.explanation import NearMiss, describe, explain, near_misses, place
from tmsync.core.hba.files import DiskReader, FileReader
from tmsync.core.hba.insertion import Insertion, entry_for, insertion_for, quote_name
from tmsync.core.hba.lint import LintFinding, LintKind, lint_rules
from tmsync.core.hba.match import Client, MatchResult, Part, Roles, evaluate
from tmsync.core.hba.model import ConnectionType, Family, HbaError, Method, Rule, Token
from tmsync.core.hba.parse import Hba, parse_hba, read_hba
from tmsync.core.hba.rules import NOT_IN_LINUX_BUILDS

__all__ = [
    "NOT_IN_LINUX_BUILDS",
    "Client", "ConnectionType", "DiskReader", "Family", "FileReader", "Hba", "HbaError", "Insertion", "LintFinding",
    "LintKind", "MatchResult", "Method", "NearMiss", "Part", "Roles", "Rule", "Token",
    "describe", "entry_for", "evaluate", "explain", "insertion_for", "lint_rules", "near_misses",
    "parse_hba", "place", "quote_name", "read_hba",
]  # fmt: skip
