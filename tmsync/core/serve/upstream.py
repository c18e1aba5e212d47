"""Tesla's API as a client: to the named host alone, once, and never more than is allowed for.

aiohttp speaks HTTP. A proxy of the environment, .netrc and redirects are not its business here: each would take the
token to somebody else.
"""

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

from tmsync import __version__
from tmsync.core.net.tls import client_context
from tmsync.core.secret import Secret
from tmsync.core.serve.replies import Reply
from tmsync.core.serve.request import ApiRequest

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

CONNECT_S: Final = 5.0
WHOLE_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 16
MAX_HEADER_BYTES: Final = 16 * 1024
VIA: Final = "tmsync"
"""tmsync's own name in Via: a request that comes with it has been here before."""
_GZIP_OR_ZLIB: Final = 47
UNENCODED: Final = frozenset({"", "identity"})
ENCODED: Final = frozenset({"gzip", "x-gzip", "deflate"})


class Unreachable(Exception):
    """No answer came. words: why. sent: whether the request may have got through all the same."""

    def __init__(self, words: str, *, sent: bool) -> None:
        super().__init__(words)
        self.sent = sent


class Upstream:
    """Connections to Tesla's API; to be made and closed in the event loop.

    ca_file: PEM certificates of the authorities that are trusted, in place of the system's.
    Raises: UnusableFile.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._tls = client_context(verify=True, roots=ca_file)
        self._sessions: dict[str, ClientSession] = {}

    async def close(self) -> None:
        """Hang up."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def send(self, request: ApiRequest, url: str, token: Secret) -> Reply:
        """Send it once and read the whole answer. url: with the target as it goes up.

        Raises: Unreachable.
        """
        from aiohttp import ClientError
        from yarl import URL

        headers = {
            "Authorization": f"Bearer {token.reveal()}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"tmsync/{__version__}",
            "Via": f"1.1 {VIA}",
        }
        if request.method == "POST" and request.content_type is not None:
            headers["Content-Type"] = request.content_type
        session = self._session(request.method)
        sending = session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=request.body if request.method == "POST" else None,
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
        )
        try:
            async with sending as response:
                return await _read(response)
        except (TimeoutError, ClientError, OSError, ValueError) as error:
            raise _explained(error) from None

    def _session(self, method: str) -> "ClientSession":
        session = self._sessions.get(method)
        if session is None:
            from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

            # What is not to be repeated does not go into a kept connection, which the other side may have closed.
            session = self._sessions[method] = ClientSession(
                connector=TCPConnector(ssl=self._tls, limit=0, force_close=method == "POST"),
                timeout=ClientTimeout(total=WHOLE_S, connect=CONNECT_S),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                read_bufsize=CHUNK_BYTES,
            )
        return session


async def _read(response: "ClientResponse") -> Reply:
    """Raises: Unreachable, and what aiohttp raises."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in UNENCODED | ENCODED:
        raise Unreachable("its answer is encoded in a way nobody asked for", sent=True)
    inflate = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding in ENCODED else None
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk if inflate is None else _inflated(inflate, chunk, MAX_ANSWER_BYTES - len(body) + 1)
        if len(body) > MAX_ANSWER_BYTES:
            raise Unreachable("its answer is too long", sent=True)
    if inflate is not None and not inflate.eof:
        raise Unreachable("its answer breaks off", sent=True)
    header = response.headers.get("Content-Type", "application/json")
    return Reply(response.status, bytes(body), header, response.headers.get("Retry-After"))


def _inflated(inflate: Any, chunk: bytes, most: int) -> bytes:
    try:
        found: bytes = inflate.decompress(chunk, most)
    except zlib.error:
        raise Unreachable("its answer cannot be decoded", sent=True) from None
    return found


def _explained(error: Exception) -> Unreachable:
    """In words of our own: those of a library might quote a header."""
    from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientSSLError, ConnectionTimeoutError

    kinds: tuple[tuple[type[BaseException], str, bool], ...] = (
        (ClientConnectorDNSError, "its name does not resolve", False),
        (ClientSSLError, "TLS does not come about (is its certificate trusted, and for this name?)", False),
        (ConnectionTimeoutError, f"no connection within {CONNECT_S:g} s", False),
        (ClientConnectorError, "no connection: refused or unreachable", False),
        (asyncio.TimeoutError, f"no whole answer within {WHOLE_S:g} s", True),
        (ValueError, "what answers there is not a web server", True),
    )
    for kind, words, sent in kinds:
        if isinstance(error, kind):
            return Unreachable(words, sent=sent)
    return Unreachable("the connection broke", sent=True)
