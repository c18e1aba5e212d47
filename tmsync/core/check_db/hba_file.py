"""The check hba-file: which line of a pg_hba.conf decides about this client, and the line that would fix it.

Needs no server. Source: PostgreSQL src/backend/libpq/hba.c; documentation, "The pg_hba.conf File".
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.check_db.report import Check, CheckId, Status
from tmsync.core.files.paths import read_regular
from tmsync.core.fixes import problem
from tmsync.core.hba import Client, DiskReader, Hba, MatchResult, Method, Roles, evaluate, parse_hba
from tmsync.core.hba.model import masked, shown

if TYPE_CHECKING:
    from tmsync.core.hba import Insertion

DEFAULT_MAJOR: Final = 17
LINTED_RULES: Final = 1000
"""A file of more rules is not searched for unreachable ones: that takes longer than all the rest."""
SHOWN_FINDINGS: Final = 5
PASSWORD_METHODS: Final = frozenset(
    {Method.TRUST, Method.PASSWORD, Method.MD5, Method.SCRAM, Method.LDAP, Method.PAM, Method.RADIUS}
)
"""What a client with a password gets through; trust does not even ask."""


class HbaQuery(NamedTuple):
    """Which client to match against which file.

    clients: the ways libpq tries, in order (with TLS, without); the first that is let in counts.
    member_of: roles the user is in, for `+role` entries.
    server_major: the server's version; None where it is not known.
    """

    path: Path
    clients: tuple[Client, ...]
    member_of: tuple[str, ...] = ()
    server_major: int | None = None

    @property
    def roles(self) -> Roles:
        """As the evaluator takes them."""
        return Roles({self.clients[0].user: self.member_of})


class HbaFileResult(NamedTuple):
    """The check, and the change of the file that would fix it, where there is one; `text` is what it was made from."""

    check: Check
    insertion: "Insertion | None" = None
    text: str = ""


def major_of(path: Path) -> int | None:
    """The server version a pg_hba.conf belongs to: PG_VERSION beside it, or Debian's folder name."""
    try:
        match = re.match(rb"\d+", read_regular(path.with_name("PG_VERSION"), 16)[0])
    except OSError:
        folder = re.search(r"/postgresql/(\d+)/", str(path))
        return int(folder[1]) if folder else None
    return int(match[0]) if match else None


def check_file(query: HbaQuery) -> HbaFileResult:
    """Match the client against the file on this machine."""
    path = query.path
    try:
        text = DiskReader().read_text(str(path))
    except OSError as error:
        return _unreadable(path, error.strerror or "unknown error", missing=isinstance(error, FileNotFoundError))
    major = query.server_major or major_of(path) or DEFAULT_MAJOR
    return match_client(query, parse_hba(text, path=str(path), server_major=major))


def match_client(query: HbaQuery, hba: Hba) -> HbaFileResult:
    """Match the client against a parsed file."""
    client, result = first_allowed(query, hba)
    more = _document(hba, result)
    if any(error.line for error in hba.errors):
        return HbaFileResult(_broken(hba, client, result, more))
    from tmsync.core.hba import describe, place

    if result.method in PASSWORD_METHODS and not result.doubts:
        assert result.rule is not None  # noqa: S101 - only a rule lets anybody in
        summary = f"{place(result.rule)} decides: {describe(client)} is let in by {result.outcome}"
        findings = _findings(hba, query.roles)
        details = (shown(result.rule), *_shown(findings))
        more = {**more, "findings": findings}
        about_it = any(finding["line"] == result.rule.line for finding in findings)
        if about_it:
            wide = problem(Cause.TOO_WIDE, summary, details=details)
            return HbaFileResult(Check(CheckId.HBA_FILE, Status.WARN, problem=wide, more=more))
        return HbaFileResult(Check(CheckId.HBA_FILE, Status.PASS, summary, notes=details, more=more))
    return _shut(query, hba, client, result, more)


def first_allowed(query: HbaQuery, hba: Hba) -> tuple[Client, MatchResult]:
    """The first way that is let in, or else the first way, with its result."""
    results = [(client, evaluate(hba, client, query.roles)) for client in query.clients]
    return next((pair for pair in results if pair[1].allowed), results[0])


