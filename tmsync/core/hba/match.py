"""Which rule meets a client first, and what the server then demands.

Source: PostgreSQL src/backend/libpq/hba.c (check_hba, check_db, check_role),
src/backend/libpq/auth.c (CheckPWChallengeAuth) and src/backend/tcop/backend_startup.c (ProcessStartupPacket).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from tmsync.core.hba.addresses import client_ip
from tmsync.core.hba.model import ConnectionType, Family, Method, Network, Rule, Token
from tmsync.core.hba.parse import Hba
from tmsync.core.hba.regexes import matches_regex
from tmsync.core.hba.tokens import REGEX_SINCE

DATABASE_KEYWORDS = ("all", "sameuser", "samerole", "samegroup", "replication")
_NAME_BYTES = 63  # NAMEDATALEN - 1: longer names are cut in the start-up packet
_SCRAM_DEFAULT_SINCE = 14
_LOOPBACK_V4 = (127 << 24) + 1
_TCP = frozenset(kind for kind in ConnectionType if kind is not ConnectionType.LOCAL)


class Client(NamedTuple):
    """A connection as it reaches the server.

    database: the empty string means the user's own name, as for libpq.
    address: numeric, as the server sees it (a Docker gateway, a NAT address); None for the Unix socket.
    tls, gss: the connection is encrypted by TLS, by GSSAPI.
    replication: physical replication (replication=true); logical replication counts as an ordinary connection.
    """

    user: str
    database: str = ""
    address: str | None = None
    tls: bool = False
    gss: bool = False
    replication: bool = False


class Roles(NamedTuple):
    """What is known of the server's roles.

    member_of: direct memberships, role -> the roles it is in. Superusers count as members only where it says so.
    md5_verifier: roles whose password is stored as an MD5 hash; None when not known.
    """

    member_of: Mapping[str, Iterable[str]] = MappingProxyType({})
    md5_verifier: frozenset[str] | None = None

    def memberships(self, role: str) -> frozenset[str]:
        """The role itself and every role it is in, directly or not."""
        reached, waiting = {role}, [role]
        while waiting:
            new = set(self.member_of.get(waiting.pop(), ())) - reached
            reached |= new
            waiting.extend(new)
        return frozenset(reached)


class Part(StrEnum):
    """A column of a rule that a client may fail on."""

    TYPE = "type"
    DATABASE = "database"
    USER = "user"
    ADDRESS = "address"


NO_ENTRY: Final = "no-entry"
"""The outcome where no line matches."""


class MatchResult(NamedTuple):
    """rule: the first that matches, and method: what the server then demands; None where no line matches.

    doubts: earlier rules that may match, which only the server can tell (host names, samehost, samenet, regular
    expressions beyond the simple ones); they were taken as not matching.
    """

    method: Method | None
    rule: Rule | None = None
    doubts: tuple[Rule, ...] = ()

    @property
    def outcome(self) -> str:
        """The method's word, or `NO_ENTRY`."""
        return NO_ENTRY if self.method is None else self.method.value

    @property
    def allowed(self) -> bool:
        """The server goes on to authentication instead of turning the client away."""
        return self.method not in (Method.REJECT, None)


def evaluate(hba: Hba, client: Client, roles: Roles | None = None) -> MatchResult:
    """What the server demands of `client`. Raises ValueError when the client's address is no numeric IP address.

    Rules of a file with errors count as if the bad lines were not there, although the server would refuse it all.
    """
    matcher = Matcher(client, roles or Roles(), hba.server_major)
    rule = next(filter(matcher.matches, hba.rules), None)
    method = None if rule is None else matcher.demanded(rule.method)
    return MatchResult(method, rule, tuple(matcher.doubts))


