"""One caller's connection: aiohttp's, with limits of our own and no word of what somebody sent."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from tmsync.core.serve.decide import refusal

IDLE_S: Final = 30.0
"""How long a connection may take for its next request, line, headers and all."""
MAX_CONNECTIONS: Final = 512
MAX_HEADER_BYTES: Final = 16 * 1024
LINGER_S: Final = 1.0
"""For the rest of a request that was refused."""
_SILENT: Final = logging.getLogger(f"{__name__}.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_SILENT.setLevel(logging.CRITICAL + 1)
"""aiohttp would quote what it cannot read, and with it a token."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ApiServer(web.Server):
    """aiohttp's low-level server: no routes, since the raw target is matched by tmsync itself."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler)

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


class _Connection(web.RequestHandler):
    __slots__ = ()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > MAX_CONNECTIONS:
            self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """An answer to what cannot be read, or to an error of ours: it quotes nothing."""
        del request, message
        if status >= 500 and exc is not None:
            logging.getLogger(__name__).error(f"unforeseen {type(exc).__name__} while answering")
        words = "this is no request" if status < 500 else "an error of its own; see its log"
        answer = refusal(status, words)
        response = web.Response(
            status=status,
            body=answer.body,
            headers={"Content-Type": answer.content_type, "X-Tmsync-Source": "tmsync", "X-Tmsync-Age": "0"},
        )
        response.force_close()
        return response
