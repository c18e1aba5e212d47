"""Tesla's API for TWCManager: requests in, answers out. What is answered, `decide` says.

aiohttp is server and client: one library for both, asynchronous, so that 500 callers that say nothing cost no thread;
it bounds lines, headers, queued requests and the wait for the next one by itself. What stands here besides the API:
who may ask, by which name, and how long.
"""

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tmsync.core.causes import Cause
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.serve.decide import Answer, Origin, refusal
from tmsync.core.serve.forward import Forwarder
from tmsync.core.serve.limits import Limits
from tmsync.core.serve.memory import Memory
from tmsync.core.serve.ports import OTHER, FacadeOptions, FacadeStatus, Page, Ports, RaisedProblem, Request, Standing
from tmsync.core.serve.problems import OpenProblems
from tmsync.core.serve.request import ApiRequest, Grammar
from tmsync.core.serve.upstream import VIA

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, Response

MAX_BODY_BYTES: Final = 16 * 1024
BODY_S: Final = 5.0
STOP_S: Final = 5.0
LET_IN_S: Final = 0.1
HANDSHAKE_S: Final = 5.0
"""Of TLS, at its beginning and its end: until then a connection is none of those that are counted."""
BACKLOG: Final = 256
TEN_MINUTES_S: Final = 600.0
TESLAMATE_AGENT: Final = "TeslaMate/"
"""Source: TeslaMate lib/tesla_api.ex."""
MOST_READ: Final = 64
MAX_KEY_BYTES: Final = 8 * 1024
FORGET_EVERY_S: Final = 10.0
UPSTREAMS_OWN: Final = (
    Cause.UPSTREAM_UNKNOWN, Cause.UPSTREAM_UNREACHABLE, Cause.TOKEN_REFUSED, Cause.WRONG_REGION, Cause.CLIENT_REFUSED,
    Cause.SIGNED_COMMANDS, Cause.RATE_LIMITED,
)  # fmt: skip
"""Problems that another upstream may not have."""


_Key: TypeAlias = tuple[str, str, tuple[tuple[bytes, bytes], ...]]
"""Method, target and all headers, as they came."""


class _Read(NamedTuple):
    """A request that was found good, but for its bearer, who may be refused at any time."""

    request: ApiRequest
    bearer: str


