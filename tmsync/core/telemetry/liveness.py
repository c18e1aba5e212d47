"""Second witnesses: what else, besides its messages, tells whether TeslaMate lives.

They matter where silence proves nothing (suspended, updating), and they explain silence elsewhere. Each is asked at
most once a minute, in a thread of its own, so that a witness who does not answer holds nobody up.

Source: TeslaMate config/runtime.exs (a pool of 10 database sessions), lib/teslamate_web/router.ex (/health_check).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from tmsync.core.clock import Clock
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.net.http import FAILURES, request
from tmsync.core.telemetry.health import NO_EVIDENCE, Evidence
from tmsync.core.teslamate.records import CarRecord

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
HTTP_TIMEOUT_S: Final = 4.0
HEALTH_PATH: Final = "/health_check"
ALIVE: Final = frozenset({200})
GONE: Final = frozenset({502, 503, 504})
"""What a reverse proxy answers when nobody is behind it."""


class ProbeResult(NamedTuple):
    """What one witness says. alive: None when it can say nothing."""

    alive: bool | None
    words: str


class LivenessReport(NamedTuple):
    """What all witnesses said."""

    evidence: Evidence = NO_EVIDENCE
    cars: Mapping[int, CarRecord] = {}

    @property
    def polling(self) -> dict[int, int]:
        """Car id -> suspend_min, for the cars that TeslaMate polls."""
        return {
            car_id: car.suspend_min
            for car_id, car in self.cars.items()
            if car.use_streaming_api is False and car.suspend_min is not None
        }


class LivenessProbe:
    """TeslaMate's database and its web server, as far as they are configured."""

    def __init__(self, database: DatabaseSettings | None, url: str | None, clock: Clock) -> None:
        self._database = database
        self._url = url
        self._clock = clock
        self._known_sessions = False
        """Whether sessions were once recognised as TeslaMate's own; from then on only those count."""
        self._server_started_at: datetime | None = None
        self._last = LivenessReport()

    def __bool__(self) -> bool:
        return self._database is not None or self._url is not None

    def ask(self) -> LivenessReport:
        """Ask everybody once. Never raises: who does not answer says nothing."""
        at = self._clock.monotonic()
        words = []
        cars = self._last.cars
        if self._database is not None:
            word, found = self._ask_database(self._database)
            words.append(word)
            cars = cars if found is None else found
        if self._url is not None:
            words.append(ask_web_server(self._url))
        self._last = LivenessReport(self._sum_up(words, at), cars)
        return self._last

    def _sum_up(self, words: list[ProbeResult], at: float) -> Evidence:
        before = self._last.evidence
        told = tuple(word.words for word in words if word.words)
        if any(word.alive for word in words):
            return Evidence(at, before.gone_at, told)
        if any(word.alive is False for word in words):
            return Evidence(before.alive_at, at, told)
        return before._replace(words=told or before.words)

    def _ask_database(self, target: DatabaseSettings) -> tuple[ProbeResult, dict[int, CarRecord] | None]:
        import psycopg2

        from tmsync.core.postgres.session import QueryFailed, connect
        from tmsync.core.teslamate.records import read_cars, read_sessions

        try:
            with connect(target) as session:
                sessions = read_sessions(session)
                cars = read_cars(session)
        except (psycopg2.Error, QueryFailed) as error:
            log.info(f"TeslaMate's database cannot be asked: {type(error).__name__}")
            return ProbeResult(None, "TeslaMate's database cannot be asked"), None
        self._known_sessions |= sessions.surely
        restarted = self._server_started_at not in (None, sessions.server_started_at)
        self._server_started_at = sessions.server_started_at
        count = sessions.number if sessions.surely or not self._known_sessions else 0
        if count:
            return ProbeResult(True, "TeslaMate's database sessions are there"), cars
        if restarted:
            # TeslaMate needs a moment to come back; at the next look it must be there.
            return ProbeResult(None, "PostgreSQL has been restarted"), cars
        return ProbeResult(False, "TeslaMate's database sessions are gone"), cars


def ask_web_server(url: str) -> ProbeResult:
    """TeslaMate's health check."""
    try:
        status, _ = request(url, "GET", HEALTH_PATH, HTTP_TIMEOUT_S)
    except ConnectionRefusedError:
        return ProbeResult(False, "TeslaMate's web server is gone")
    except FAILURES:
        return ProbeResult(None, "TeslaMate's web server cannot be asked")
    if status in ALIVE:
        return ProbeResult(True, "TeslaMate's web server answers")
    if status in GONE:
        return ProbeResult(False, "TeslaMate's web server is gone")
    return ProbeResult(None, f"TeslaMate's web server answers with HTTP status {status}")


class LivenessPoller:
    """Asks the witnesses once a minute in the background and hands what they said to `tell`."""

    def __init__(
        self, witnesses: LivenessProbe, tell: Callable[[LivenessReport], None], every_s: float = EVERY_S
    ) -> None:
        self._witnesses = witnesses
        self._tell = tell
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; an inquiry under way ends by itself."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._tell(self._witnesses.ask())
            self._stopping.wait(self._every_s)
