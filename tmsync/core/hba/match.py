"""Which rule meets a client first, and what the server then demands.

Source: PostgreSQL src/backend/libpq/hba.c (check_hba, check_db, check_role, check_hostname, check_same_host_or_net),
src/backend/libpq/auth.c (CheckPWChallengeAuth) and src/backend/tcop/backend_startup.c (ProcessStartupPacket).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from tmsync.core.hba.addresses import (
    KEYWORDS,
    client_ip,
    format_ip,
    in_cidr_v4,
    parse_ip,
    parse_masked,
    parse_network,
)
from tmsync.core.hba.load import Hba, Sheet
from tmsync.core.hba.model import ConnectionType, Family, Field, Method, Network, Rule, Token
from tmsync.core.hba.tokens import REGEX_SINCE, split_words

DATABASE_KEYWORDS = ("all", "sameuser", "samerole", "samegroup", "replication")
_NAME_BYTES = 63  # NAMEDATALEN - 1: longer names are cut in the start-up packet
_SCRAM_DEFAULT_SINCE = 14
_LOOPBACK = (("127.0.0.1", "255.0.0.0"), ("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
_TCP = frozenset(kind for kind in ConnectionType if kind is not ConnectionType.LOCAL)


class Client(NamedTuple):
    """A connection as it reaches the server.

    database: the empty string means the user's own name, as for libpq.
    address: numeric, as the server sees it (a Docker gateway, a NAT address); None for the Unix socket.
    tls, gss: the connection is encrypted by TLS, by GSSAPI.
    replication: physical replication (replication=true); logical replication counts as an ordinary connection.
    os_user: account of the client on the server's own machine, for the peer method; None when not known.
    """

    user: str
    database: str = ""
    address: str | None = None
    tls: bool = False
    gss: bool = False
    replication: bool = False
    os_user: str | None = None


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


class Surroundings(NamedTuple):
    """What the server learns from its network; None where nobody asked.

    reverse: name of a numeric address, None when it has none.  forward: numeric addresses of a name. Both may raise
    OSError, which counts as no answer.  interfaces: (address, netmask) pairs of the server's own interfaces.
    """

    reverse: Callable[[str], str | None] | None = None
    forward: Callable[[str], Iterable[str]] | None = None
    interfaces: tuple[tuple[str, str], ...] | None = None


class Outcome(StrEnum):
    """What the server demands: a method, `REJECT`, or `NO_ENTRY` when no line matches."""

    TRUST = "trust"
    REJECT = "reject"
    NO_ENTRY = "no-entry"
    MD5 = "md5"
    PASSWORD = "password"
    SCRAM = "scram-sha-256"
    GSS = "gss"
    SSPI = "sspi"
    IDENT = "ident"
    PEER = "peer"
    PAM = "pam"
    BSD = "bsd"
    LDAP = "ldap"
    RADIUS = "radius"
    CERT = "cert"
    OAUTH = "oauth"


class Part(StrEnum):
    """A column of a rule that a client may fail on."""

    TYPE = "type"
    DATABASE = "database"
    USER = "user"
    ADDRESS = "address"


class Verdict(NamedTuple):
    """rule: the first that matches, None for NO_ENTRY.

    doubts: earlier rules that match but for their address, which only the server can judge (host names, samehost,
    samenet); they were taken as not matching.
    """

    outcome: Outcome
    rule: Rule | None = None
    doubts: tuple[Rule, ...] = ()

    @property
    def allowed(self) -> bool:
        """The server goes on to authentication instead of turning the client away."""
        return self.outcome not in (Outcome.REJECT, Outcome.NO_ENTRY)


def evaluate(hba: Hba, client: Client, roles: Roles | None = None, around: Surroundings | None = None) -> Verdict:
    """What the server demands of `client`. Raises ValueError when the client's address is no numeric IP address.

    Rules of a file with errors are judged as if the bad lines were not there, although the server would refuse it all.
    """
    matcher = Matcher(client, roles or Roles(), around or Surroundings(), hba.server_major)
    rule = _scan(hba, hba.sheet, matcher)
    outcome = Outcome.NO_ENTRY if rule is None else matcher.demanded(rule.method)
    return Verdict(outcome, rule, tuple(matcher.doubts))


def _scan(hba: Hba, sheet: Sheet, matcher: Matcher) -> Rule | None:
    types, databases, users = matcher.types, matcher.databases, matcher.users
    knows_address = matcher.knows_address
    for index, (kind, database, user, address, _, _, rest) in enumerate(sheet.rows):
        if kind in types:
            if (
                user in users or ("," in user and may_hold(user, users) and matcher.users_match(split_words(user)))
            ) and (database in databases or ("," in database and matcher.databases_match(split_words(database)))):
                fits = knows_address(address)
                if fits:
                    return hba.rule_at(sheet, index)
                if fits is None:
                    matcher.doubts.append(hba.rule_at(sheet, index))
        elif rest:
            found = _scan_special(hba, sheet.special.get(index, ()), matcher)
            if found is not None:
                return found
    return None


def may_hold(column: str, words: set[str]) -> bool:
    """False for most lists of other people's names, without taking the list apart."""
    return any(word in column for word in words)


