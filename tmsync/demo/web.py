"""What the demo's stand-ins for web servers have in common: a loopback port, a thread and an end."""

import http.server
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tmsync.demo.server import free_port


class WebStandIn(ABC):
    """As a context manager it answers on a free loopback port inside."""

    def __init__(self) -> None:
        self.port = free_port()

    @abstractmethod
    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        """What answers."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True, name=type(self).__name__).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