class Matcher:
    """One client against the columns of rules. doubts: rules that only the server can tell, as they were met."""

    def __init__(self, client: Client, roles: Roles, server_major: int) -> None:
        self._regex = server_major >= REGEX_SINCE
        self._replication = client.replication
        self._user = _cut(client.user)
        self._database = "" if client.replication else _cut(client.database or client.user)
        self._memberships = roles.memberships(self._user)
        self._md5 = _stores_md5(self._user, roles, server_major)
        self._ip = None if client.address is None else client_ip(client.address)
        self.doubts: list[Rule] = []
        self._types = _types(client)

    def matches(self, rule: Rule) -> bool:
        """True when every column fits; one that cannot be told goes to `doubts` and counts as no match."""
        if rule.type not in self._types:
            return False
        doubtful = False
        for fits in (self.users_match, self.databases_match, self._address_matches):
            found = fits(rule)
            if found is False:
                return False
            doubtful = doubtful or found is None
        if doubtful:
            self.doubts.append(rule)
        return not doubtful

    def failures(self, rule: Rule) -> list[Part]:
        """Columns that keep the rule from matching; one in doubt is among them."""
        parts = {
            Part.TYPE: rule.type in self._types,
            Part.DATABASE: self.databases_match(rule),
            Part.USER: self.users_match(rule),
            Part.ADDRESS: self._ip is None or self._address_matches(rule),
        }
        return [part for part, fits in parts.items() if not fits]

    def databases_match(self, rule: Rule) -> bool | None:
        """Source: check_db. Physical replication meets only the keyword, which meets nothing else."""
        if self._replication:
            return any(token.is_keyword("replication") for token in rule.databases)
        return _any(map(self._database_matches, rule.databases))

    def _database_matches(self, token: Token) -> bool | None:
        text = token.text
        if not token.quoted and text in DATABASE_KEYWORDS:
            match text:
                case "all":
                    return True
                case "sameuser":
                    return self._database == self._user
                case "samerole" | "samegroup":
                    return self._database in self._memberships
                case _:
                    return False
        if self._regex and text.startswith("/"):
            return matches_regex(text[1:], self._database)
        return text == self._database

    def users_match(self, rule: Rule) -> bool | None:
        """Source: check_role."""
        return _any(map(self._user_matches, rule.users))

    def _user_matches(self, token: Token) -> bool | None:
        text = token.text
        if not token.quoted:
            if text == "all":
                return True
            if text.startswith("+"):
                return text[1:] in self._memberships
        if self._regex and text.startswith("/"):
            return matches_regex(text[1:], self._user)
        return text == self._user

    def _address_matches(self, rule: Rule) -> bool | None:
        return rule.type is ConnectionType.LOCAL or self.net_matches(rule.net)

    def net_matches(self, net: Network) -> bool | None:
        """None when only the server can tell. An IPv6 network never meets an IPv4 client, mapped or not."""
        family, number, mask, _ = net
        if self._ip is None:
            return family is Family.LOCAL
        if family is Family.ALL:
            return True
        if family is Family.NAME:
            return None
        if family in (Family.SAMEHOST, Family.SAMENET):
            # Loopback addresses are surely the server's own; its others are not known here.
            loopback = self._ip[1] >> 24 == 127 if self._ip[0] is Family.IPV4 else self._ip[1] == 1
            own = self._ip[1] == _LOOPBACK_V4 or self._ip[0] is Family.IPV6
            return (family is Family.SAMENET or own) if loopback else None
        return family is self._ip[0] and self._ip[1] & mask == number

    def demanded(self, method: Method) -> Method:
        """A md5 line demands SCRAM of a role whose password is stored for SCRAM (or which does not exist)."""
        if method is Method.MD5:
            return Method.MD5 if self._md5 else Method.SCRAM
        return method


def _any(answers: Iterable[bool | None]) -> bool | None:
    """True when one of them is; None when none is and one cannot be told."""
    doubtful = False
    for answer in answers:
        if answer:
            return True
        doubtful = doubtful or answer is None
    return None if doubtful else False


def _types(client: Client) -> frozenset[ConnectionType]:
    if client.address is None:
        return frozenset({ConnectionType.LOCAL})
    tls = ConnectionType.HOSTNOSSL if client.tls else ConnectionType.HOSTSSL
    gss = ConnectionType.HOSTNOGSSENC if client.gss else ConnectionType.HOSTGSSENC
    return _TCP - {tls, gss}


def _stores_md5(user: str, roles: Roles, server_major: int) -> bool:
    """Unknown: the default of password_encryption, which changed with 14."""
    if roles.md5_verifier is None:
        return server_major < _SCRAM_DEFAULT_SINCE
    return user in roles.md5_verifier


def _cut(name: str) -> str:
    if len(name) * 4 <= _NAME_BYTES:
        return name
    return name.encode("utf-8", "surrogateescape")[:_NAME_BYTES].decode("utf-8", "surrogateescape")
