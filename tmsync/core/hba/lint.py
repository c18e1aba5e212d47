"""What is wrong with a file's rules whoever connects: never reached, too wide, weaker than need be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from tmsync.core.hba.addresses import ALL_ONES_V4, ALL_ONES_V6
from tmsync.core.hba.explanation import place
from tmsync.core.hba.match import DATABASE_KEYWORDS, Roles
from tmsync.core.hba.model import MAPPED_PREFIX, ConnectionType, Family, Field, Method, Network, Rule, shown
from tmsync.core.hba.parse import Hba
from tmsync.core.hba.regexes import matches_regex
from tmsync.core.hba.tokens import REGEX_SINCE

_T = ConnectionType
_ENCRYPTED = frozenset({_T.HOSTSSL, _T.HOSTGSSENC})
_CLEARTEXT = frozenset({Method.PASSWORD, Method.LDAP, Method.PAM, Method.RADIUS, Method.BSD})
_LOOPBACK_V4 = 127 << 24
_SAMEROLE = ("samerole", "samegroup")


class LintKind(StrEnum):
    """What a finding is about."""

    UNREACHABLE = "unreachable"
    NEVER_MATCHES = "never-matches"
    TRUST_OVER_NETWORK = "trust-over-network"
    CLEARTEXT_OVER_NETWORK = "cleartext-over-network"
    ANY_ADDRESS = "any-address"
    MD5 = "md5"


@dataclass(frozen=True, slots=True)
class LintFinding:
    """line: in `file`, from 1. by: the earlier rule that takes everything, for UNREACHABLE."""

    kind: LintKind
    line: int
    message: str
    file: str
    by: Rule | None = None


def lint_rules(hba: Hba, roles: Roles | None = None) -> list[LintFinding]:
    """Findings in the order of the rules."""
    cover = _Cover(hba.server_major)
    findings: list[LintFinding] = []
    for rule in hba.rules:
        by = cover.add(rule)
        if by is not None:
            message = f"never reached: {place(by)} `{shown(by)}` takes every connection it could match"
            findings.append(LintFinding(LintKind.UNREACHABLE, rule.line, message, rule.file, by))
        findings += [LintFinding(kind, rule.line, message, rule.file) for kind, message in _weaknesses(rule, roles)]
    return findings


def _weaknesses(rule: Rule, roles: Roles | None) -> list[tuple[LintKind, str]]:
    found: list[tuple[LintKind, str]] = []
    family, number, mask, _ = rule.net
    if family is Family.IPV6 and mask >> 32 == ALL_ONES_V6 >> 32 and number & ~ALL_ONES_V4 == MAPPED_PREFIX:
        message = "never matches: a client of an IPv4-mapped address reaches the server as plain IPv4"
        found.append((LintKind.NEVER_MATCHES, message))
    if rule.method is Method.REJECT or rule.type is _T.LOCAL or _is_loopback(rule.net):
        return found
    if rule.method is Method.TRUST:
        message = "trust over the network: whoever comes from there is let in without a password"
        found.append((LintKind.TRUST_OVER_NETWORK, message))
    if rule.method in _CLEARTEXT and rule.type not in _ENCRYPTED:
        message = f"{rule.method} over the network: the password crosses it readable; use hostssl or scram-sha-256"
        found.append((LintKind.CLEARTEXT_OVER_NETWORK, message))
    if family is Family.ALL or (family in (Family.IPV4, Family.IPV6) and mask == 0):
        everyone = _has_all(rule.databases) and _has_all(rule.users)
        whom = "every user and database" if everyone else "this entry"
        found.append((LintKind.ANY_ADDRESS, f"any address may use {whom}: name the network it is meant for"))
    if rule.method is Method.MD5 and not _needs_md5(rule, roles):
        message = "md5 also accepts the weak MD5 exchange: scram-sha-256 refuses it"
        found.append((LintKind.MD5, message))
    return found


def _needs_md5(rule: Rule, roles: Roles | None) -> bool:
    """True when a role that the rule may meet is known to have its password stored as MD5."""
    if roles is None or not roles.md5_verifier:
        return False
    names = {token.text for token in rule.users}
    everyone = _has_all(rule.users) or any(token.text[:1] in ("+", "/") for token in rule.users)
    return everyone or bool(names & roles.md5_verifier)


def _has_all(field: Field) -> bool:
    return any(token.is_keyword("all") for token in field)


def _is_loopback(net: Network) -> bool:
    family, number, mask, _ = net
    if family is Family.IPV4:
        return mask >> 24 == 255 and number >> 24 == _LOOPBACK_V4 >> 24
    return (family is Family.IPV6 and mask == ALL_ONES_V6 and number == 1) or family is Family.SAMEHOST


@dataclass(frozen=True, slots=True)
class _Earlier:
    place: int
    rule: Rule
    databases: frozenset[str]
    users: frozenset[str]


_ByNetwork = dict[tuple[Family, int], dict[int | str, list[_Earlier]]]


class _Cover:
    """Earlier rules, found by their words and masks, so that 10,000 rules need no 10,000 x 10,000 comparisons."""

    def __init__(self, server_major: int) -> None:
        self._regex = server_major >= REGEX_SINCE
        self._buckets: dict[tuple[str, str], _ByNetwork] = {}
        self._database_regexes: dict[str, None] = {}
        self._user_regexes: dict[str, None] = {}
        self._count = 0

    def add(self, rule: Rule) -> Rule | None:
        """Remember a rule; the first earlier one that matches whatever it matches."""
        databases = self._words(rule.databases, database=True)
        users = self._words(rule.users, database=False)
        covered_by = self._first(rule, databases, users)
        family, number, mask, name = rule.net
        self._count += 1
        earlier = _Earlier(self._count, rule, frozenset(databases), frozenset(users))
        self._database_regexes.update(dict.fromkeys(word for word in databases if word[0] == "/"))
        self._user_regexes.update(dict.fromkeys(word for word in users if word[0] == "/"))
        for pair in product(databases, users):
            by_network = self._buckets.setdefault(pair, {})
            by_network.setdefault((family, mask), {}).setdefault(name or number, []).append(earlier)
        return covered_by

    def _first(self, rule: Rule, database_words: list[str], user_words: list[str]) -> Rule | None:
        databases = [self._above(word, database=True) for word in database_words]
        users = [self._above(word, database=False) for word in user_words]
        best: _Earlier | None = None
        for pair in product(databases[0], users[0]):
            if pair not in self._buckets:
                continue
            for earlier in _candidates(self._buckets[pair], rule.net):
                if (
                    (best is None or earlier.place < best.place)
                    and _type_covers(earlier.rule.type, rule.type)
                    and not any(earlier.databases.isdisjoint(above) for above in databases)
                    and not any(earlier.users.isdisjoint(above) for above in users)
                ):
                    best = earlier
        return None if best is None else best.rule

    def _words(self, field: Field, *, database: bool) -> list[str]:
        """Words with their kind in front: `k` keyword, `+` member, `/` regular expression, `=` plain name."""
        keywords = DATABASE_KEYWORDS if database else ("all",)
        words = []
        for token in field:
            if not token.quoted and token.text in keywords:
                words.append("k" + ("samerole" if token.text in _SAMEROLE else token.text))
            elif (not token.quoted and not database and token.text.startswith("+")) or (
                self._regex and token.text.startswith("/")
            ):
                words.append(token.text)
            else:
                words.append("=" + token.text)
        return list(dict.fromkeys(words))

    def _above(self, word: str, *, database: bool) -> list[str]:
        """Words that match all that `word` matches."""
        above = [word] if database and word == "kreplication" else [word, "kall"]
        if database and word == "ksameuser":
            above.append("ksamerole")  # a role is a member of itself
        if word.startswith("="):
            if not database:
                above.append("+" + word[1:])
            regexes = self._database_regexes if database else self._user_regexes
            above += [regex for regex in regexes if matches_regex(regex[1:], word[1:])]
        return above


def _candidates(by_network: _ByNetwork, net: Network) -> Iterator[_Earlier]:
    """Rules whose network holds all of `net`."""
    family, number, mask, name = net
    for (other_family, other_mask), rules in by_network.items():
        if other_family is Family.ALL and family is not Family.LOCAL:
            yield from rules[0]
        elif other_family is family and other_mask & mask == other_mask:
            yield from rules.get(name or number & other_mask, ())


def _type_covers(earlier: ConnectionType, later: ConnectionType) -> bool:
    """A GSSAPI-encrypted connection has no TLS, and the other way round."""
    if earlier is later or (earlier is _T.HOST and later is not _T.LOCAL):
        return True
    return (earlier, later) in {(_T.HOSTNOGSSENC, _T.HOSTSSL), (_T.HOSTNOSSL, _T.HOSTGSSENC)}