class Facade:
    """Serves from `start` until `stop`, in the event loop that these are called in.

    before: one that has ended, where this one goes on: a car was commanded, Tesla limits, a problem holds.
    """

    def __init__(self, options: FacadeOptions, ports: Ports, before: "Facade | None" = None) -> None:
        self.options = options
        self._ports = ports
        self._grammar = Grammar(options.allow)
        self.memory: Memory = Memory() if before is None else before.memory
        self.limits: Limits = Limits() if before is None else before.limits
        self.open_problems: OpenProblems = (
            OpenProblems(ports.events, ports.clock) if before is None else before.open_problems
        )
        if before is not None and options.way_up != before.options.way_up:
            self.limits = Limits()
            self.open_problems.cleared(*UPSTREAMS_OWN)
        self._forwarder = Forwarder(options, ports, self.open_problems, self.memory, self.limits)
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._last_call_at: datetime | None = None
        self._read: dict[_Key, _Read] = {}
        self._maker = ThreadPoolExecutor(1, "pages")
        self._making: dict[tuple[str, bool], asyncio.Future[Page | None]] = {}
        self._server: Any = None
        self._listeners: list[asyncio.Server] = []
        self._forgetting: asyncio.Task[None] | None = None

    async def start(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Serve on sockets that listen already.

        Raises: ConfigError (serve.upstream_ca_file).
        """
        from tmsync.core.serve.connection import ApiServer

        await self._forwarder.start()
        self._server = ApiServer(self._handle, partial(self._tell, OTHER))
        loop = asyncio.get_running_loop()
        limit = None if tls is None else HANDSHAKE_S
        for sock in sockets:
            listener = await loop.create_server(
                self._server, sock=sock, ssl=tls, backlog=BACKLOG,
                ssl_handshake_timeout=limit, ssl_shutdown_timeout=limit,
            )  # fmt: skip
            self._listeners.append(listener)
        self._forgetting = asyncio.create_task(self._forget_problems())

    async def stop(self) -> None:
        """Take no more requests, and give those under way some seconds."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._server is not None:
            if self._server.connections:
                # Whoever has just been let in has yet to ask; cut off, TWCManager would lose what it was about.
                await asyncio.sleep(LET_IN_S)
            self._server.pre_shutdown()
            await self._server.shutdown(STOP_S)
        self._maker.shutdown(wait=False, cancel_futures=True)
        await self._forwarder.stop()

    def status(self) -> FacadeStatus:
        """What it has done since it was made."""
        done = self._forwarder
        return FacadeStatus(done.upstream(), self._last_call_at, done.answered, done.forwarded, dict(self._counts))

    def problems(self) -> tuple[RaisedProblem, ...]:
        """Those that hold."""
        return self.open_problems.current()

    async def _forget_problems(self) -> None:
        while True:
            await asyncio.sleep(FORGET_EVERY_S)
            self.open_problems.forget_old()

    async def _handle(self, request: "BaseRequest") -> "Response":
        from aiohttp.web import Response

        key = request.method, request.raw_path, request.raw_headers
        read = self._read.get(key)
        answer = None
        if read is not None and self._ports.callers.check(read.bearer) is Standing.KNOWN:
            answer = self._forwarder.again(read.request)
        if read is not None and answer is not None:
            name, self._last_call_at = read.request.name, self._ports.clock.now()
        elif not self._is_addressed(request):
            name, answer = OTHER, refusal(403, "this name is not served here (serve.listen)")
        elif request.method in ("GET", "HEAD") and (page := await self._page(request)) is not None:
            own = {"Content-Type": page.content_type, "X-Tmsync-Source": str(Origin.TMSYNC), "X-Tmsync-Age": "0"}
            return Response(status=page.status, body=page.body, headers=own)
        else:
            name, answer = await self._answer(request)
            if answer.origin is Origin.TESLAMATE and not request.can_read_body:
                self._remember(key)
        self._tell(name, answer)
        headers = {
            "Content-Type": answer.content_type,
            "X-Tmsync-Source": str(answer.origin),
            "X-Tmsync-Age": str(int(answer.age_s)),
        }
        if answer.retry_after_s is not None:
            headers["Retry-After"] = str(answer.retry_after_s)
        return Response(status=answer.status, body=answer.body, headers=headers)

    def _tell(self, name: str, answer: Answer) -> None:
        """To the counters and the log. name: the request's, by its kind."""
        self._counts[name, answer.origin, answer.status] += 1
        self._ports.events.answered(Request(self._ports.clock.now(), name, answer.origin, answer.status, answer.reason))

    def _remember(self, key: _Key) -> None:
        """The same bytes again need not be read again."""
        method, target, headers = key
        request = self._grammar.read(method, target)
        bearers = [value for name, value in headers if name.lower() == b"authorization"]
        if request is not None and sum(len(name) + len(value) for name, value in headers) <= MAX_KEY_BYTES:
            if len(self._read) >= MOST_READ:
                self._read.clear()
            self._read[key] = _Read(request, _bearer(bearers[0].decode("utf-8", "surrogateescape")))

    async def _answer(self, request: "BaseRequest") -> tuple[str, Answer]:
        """The kind of the request, for counters, and its answer."""
        standing = self._standing(request)
        loop = _looped(request)
        if loop is not None:
            # Whoever is not let in could else raise an alarm.
            if standing in (Standing.KNOWN, Standing.OURS):
                self.open_problems.raised(loop, critical=True, for_s=TEN_MINUTES_S)
            return OTHER, refusal(508, loop.message)
        if standing is Standing.UNDECIDED:
            return OTHER, refusal(
                503, "nothing tells just now whether this token is known; tmsync status says what is wrong"
            )
        if standing is not Standing.KNOWN:
            return OTHER, refusal(401, "this token is not known")
        self._last_call_at = self._ports.clock.now()
        api = self._grammar.read(request.method, request.raw_path)
        if api is None:
            return OTHER, refusal(404, "this is not served here (serve.allow)")
        body = await _body(request)
        if isinstance(body, Answer):
            return api.name, body
        api = api._replace(body=body, content_type=request.headers.get("Content-Type"))
        return api.name, await self._forwarder.answer(api)

    async def _page(self, request: "BaseRequest") -> Page | None:
        """Made in a thread, one for all who wait: of many cars it takes long, and needs no bearer."""
        path = request.raw_path
        if path.startswith("/api/"):
            return None
        known = self._standing(request) is Standing.KNOWN
        page = self._making.get((path, known))
        if page is None:
            make = partial(self._ports.pages.page, path, known=known)
            page = asyncio.get_running_loop().run_in_executor(self._maker, make)
            self._making[path, known] = page
            page.add_done_callback(lambda _: self._making.pop((path, known), None))
        return await asyncio.shield(page)

    def _is_addressed(self, request: "BaseRequest") -> bool:
        """Whether the Host header is ours: a page in a browser could else reach us by a name of its own."""
        hosts = request.headers.getall("Host", [])
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        return name == "localhost" or name in self.options.hosts or _is_loopback(name)

    def _standing(self, request: "BaseRequest") -> Standing:
        found = request.headers.getall("Authorization", [])
        bearer = _bearer(found[0]) if len(found) == 1 else ""
        return self._ports.callers.check(bearer) if bearer else Standing.UNKNOWN


def _looped(request: "BaseRequest") -> Problem | None:
    """What is wrong where tmsync itself sent it, or TeslaMate: neither can be answered from TeslaMate."""
    vias = ",".join(request.headers.getall("Via", [])).split(",")
    if any(via.split()[1:2] == [VIA] for via in vias):
        return problem(Cause.REQUEST_LOOP, "a request that tmsync forwarded came back to it")
    if request.headers.get("User-Agent", "").startswith(TESLAMATE_AGENT):
        message = "TeslaMate sends its own requests to tmsync, which answers from TeslaMate"
        return problem(Cause.REQUEST_LOOP, message, variant="teslamate")
    return None


def _bearer(header: str) -> str:
    """Of an Authorization header; empty where it is another scheme's."""
    scheme, _, bearer = header.partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else ""


async def _body(request: "BaseRequest") -> bytes | Answer:
    """The request's content, or what is answered where there is none to be had."""
    if not request.can_read_body:
        return b""
    if "Content-Encoding" in request.headers:
        return refusal(415, "no request may be encoded")
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.web import RequestPayloadError

    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while len(body) <= MAX_BODY_BYTES:
                chunk = await request.content.readany()
                if not chunk:
                    return bytes(body)
                body += chunk
    except TimeoutError:
        return refusal(408, f"the rest of the request did not come within {BODY_S:g} s")
    except (HttpProcessingError, RequestPayloadError):
        return refusal(400, "the rest of the request cannot be read")
    return refusal(413, f"no request may have more than {MAX_BODY_BYTES} bytes")


_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]{1,5})?")


def _host_name(header: str) -> str:
    """`[::1]:8089` -> `::1`, in lower case; empty where it is no name or address with or without a port."""
    found = _HOST.fullmatch(header.strip().lower())
    return (found[1] or found[2]) if found else ""


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
