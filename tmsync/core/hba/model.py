"""What a pg_hba.conf says, as facts: tokens, networks, rules and errors.

Facts are named tuples here and wherever a result passes through: the import of `dataclasses` alone takes as long as
10,000 rules.  Source: PostgreSQL src/include/libpq/hba.h (AuthToken, HbaLine, UserAuth, ConnType, IPCompareMethod).
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum
from typing import NamedTuple

MAPPED_PREFIX = 0xFFFF << 32
"""Upper 96 bits of an IPv4 address written as IPv6 (::ffff:a.b.c.d)."""


class ConnectionType(StrEnum):
    """First word of a rule."""

    LOCAL = "local"
    HOST = "host"
    HOSTSSL = "hostssl"
    HOSTNOSSL = "hostnossl"
    HOSTGSSENC = "hostgssenc"
    HOSTNOGSSENC = "hostnogssenc"


class Method(StrEnum):
    """Authentication method of a rule. `OAUTH` exists since PostgreSQL 18."""

    TRUST = "trust"
    REJECT = "reject"
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


class Family(IntEnum):
    """How the address field of a rule is compared with the client."""

    LOCAL = 0  # Unix socket: no address at all
    ALL = 1
    SAMEHOST = 2
    SAMENET = 3
    NAME = 5
    IPV4 = 4
    IPV6 = 6


Network = tuple[Family, int, int, str]
"""(family, address already masked, mask, host name). The last is empty unless the family is NAME."""


class Token(NamedTuple):
    """One word; `quoted` when it began with a double quote, which takes the meaning from keywords, `+` and `@`."""

    text: str
    quoted: bool = False

    def is_keyword(self, word: str) -> bool:
        """True when this is the bare keyword `word`, not a name that happens to read the same."""
        return not self.quoted and self.text == word


Field = tuple[Token, ...]
"""Comma-separated words that the server reads as one column."""


_SECRET_OPTIONS = ("ldapbindpasswd", "radiussecrets")
_BETWEEN = r'(?:"|\\\r*\n)*'
_SECRET = re.compile(rf"({'|'.join(_BETWEEN.join(name) for name in _SECRET_OPTIONS)}){_BETWEEN}=(?:\\\r*\n|[^\n])*")
"""From such an option to the end of the line: quotes, commas and continued lines may stand anywhere in it."""
_QUOTED = re.compile(r'".*"|(?<=format: ).*', re.DOTALL)


def masked(text: str) -> str:
    """Lines of pg_hba.conf without the secrets in options of LDAP and RADIUS, and what stands behind those."""
    return _SECRET.sub(lambda found: f"{found[1]}=********" + "\\\n" * found[0].count("\n"), text)


class HbaError(NamedTuple):
    """Why the server refuses a line.

    line: as the server counts, from 1; a continued line counts from its first physical line; 0 means the whole file.
    message: the server's English wording.  file: path of the file that holds the line.
    included: the line stands in a file brought in by an include directive.
    """

    line: int
    message: str
    file: str
    text: str = ""
    included: bool = False

    @property
    def told(self) -> str:
        """The message as it may be shown: an included file that it quotes may be no pg_hba.conf at all, and a word of
        a line that holds a secret may be part of that."""
        if _SECRET.search(self.text):
            return "an authentication option of this line is not valid"
        quoted = _QUOTED.search(self.message)
        if quoted is None or not self.line:
            return self.message
        words = quoted[0].strip('"')
        own = words in self.text or (self.message.startswith("could not ") and words.rpartition("/")[2] in self.text)
        return self.message if own and not self.included else _QUOTED.sub('"..."', self.message)

    def __str__(self) -> str:
        return f"line {self.line} of {self.file}: {self.told}" if self.line else f"{self.file}: {self.told}"


class Rule(NamedTuple):
    """One valid line.

    line, last_line: first and last physical line in `file`, from 1.
    text: the line as the server reads it, that is with continuations joined.
    main_line: line of the main file that holds the rule, or the include directive that led to it.
    included: the rule stands in a file brought in by an include directive.
    net: compiled form of `address` and `mask`, which are None for `local` (and `mask` for CIDR notation).
    """

    line: int
    last_line: int
    file: str
    text: str
    main_line: int
    type: ConnectionType
    databases: Field
    users: Field
    address: Token | None
    mask: Token | None
    net: Network
    method: Method
    options: tuple[tuple[str, str], ...] = ()
    included: bool = False


def shown(rule: Rule) -> str:
    """The rule's line as it may be shown: without passwords."""
    return masked(rule.text.strip())
