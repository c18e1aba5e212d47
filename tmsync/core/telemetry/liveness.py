"""Liveness of TeslaMate by second witnesses: its database sessions, and its web server's health check.

They decide where silence proves nothing (suspended, updating) and in a single look, and explain silence elsewhere. They
are asked once a minute, while sessions are missing every 5 s, in a thread of its own: one that hangs delays nothing.

Source: TeslaMate config/runtime.exs (a pool of 10 database sessions), lib/teslamate_web/router.ex (/health_check).
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from tmsync.core.clock import Clock
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.net.http import FAILURES, request
from tmsync.core.postgres.session import sql_name
from tmsync.core.telemetry.health import NO_EVIDENCE, Evidence
from tmsync.core.teslamate.records import CarRecord, SessionId

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0
SOON_S: Final = 5.0
"""Between two looks while sessions are missing, until that is certain."""
MISSING_S: Final = 30.0
"""TeslaMate's sessions are gone when they were missing for so long."""
SERVER_START: Final = timedelta(seconds=60)
"""Absence proves nothing until PostgreSQL has run for so long."""
LAST_PING: Final = timedelta(seconds=60)
"""A session that TeslaMate has not pinged for so long is a remnant: its host lost power, or a pooler holds it."""
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
    sessions: bool | None = None
    """Whether TeslaMate's database sessions are there; None while that is not certain, or cannot be seen."""
    missing_since: float | None = None
    """Since when none was found, in seconds of running time."""
    database_at: datetime | None = None
    """When the records were read, by the database's clock."""
    asked_at: float = 0.0
    """The same in seconds of running time, or a little earlier."""
    read_at: float = 0.0
    """When they were in."""

    schema_level: int | None = None
    """TeslaMate's newest migration; None where that is not known."""

    @property
    def is_open(self) -> bool:
        """Whether another look, within half a minute, will tell more."""
        return self.sessions is None and self.missing_since is not None

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
        self._recognised: set[SessionId] = set()
        """Sessions whose statements were TeslaMate's at some time: they are its own for as long as they live."""
        self._roles: set[int] = set()
        """Whose they were. A hidden session of another role is not TeslaMate's, once that was seen."""
        self._records = LivenessReport()
        """Only what the database's records tell, as last read."""
        self._last = LivenessReport()

    def __bool__(self) -> bool:
        return self._database is not None or self._url is not None

    def ask(self) -> LivenessReport:
        """Ask everybody once. Never raises: who does not answer says nothing."""
        at = self._clock.monotonic()
        results = []
        sessions, missing_since = None, None
        if self._database is not None:
            result, missing_since = self._ask_database(self._database, at)
            results.append(result)
            sessions = result.alive
        if self._url is not None:
            results.append(ask_web_server(self._url))
        self._last = self._records._replace(
            evidence=self._sum_up(results, at), sessions=sessions, missing_since=missing_since
        )
        return self._last

    def _sum_up(self, results: list[ProbeResult], at: float) -> Evidence:
        before = self._last.evidence
        told = tuple(result.words for result in results if result.words)
        if any(result.alive for result in results):
            return Evidence(at, before.gone_at, told)
        if any(result.alive is False for result in results):
            return Evidence(before.alive_at, at, told)
        return before._replace(words=told or before.words)

    def _ask_database(self, target: DatabaseSettings, at: float) -> tuple[ProbeResult, float | None]:
        """What the sessions say, and since when none was found. Keeps the cars where they can be read."""
        from tmsync.core.postgres.session import ConnectFailed, QueryFailed, connect
        from tmsync.core.teslamate.records import read_cars, read_schema_level, read_sessions

        try:
            with connect(target) as session:
                sessions = read_sessions(session)
                cars, level = read_cars(session), read_schema_level(session)
        except (ConnectFailed, QueryFailed) as error:
            log.info(f"TeslaMate's database cannot be asked: {type(error).__name__}")
            return ProbeResult(None, "TeslaMate's database cannot be asked"), self._last.missing_since
        rows, read_at = sessions.rows, self._clock.monotonic()
        self._records = LivenessReport(
            cars=cars, database_at=sessions.at, asked_at=at, read_at=read_at, schema_level=level
        )
        self._recognised |= {row.key for row in rows if row.key is not None and row.is_ecto}
        self._recognised &= {row.key for row in rows if row.key is not None}
        living = [row for row in rows if row.key in self._recognised and (row.idle_for or timedelta()) < LAST_PING]
        self._roles |= {row.role for row in living}
        if living:
            return ProbeResult(True, "TeslaMate's database sessions are there"), None
        if not all(row.is_readable for row in rows if not self._roles or row.role in self._roles):
            grant = f"GRANT pg_read_all_stats TO {sql_name(target.user)}"
            return ProbeResult(None, f"TeslaMate's database sessions cannot be seen ({grant})"), None
        if sessions.server_runs_for < SERVER_START:
            # TeslaMate needs a moment to come back; after that it must be there.
            return ProbeResult(None, "PostgreSQL has just been started"), None
        since = at if self._last.missing_since is None else self._last.missing_since
        if at - since < MISSING_S:
            return ProbeResult(None, f"TeslaMate's database sessions are missing, for {int(at - since)} s"), since
        return ProbeResult(False, "TeslaMate's database sessions are gone"), since


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
    """Asks a probe once a minute in the background, and hands its reports to `tell`."""

    def __init__(self, probe: LivenessProbe, tell: Callable[[LivenessReport], None], every_s: float = EVERY_S) -> None:
        self._probe = probe
        self._tell = tell
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; an inquiry under way ends by itself."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            report = self._probe.ask()
            self._tell(report)
            self._stopping.wait(min(SOON_S, self._every_s) if report.is_open else self._every_s)