def _scan_special(hba: Hba, items: Iterable[Rule | Sheet], matcher: Matcher) -> Rule | None:
    for item in items:
        if isinstance(item, Rule):
            if matcher.matches(item):
                return item
        else:
            found = _scan(hba, item, matcher)
            if found is not None:
                return found
    return None


class Matcher:
    """One client against the columns of rules.

    types, databases, users: column texts that match as they stand. addresses: judged column texts.
    """

    def __init__(self, client: Client, roles: Roles, around: Surroundings, server_major: int) -> None:
        self._regex = server_major >= REGEX_SINCE
        self._replication = client.replication
        self._user = _cut(client.user)
        self._database = "" if client.replication else _cut(client.database or client.user)
        self._memberships = roles.memberships(self._user)
        self._md5 = _stores_md5(self._user, roles, server_major)
        self._around = around
        self._ip = None if client.address is None else client_ip(client.address)
        self._address = "" if self._ip is None else format_ip(*self._ip)
        self._prefixes = _shared_prefixes(self._address) if self._ip and self._ip[0] is Family.IPV4 else {}
        self._host_name: str | None = None
        self._host_checked: bool | None = None
        self.doubts: list[Rule] = []
        self.types = _types(client)
        self.users = {"all", f'"{self._user}"', *("+" + role for role in self._memberships)}
        if self._user != "all":
            self.users.add(self._user)
        self.databases = {"replication"} if client.replication else self._plain_databases()
        self.addresses: dict[str, bool | None] = {"all": True, f"{self._address}/32": True}

    def _plain_databases(self) -> set[str]:
        words = {"all", f'"{self._database}"'}
        if self._database not in DATABASE_KEYWORDS:
            words.add(self._database)
        if self._database == self._user:
            words.add("sameuser")
        if self._database in self._memberships:
            words |= {"samerole", "samegroup"}
        return words

    def matches(self, rule: Rule) -> bool:
        """True when every column fits; an address that cannot be judged goes to `doubts` and counts as no match."""
        if rule.type not in self.types or not self.databases_match(rule.databases) or not self.users_match(rule.users):
            return False
        fits = rule.type is ConnectionType.LOCAL or self.net_matches(rule.net)
        if fits is None:
            self.doubts.append(rule)
        return bool(fits)

    def failures(self, rule: Rule) -> list[Part]:
        """Columns that keep the rule from matching; an address in doubt is one of them."""
        local = rule.type is ConnectionType.LOCAL
        parts = {
            Part.TYPE: rule.type in self.types,
            Part.DATABASE: self.databases_match(rule.databases),
            Part.USER: self.users_match(rule.users),
            Part.ADDRESS: local or self._ip is None or bool(self.net_matches(rule.net)),
        }
        return [part for part, fits in parts.items() if not fits]

    def databases_match(self, field: Field) -> bool:
        """Source: check_db. Physical replication meets only the keyword, which meets nothing else."""
        if self._replication:
            return any(token.is_keyword("replication") for token in field)
        return any(self._database_matches(token) for token in field)

    def _database_matches(self, token: Token) -> bool:
        if not token.quoted and token.text in DATABASE_KEYWORDS:
            return token.text in self.databases
        if self._regex and token.text.startswith("/"):
            return _regex_matches(token, self._database)
        return token.text == self._database

    def users_match(self, field: Field) -> bool:
        """Source: check_role."""
        return any(self._user_matches(token) for token in field)

    def _user_matches(self, token: Token) -> bool:
        if not token.quoted:
            if token.text == "all":
                return True
            if token.text.startswith("+"):
                return token.text[1:] in self._memberships
        if self._regex and token.text.startswith("/"):
            return _regex_matches(token, self._user)
        return token.text == self._user

    def address_matches(self, text: str) -> bool | None:
        """Address column of a plain row, known to be valid; None when only the server can tell."""
        if text[0] == "." or (text[0].isalpha() and ":" not in text):
            return self.net_matches(KEYWORDS.get(text, (Family.NAME, 0, 0, text)))
        if ":" not in text and "/" in text:
            if self._ip is None or self._ip[0] is not Family.IPV4 or not text.startswith(self._prefixes[text[-3:]]):
                return False
            return in_cidr_v4(self._ip[1], text)
        address, _, mask = text.partition(" ") if " " in text else text.partition("\t")
        ip = parse_ip(address) if mask else None
        net = parse_network(text) if ip is None else parse_masked(ip, mask.strip(" \t"))
        return not isinstance(net, str) and bool(self.net_matches(net))

    def knows_address(self, text: str) -> bool | None:
        """Like `address_matches` with its answer remembered; False for a client without address."""
        if text not in self.addresses:
            self.addresses[text] = self.address_matches(text)
        return self.addresses[text]

    def net_matches(self, net: Network) -> bool | None:
        """None when only the server can tell. An IPv6 network never meets an IPv4 client, mapped or not."""
        family, number, mask, name = net
        if self._ip is None:
            return family is Family.LOCAL
        if family is Family.ALL:
            return True
        if family is Family.NAME:
            return self._host_matches(name)
        if family in (Family.SAMEHOST, Family.SAMENET):
            return self._interface_matches(self._ip, family)
        return family is self._ip[0] and self._ip[1] & mask == number

    def _interface_matches(self, ip: tuple[Family, int], family: Family) -> bool | None:
        known = self._around.interfaces
        for address, mask in _LOOPBACK if known is None else known:
            own, bits = parse_ip(address), parse_ip(mask)
            if own is None or bits is None or own[0] is not ip[0]:
                continue
            if own[1] == ip[1] or (family is Family.SAMENET and (own[1] ^ ip[1]) & bits[1] == 0):
                return True
        loopback = ip[1] >> 24 == 127 if ip[0] is Family.IPV4 else ip[1] == 1
        return None if known is None and not loopback else False

    def _host_matches(self, pattern: str) -> bool | None:
        """Source: check_hostname: one reverse lookup per connection, and its answer must resolve back."""
        if self._host_checked is False:
            return False
        if self._host_name is None:
            if self._around.reverse is None or self._around.forward is None:
                return None
            self._host_name = self._reverse()
            if not self._host_name:
                self._host_checked = False
                return False
        wanted, actual = _lower(pattern), _lower(self._host_name)
        if wanted != actual and not (wanted.startswith(".") and actual.endswith(wanted)):
            return False
        if self._host_checked is None:
            self._host_checked = self._resolves_back(self._host_name)
        return self._host_checked

    def _reverse(self) -> str | None:
        try:
            return self._around.reverse(self._address) if self._around.reverse is not None else None
        except OSError:
            return None

    def _resolves_back(self, name: str) -> bool:
        try:
            found = self._around.forward(name) if self._around.forward is not None else ()
        except OSError:
            return False
        return any(parse_ip(address) == self._ip for address in found)

    def demanded(self, method: Method) -> Outcome:
        """A md5 line demands SCRAM of a role whose password is stored for SCRAM (or which does not exist)."""
        if method is Method.MD5:
            return Outcome.MD5 if self._md5 else Outcome.SCRAM
        return Outcome(method.value)


def _regex_matches(token: Token, name: str) -> bool:
    from tmsync.core.hba.regexes import compile_regex  # few files hold any

    return compile_regex(token.text[1:]).matches(name)


def _shared_prefixes(address: str) -> dict[str, str]:
    """End of a CIDR text -> what the text begins with if it holds `address`: as many octets as its bits cover."""
    octets = address.split(".")
    prefixes = {}
    for bits in range(33):
        prefix = "".join(octet + "." for octet in octets[: min(bits // 8, 3)])
        for end in (f"/{bits}",) if bits > 9 else (f"{digit}/{bits}" for digit in range(10)):
            prefixes[end] = prefix
    return prefixes


def _types(client: Client) -> frozenset[str]:
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


def _lower(name: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in name)
