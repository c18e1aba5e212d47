"""One caller's connection: aiohttp's, with limits of our own and no word of what somebody sent."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import HttpVersion, HttpVersion11, web

from tmsync.core.serve.decide import Answer, refusal

IDLE_S: Final = 30.0
"""How long a connection may take for its next request, line, headers and all."""
MAX_CONNECTIONS: Final = 512
MAX_HEADER_BYTES: Final = 16 * 1024
READ_BYTES: Final = 64 * 1024
"""asyncio makes room for 256 KiB at each read, which malloc may take from the system and give back every time: that was
a third of what an answer costs."""
LINGER_S: Final = 1.0
"""For the rest of a request that was refused."""
_SILENT: Final = logging.getLogger(f"{__name__}.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL + 1)
"""aiohttp would quote what it cannot read, and with it a token."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ApiServer(web.Server):
    """aiohttp's low-level server: no routes, since the raw target is matched by tmsync itself.

    tell: called with what is answered where `handler` was not asked, or failed.
    """

    def __init__(self, handler: Handler, tell: Callable[[Answer], None]) -> None:
        self._answer = handler
        self.tell = tell
        super().__init__(self._serve, request_factory=self._request)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return _Request(message, payload, protocol, writer, task, self._loop)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, _Connection):
            raise TypeError
        connection.is_busy = True
        try:
            response = await self._answer(request)
        finally:
            connection.is_busy = False
        if not request.content.is_eof():
            # What is left of it would be taken for the next one.
            response.force_close()
        elif isinstance(request, _Request) and request.wants_to_stay:
            response.headers["Connection"] = "keep-alive"
        return response

    def __call__(self) -> web.RequestHandler:
        """The protocol of one more connection."""
        return _Connection(
            self,
            loop=self._loop,
            keepalive_timeout=IDLE_S,
            access_log=_SILENT,
            logger=_SILENT,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=64,
            lingering_time=LINGER_S,
            auto_decompress=False,
        )

    def make_room(self, newest: "_Connection") -> None:
        """Too many connections: the one that has said nothing for the longest goes, and the newest may speak."""
        if len(self.connections) > MAX_CONNECTIONS:
            idle = (found for found in self.connections if isinstance(found, _Connection) and found.is_idle)
            next(idle, newest).force_close()


class _Request(web.BaseRequest):
    """Answered in HTTP/1.1, whatever version it came in."""

    @property
    def version(self) -> HttpVersion:
        """That of the answer."""
        return HttpVersion11

    @property
    def wants_to_stay(self) -> bool:
        """Whether one that takes a connection for closed after each answer asked to keep it."""
        return self._version < HttpVersion11 and self.keep_alive


class _Connection(web.RequestHandler):
    __slots__ = ("is_busy",)

    def __init__(self, server: ApiServer, **limits: Any) -> None:
        super().__init__(server, **limits)
        self.is_busy = False

    @property
    def is_idle(self) -> bool:
        """Whether it stands and no request is being answered."""
        return self.transport is not None and not self.is_busy

    def connection_made(self, transport: Any) -> None:
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        super().connection_made(transport)
        if isinstance(self._manager, ApiServer):
            self._manager.make_room(self)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """An answer to what cannot be read, or to an error of ours: it quotes nothing."""
        del request, message
        if status >= 500 and exc is not None:
            logging.getLogger(__name__).error(f"unforeseen {type(exc).__name__} while answering")
        words = "this is no request" if status < 500 else "an error of its own; see its log"
        answer = refusal(status, words)
        if isinstance(self._manager, ApiServer):
            self._manager.tell(answer)
        response = web.Response(
            status=status,
            body=answer.body,
            headers={"Content-Type": answer.content_type, "X-Tmsync-Source": "tmsync", "X-Tmsync-Age": "0"},
        )
        response.force_close()
        return response
