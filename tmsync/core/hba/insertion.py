"""The line that lets a client in, and where in the file it must stand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tmsync.core.hba.addresses import client_ip, format_ip
from tmsync.core.hba.match import DATABASE_KEYWORDS, Client, MatchResult, Roles, evaluate
from tmsync.core.hba.model import Family, Method, Rule
from tmsync.core.hba.parse import Hba, parse_hba
from tmsync.core.hba.tokens import CONTINUATION_SINCE, REGEX_SINCE

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.$-]*\Z")
_ORDINARY = re.compile(r"[A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Insertion:
    """A change of the main file.

    line: the new line, without line end.  insert_before_line: its line number in `new_text`, so the line that stands
    there now (from 1) moves down; one past the last line means at the end.
    ahead_of: the rule that would otherwise decide, None when none matched. If it is `included`, the new line goes
    ahead of the include directive in the main file.
    result: what the server demands of the client once the file reads `new_text`.
    """

    line: str
    insert_before_line: int
    new_text: str
    result: MatchResult
    ahead_of: Rule | None = None


def quote_name(name: str, *, database: bool, server_major: int = 17) -> str:
    """`name` as a column that means this one name and nothing else; raises ValueError when no spelling can.

    Since 16 a leading slash makes a regular expression even within quotes, so such a name becomes an anchored one.
    """
    if "\n" in name or "\0" in name:
        raise ValueError("a name with a line feed cannot be written in pg_hba.conf")
    keywords = DATABASE_KEYWORDS if database else ("all",)
    if _PLAIN_NAME.match(name) and name not in keywords:
        return name
    if name.startswith("/") and server_major >= REGEX_SINCE:
        name = "/^" + "".join(c if _ORDINARY.match(c) or not c.isascii() else "\\" + c for c in name) + "$"
    return '"' + name.replace('"', '""') + '"'


def entry_for(client: Client, roles: Roles | None = None, server_major: int = 17) -> str:
    """The narrowest line that lets `client` log in with its password.

    The method is scram-sha-256, or md5 for a role known to have its password stored as MD5. Raises ValueError when
    the client's address is not an IP address or a name cannot be written.
    """
    database = "replication"
    if not client.replication:
        database = quote_name(client.database or client.user, database=True, server_major=server_major)
    user = quote_name(client.user, database=False, server_major=server_major)
    stored_md5 = roles is not None and roles.md5_verifier is not None and client.user in roles.md5_verifier
    method = Method.MD5 if stored_md5 else Method.SCRAM
    if client.address is None:
        return f"local {database} {user} {method}"
    family, number = client_ip(client.address)
    return f"host {database} {user} {format_ip(family, number)}/{32 if family is Family.IPV4 else 128} {method}"


def insertion_for(
    hba: Hba,
    client: Client,
    line_text: str | None = None,
    roles: Roles | None = None,
) -> Insertion | None:
    """Where to insert `line_text` (default: `entry_for` the client) so that it decides about the client.

    Proven by parsing and evaluating the changed text. None when it would not help: the server refuses the file, the
    client already gets that method, or the line does not let it in. Raises ValueError like `entry_for`.
    """
    if line_text is None:
        line_text = entry_for(client, roles, hba.server_major)
    if any(error.line for error in hba.errors) or "\n" in line_text or "\0" in hba.text:
        return None
    now = evaluate(hba, client, roles)
    ahead_of = min(filter(None, (now.rule, *now.doubts)), key=lambda rule: rule.main_line, default=None)
    number, new_text = _insert(hba, line_text, None if ahead_of is None else ahead_of.main_line)
    changed = parse_hba(
        new_text, path=hba.path, server_major=hba.server_major, reader=hba.reader, unsupported=hba.unsupported
    )
    then = evaluate(changed, client, roles)
    rule = then.rule
    decides = rule is not None and not rule.included and rule.line == number and then.allowed
    if changed.errors or not decides or (then.method is now.method and not now.doubts):
        return None
    return Insertion(line_text, number, new_text, then, ahead_of)


def _insert(hba: Hba, line: str, before: int | None) -> tuple[int, str]:
    """(line number, new text). Line ends are those of the file."""
    text = hba.text
    end = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    lines = text.split("\n")
    if before is not None:
        lines.insert(before - 1, line + end[:-1])
        return before, "\n".join(lines)
    if text and not text.endswith("\n"):
        text += end
        lines.append("")
    if hba.server_major >= CONTINUATION_SINCE and len(lines) > 1 and lines[-2].rstrip("\r").endswith("\\"):
        text += end  # an empty line ends the continuation, which would swallow ours
        lines.append("")
    return len(lines), text + line + end
