"""From fields to rules.

Source: PostgreSQL src/backend/libpq/hba.c (parse_hba_line), whose order of checks and wording this keeps.
"""

from __future__ import annotations

from typing import NamedTuple

from tmsync.core.hba.addresses import KEYWORDS, LOCAL, parse_ip, parse_masked, parse_network
from tmsync.core.hba.model import ConnectionType, Family, Field, Method, Network, Token
from tmsync.core.hba.options import check_options
from tmsync.core.hba.regexes import InvalidRegex, compile_regex
from tmsync.core.hba.tokens import REGEX_SINCE

OAUTH_SINCE = 18
NOT_IN_LINUX_BUILDS = frozenset({Method.BSD, Method.SSPI})
"""Methods that no PostgreSQL on Linux is built with (Debian, RPM and Docker have all the others)."""

_TYPES = {kind.value: kind for kind in ConnectionType}
_METHODS = {method.value: method for method in Method}


class ParsedLine(NamedTuple):
    """The columns of a valid line, without its place."""

    type: ConnectionType
    databases: Field
    users: Field
    address: Token | None
    mask: Token | None
    net: Network
    method: Method
    options: tuple[tuple[str, str], ...]


class _RefusedError(Exception):
    """The server's message against a line."""


class _Columns:
    """Hands out fields left to right."""

    def __init__(self, fields: list[Field]) -> None:
        self._fields = fields
        self._next = 0

    def take(self, what: str) -> Field:
        """Next field, or `end-of-line before <what>`."""
        if self._next == len(self._fields):
            raise _RefusedError(f"end-of-line before {what}")
        self._next += 1
        return self._fields[self._next - 1]

    def take_one(self, what: str, single: str) -> Token:
        """Next field, which must be one word."""
        field = self.take(what)
        if len(field) > 1:
            raise _RefusedError(f"multiple values specified for {single}")
        return field[0]

    def rest(self) -> list[Token]:
        return [token for field in self._fields[self._next :] for token in field]


def parse_fields(
    fields: list[Field], server_major: int, unsupported: frozenset[Method] = NOT_IN_LINUX_BUILDS
) -> ParsedLine | str:
    """Columns of a line, or the server's message against it."""
    try:
        return _parse(_Columns(fields), server_major, unsupported)
    except _RefusedError as refused:
        return str(refused)


def _parse(columns: _Columns, server_major: int, unsupported: frozenset[Method]) -> ParsedLine:
    word = columns.take_one("connection type", "connection type").text
    kind = _TYPES.get(word)
    if kind is None:
        raise _RefusedError(f'invalid connection type "{word}"')
    databases = _check_regexes(columns.take("database specification"), server_major)
    users = _check_regexes(columns.take("role specification"), server_major)
    address, mask, net = (None, None, LOCAL) if kind is ConnectionType.LOCAL else _parse_address(columns)
    method = _parse_method(columns, kind, server_major, unsupported)
    options = check_options(kind, method, columns.rest(), server_major)
    if isinstance(options, str):
        raise _RefusedError(options)
    return ParsedLine(kind, databases, users, address, mask, net, method, options)


def _check_regexes(field: Field, server_major: int) -> Field:
    """A slash makes a regular expression even within quotes (since 16)."""
    if server_major >= REGEX_SINCE:
        for token in field:
            if token.text.startswith("/"):
                try:
                    compile_regex(token.text[1:])
                except InvalidRegex as invalid:
                    message = f'invalid regular expression "{token.text[1:]}": {invalid}'
                    raise _RefusedError(message) from None
    return field


def _parse_address(columns: _Columns) -> tuple[Token, Token | None, Network]:
    token = columns.take_one("IP address specification", "host address")
    if not token.quoted and token.text in KEYWORDS:
        return token, None, KEYWORDS[token.text]
    if "/" in token.text:
        net = parse_network(token.text)
        if isinstance(net, str):
            raise _RefusedError(net)
        return token, None, net
    ip = parse_ip(token.text)
    if ip is None:
        return token, None, (Family.NAME, 0, 0, token.text)
    mask = columns.take_one("netmask specification", "netmask")
    net = parse_masked(ip, mask.text)
    if isinstance(net, str):
        raise _RefusedError(net)
    return token, mask, net


def _parse_method(columns: _Columns, kind: ConnectionType, server_major: int, unsupported: frozenset[Method]) -> Method:
    word = columns.take_one("authentication method", "authentication type").text
    method = _METHODS.get(word)
    if method is None or (method is Method.OAUTH and server_major < OAUTH_SINCE):
        raise _RefusedError(f'invalid authentication method "{word}"')
    if method in unsupported:
        raise _RefusedError(f'invalid authentication method "{word}": not supported by this build')
    local = kind is ConnectionType.LOCAL
    if method is Method.IDENT and local:
        return Method.PEER
    if method is Method.GSS and local:
        raise _RefusedError("gssapi authentication is not supported on local sockets")
    if method is Method.PEER and not local:
        raise _RefusedError("peer authentication is only supported on local sockets")
    if method is Method.CERT and kind is not ConnectionType.HOSTSSL:
        raise _RefusedError("cert authentication is only supported on hostssl connections")
    return method
