"""The start of PostgreSQL's frontend/backend protocol, spoken by hand.

A real client library hides at connect time what the server said; here nothing is lost: the SQLSTATE, the routine and
the authentication method that the matching pg_hba.conf line demands. None of it hangs on the server's language.

Source: PostgreSQL documentation, "Message Formats" and "Error and Notice Message Fields";
src/backend/libpq/auth.c (ClientAuthentication), src/backend/tcop/backend_startup.c.
"""

import socket
import struct
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

PROTOCOL_3_0: Final = 196608
SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
MAX_MESSAGE_BYTES: Final = 30_000
"""libpq's own limit for what a server may send before it has authenticated the client."""


class Method(StrEnum):
    """What the server asks of the client; the words of pg_hba.conf."""

    TRUST = "trust"
    PASSWORD = "password"
    MD5 = "md5"
    SCRAM = "scram-sha-256"
    GSS = "gss"
    SSPI = "sspi"
    OTHER = "other"


METHOD_CODES: Final = {
    0: Method.TRUST,
    3: Method.PASSWORD,
    5: Method.MD5,
    7: Method.GSS,
    9: Method.SSPI,
    10: Method.SCRAM,
}
PASSWORD_METHODS: Final = frozenset({Method.PASSWORD, Method.MD5, Method.SCRAM})


def server_text(data: bytes) -> str:
    """What a server says before an encoding was agreed on: UTF-8, else Windows' superset of Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


class ProtocolError(Exception):
    """The peer does not speak PostgreSQL's protocol."""


class Closed(Exception):
    """The peer closed the connection where an answer was due."""


class ServerError(NamedTuple):
    """An ErrorResponse: only `message` and `detail` are in the server's language."""

    severity: str
    sqlstate: str
    routine: str
    line: str
    message: str
    detail: str


class AuthRequest(NamedTuple):
    """The authentication request that the matching pg_hba.conf line leads to. `data` is its payload."""

    method: Method
    data: bytes


Answer = AuthRequest | ServerError


class Wire:
    """One connection. All calls raise TimeoutError or OSError as the socket does, ProtocolError, and Closed."""

    def __init__(self, sock: socket.socket, deadline: float, monotonic: Callable[[], float]) -> None:
        """deadline: seconds on `monotonic`'s scale after which every call raises TimeoutError."""
        self.sock = sock
        self._deadline = deadline
        self._monotonic = monotonic

    def ask_tls(self) -> bool | ServerError:
        """Send SSLRequest: whether the server offers TLS, or the error it answers with."""
        self._send(SSL_REQUEST)
        # One byte is all that may come; a banner (SSH begins with "S") or an early TLS record gives itself away.
        answer = self._recv(64)
        if not answer:
            raise Closed
        if answer in (b"S", b"N"):
            return answer == b"S"
        if answer[:1] == b"E":
            return self._error(answer)
        raise ProtocolError

    def start(self, user: str, database: str, more: Mapping[str, str] = MappingProxyType({})) -> Answer:
        """Send StartupMessage: what pg_hba.conf demands of this client, or the error. more: further parameters."""
        parameters = {"user": user, "database": database, "application_name": "tmsync", **more}
        fields = [_bytes(text) for pair in parameters.items() for text in pair]
        body = struct.pack("!i", PROTOCOL_3_0) + b"".join(field + b"\0" for field in fields) + b"\0"
        self._send(struct.pack("!i", len(body) + 4) + body)
        return self._answer()

    def until_ready(self) -> ServerError | None:
        """After AuthenticationOk: None once the session is ready, or the error that ends it."""
        while True:
            kind, body = self._message()
            if kind == b"E":
                return _parse_error(body)
            if kind == b"Z":
                self._send(b"X" + struct.pack("!i", 4))
                return None

    def _answer(self) -> Answer:
        while True:
            kind, body = self._message()
            if kind == b"E":
                return _parse_error(body)
            if kind == b"R" and len(body) >= 4:
                (code,) = struct.unpack_from("!i", body)
                return AuthRequest(METHOD_CODES.get(code, Method.OTHER), body)
            if kind not in (b"N", b"v"):
                raise ProtocolError

    def _error(self, begun: bytes) -> ServerError:
        kind, body = self._message(begun)
        if kind != b"E":
            raise ProtocolError
        return _parse_error(body)

    def _message(self, begun: bytes = b"") -> tuple[bytes, bytes]:
        head = begun[:5] + self._exactly(5 - len(begun[:5]))
        if head[:1] not in b"ERNSKZv":
            raise ProtocolError
        (length,) = struct.unpack_from("!i", head, 1)
        if not 4 <= length <= MAX_MESSAGE_BYTES:
            # A server that cannot even fork answers in the old protocol: "E", text, NUL, without a length.
            raise ProtocolError
        rest = begun[5:]
        return head[:1], rest + self._exactly(length - 4 - len(rest))

    def poke(self) -> bytes:
        """Send an empty line, which makes a line-based server (HTTP, SMTP) show itself: what it says, if anything."""
        self._send(b"\r\n\r\n")
        return self._recv(64)

    def _send(self, data: bytes) -> None:
        self._wait()
        self.sock.sendall(data)

    def _recv(self, count: int) -> bytes:
        self._wait()
        return self.sock.recv(count)

    def _wait(self) -> None:
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self._recv(count - len(data))
            if not chunk:
                raise Closed
            data += chunk
        return data


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _parse_error(body: bytes) -> ServerError:
    fields = {part[:1].decode("ascii", "replace"): server_text(part[1:]) for part in body.split(b"\0") if part}
    get: Callable[[str], str] = lambda key: fields.get(key, "")  # noqa: E731
    if not get("C"):
        raise ProtocolError
    return ServerError(get("V") or get("S"), get("C"), get("R"), get("L"), get("M"), get("D"))