def _document(hba: Hba, result: MatchResult) -> dict[str, Any]:
    """What the check hba-file has besides a check's fields.

    Fields:
        match (object or null, optional): the line that decides
        match.line (integer): its number in its file, from 1; of a continued line the first
        match.text (text): the line
        match.method (text): its authentication method
        match.file (text, optional): the included file it stands in
        outcome (text or null, optional): the method, `reject`, or `no-entry`; null where the file cannot be read
        errors (list of object, optional): what the server would not accept
        errors[].line (integer): the line's number; 0 for the whole file
        errors[].message (text): the server's own words for it
        errors[].file (text, optional): the included file it stands in
        server_major (integer, optional): the PostgreSQL version whose rules were applied
        findings (list of object, optional): lines that are wider, weaker or deader than meant
        findings[].line (integer): the line's number
        findings[].kind (LintKind): what is wrong with it
        findings[].message (text): the same in words
        insert_before_line (integer, optional): where `hba_line` belongs, where it must be added
        diff (text, optional): that change as a unified diff
        applied (boolean, optional): whether --apply has written it
        backup (text, optional): the file as it was before --apply
        reloaded (boolean, optional): whether the server has read the new file
    """
    rule = result.rule
    match = None
    if rule is not None:
        match = {"line": rule.line, "text": shown(rule), "method": rule.method.value}
        if rule.included:
            match["file"] = rule.file
    errors: list[dict[str, Any]] = []
    for error in hba.errors:
        errors.append({"line": error.line, "message": error.told})
        if error.included:
            errors[-1]["file"] = error.file
    return {"match": match, "outcome": result.outcome, "errors": errors, "server_major": hba.server_major}


def _broken(hba: Hba, client: Client, result: MatchResult, more: dict[str, Any]) -> Check:
    from tmsync.core.hba import explain

    first = hba.errors[0]
    where = f"line {first.line}" if first.line else "the whole file"
    count = f" (and {len(hba.errors) - 1} more)" if len(hba.errors) > 1 else ""
    details = tuple(explain(hba, client, result, []))
    broken = problem(Cause.SYNTAX_ERROR, f"{where}: {first.told}{count}", details=details)
    return Check(CheckId.HBA_FILE, Status.FAIL, problem=broken, more=more)


def _shut(query: HbaQuery, hba: Hba, client: Client, result: MatchResult, more: dict[str, Any]) -> HbaFileResult:
    from tmsync.core.hba import describe, explain, insertion_for, near_misses, place

    roles = query.roles
    reasons = explain(hba, client, result, near_misses(hba, client, roles, limit=SHOWN_FINDINGS))
    cause = {None: Cause.NO_ENTRY, Method.REJECT: Cause.REJECTED}.get(result.method, Cause.NO_PASSWORD_METHOD)
    rule = result.rule
    what = {
        Cause.NO_ENTRY: f"no line matches {describe(client)}",
        Cause.REJECTED: f"{place(rule) if rule else ''} rejects {describe(client)}",
    }.get(cause, f"{place(rule) if rule else ''} asks {describe(client)} for {result.outcome}, not a password")
    try:
        change = insertion_for(hba, client, None, roles)
    except ValueError:
        change = None
    values: dict[str, Any] = {"at": None, "path": hba.path, "line": None, "diff": None}
    if change is not None:
        more = {**more, "insert_before_line": change.insert_before_line, "diff": diff(hba, change)}
        at = f"before line {change.insert_before_line}" if rule or result.doubts else "at the end"
        values |= {"at": at, "line": change.line, "diff": more["diff"]}
    line = values["line"]
    details = tuple(reason for reason in reasons if reason != what)
    shut = problem(cause, what, variant="file", details=details, **values)
    check = Check(CheckId.HBA_FILE, Status.FAIL, problem=shut, hba_line=line, more={**more, "applied": False})
    return HbaFileResult(check, change, hba.text)


def diff(hba: Hba, change: "Insertion") -> str:
    """The change as a unified diff."""
    import difflib

    before, after = (masked(text).splitlines(keepends=True) for text in (hba.text, change.new_text))
    lines = difflib.unified_diff(before, after, hba.path, hba.path, n=2)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _findings(hba: Hba, roles: Roles) -> list[dict[str, Any]]:
    """What is wrong with the rules whoever connects; none for a file too large to search."""
    if len(hba.rules) > LINTED_RULES:
        return []
    from tmsync.core.hba import lint_rules

    return [
        {"line": finding.line, "kind": finding.kind.value, "message": finding.message}
        for finding in lint_rules(hba, roles)
    ]


def _shown(findings: list[dict[str, Any]]) -> list[str]:
    lines = [f"line {finding['line']}: {finding['message']}" for finding in findings[:SHOWN_FINDINGS]]
    rest = len(findings) - len(lines)
    return [*lines, f"and {rest} more remarks"] if rest else lines


def _unreadable(path: Path, what: str, *, missing: bool = False) -> HbaFileResult:
    more: dict[str, Any] = {"match": None, "outcome": None, "errors": []}
    variant = "hba-missing" if missing else "hba"
    unreadable = problem(Cause.UNREADABLE_FILE, f"{path} cannot be read: {what}", variant=variant)
    return HbaFileResult(Check(CheckId.HBA_FILE, Status.FAIL, problem=unreadable, more=more))
