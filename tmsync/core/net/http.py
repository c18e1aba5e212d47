"""One HTTP request, to the named host alone: nothing is redirected, no proxy is asked."""

import http.client
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from tmsync.core.net.deadline import cutting

MAX_ANSWER_BYTES: Final = 1 << 20
FAILURES: Final = (OSError, ValueError, http.client.HTTPException)
"""All that `request` raises."""


def why(error: Exception) -> str:
    """What went wrong, in words. error: one of FAILURES."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (TimeoutError, "no answer in time"),
        (ssl.SSLError, "the TLS handshake fails (does it speak https, and is its certificate trusted?)"),
        (http.client.RemoteDisconnected, "it closes the connection"),
        (http.client.HTTPException, "what answers there is not a web server"),
        (ValueError, "that address cannot be used"),
    )
    words = next((words for kind, words in kinds if isinstance(error, kind)), "")
    return words or getattr(error, "strerror", None) or "the connection broke"


def request(
    url: str,
    method: str,
    path: str,
    timeout: float,
    body: str | None = None,
    *,
    check: Callable[[socket.socket], None] | None = None,
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """The status and, up to a limit, the content that come back for `path` below `url`.

    timeout: seconds to connect, and as many again until the whole answer is there, however steadily it drips.
    body: a form, urlencoded. check: called with the connection before anything is sent; it may raise an OSError.
    context: for https; by default one that trusts the system's authorities.
    Raises: one of FAILURES; TimeoutError when the time is over.
    """
    parts = urlsplit(url)
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    sock = socket.create_connection((connection.host, connection.port), timeout)
    try:
        if check is not None:
            check(sock)
        with cutting(sock.fileno(), timeout):
            if parts.scheme == "https":
                sock = (context or ssl.create_default_context()).wrap_socket(sock, server_hostname=connection.host)
            connection.sock = sock
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            # An answer that is not read to its end holds the connection open until it is closed itself.
            with connection.getresponse() as answer:
                return answer.status, _read(answer)
    finally:
        sock.close()
        connection.close()


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(MAX_ANSWER_BYTES)
    except ValueError as error:
        # http.client lets through what a chunk of negative size raises.
        raise http.client.HTTPException from error
