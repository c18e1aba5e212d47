"""Why the entry somebody hoped for does not apply: rules that come too late, and rules that fail on one column."""

from __future__ import annotations

from dataclasses import dataclass

from tmsync.core.hba.match import Client, Matcher, MatchResult, Part, Roles
from tmsync.core.hba.model import ConnectionType, Family, Method, Rule, shown
from tmsync.core.hba.parse import Hba

_GENERAL = {"all", "sameuser", "samerole", "samegroup", "replication"}


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule about this client that does not decide. failed: columns that do not fit; none when it comes too late."""

    rule: Rule
    failed: tuple[Part, ...]


def near_misses(hba: Hba, client: Client, roles: Roles | None = None, limit: int = 10) -> list[NearMiss]:
    """Rules that name the client's user, database or network but fail on another column, and rules that would match
    were another not before them. Fewest failures first, then file order; at most `limit`."""
    matcher = Matcher(client, roles or Roles(), hba.server_major)
    found: list[NearMiss] = []
    decided = False
    for rule in hba.rules:
        failed = tuple(matcher.failures(rule))
        if not failed and not decided:
            decided = True
        elif not failed or _mentions(rule, failed, client):
            found.append(NearMiss(rule, failed))
    return sorted(found, key=lambda miss: len(miss.failed))[:limit]


def _mentions(rule: Rule, failed: tuple[Part, ...], client: Client) -> bool:
    """One of the columns that fit is about this client in particular."""
    if Part.USER not in failed and not any(token.is_keyword("all") for token in rule.users):
        return True
    if Part.DATABASE not in failed and not any(not t.quoted and t.text in _GENERAL for t in rule.databases):
        return True
    if client.address is None or Part.ADDRESS in failed:
        return False
    family, _, mask, _ = rule.net
    return mask != 0 or family in (Family.NAME, Family.SAMEHOST, Family.SAMENET)


def place(rule: Rule) -> str:
    """`line 97` or, in another file, `line 3 of /etc/x.conf`."""
    return f"line {rule.line} of {rule.file}" if rule.included else f"line {rule.line}"


def explain(hba: Hba, client: Client, result: MatchResult, misses: list[NearMiss]) -> list[str]:
    """The result and its reasons, one sentence each, most important first."""
    sentences = [f"the server refuses this file: {error}" for error in hba.errors]
    rule = result.rule
    if rule is None:
        sentences.append(f"no line matches {describe(client)}")
    elif result.method is Method.REJECT:
        sentences.append(f"{place(rule)} `{shown(rule)}` matches first and rejects {describe(client)}")
    else:
        sentences.append(f"{place(rule)} `{shown(rule)}` matches first and demands {result.outcome}")
        sentences += _method_notes(rule)
    for doubt in result.doubts:
        sentences.append(
            f"{place(doubt)} `{shown(doubt)}` comes earlier, and only the server can tell whether it matches"
        )
    return sentences + [_miss(miss, rule, client) for miss in misses]


def _method_notes(rule: Rule) -> list[str]:
    certificate = dict(rule.options).get("clientcert", "verify-full" if rule.method is Method.CERT else "")
    if certificate.startswith("verify") or certificate == "1":
        return [f"{place(rule)} lets in only clients that show a certificate the server trusts"]
    return []


def describe(client: Client) -> str:
    """The client in words."""
    database = "physical replication" if client.replication else f'database "{client.database or client.user}"'
    if client.address is None:
        return f'user "{client.user}", {database}, on the Unix socket'
    encryption = "with TLS" if client.tls else "with GSSAPI encryption" if client.gss else "without TLS"
    return f'user "{client.user}", {database}, address {client.address}, {encryption}'


def _miss(miss: NearMiss, first: Rule | None, client: Client) -> str:
    text = f"{place(miss.rule)} `{shown(miss.rule)}`"
    if not miss.failed:
        before = f"{place(first)} `{shown(first)}`" if first is not None else "another line"
        return f"{text} would match, but {before} comes first"
    reasons = [_reason(part, miss.rule, client) for part in miss.failed]
    return f"{text} does not match: {', '.join(reasons)}"


def _reason(part: Part, rule: Rule, client: Client) -> str:
    if part is Part.TYPE:
        return _TYPE_REASONS[rule.type] if client.address is not None else "it is for TCP connections"
    if part is Part.ADDRESS:
        return f"its address does not cover {client.address}"
    if part is Part.USER:
        return f'its users do not include "{client.user}"'
    if client.replication:
        return "physical replication needs the word replication as database"
    return f'its databases do not include "{client.database or client.user}"'


_TYPE_REASONS = {
    ConnectionType.LOCAL: "it is for the Unix socket only",
    ConnectionType.HOST: "it is for TCP connections",
    ConnectionType.HOSTSSL: "it wants TLS and the connection has none",
    ConnectionType.HOSTNOSSL: "it wants no TLS and the connection has it",
    ConnectionType.HOSTGSSENC: "it wants GSSAPI encryption and the connection has none",
    ConnectionType.HOSTNOGSSENC: "it wants no GSSAPI encryption and the connection has it",
}
