"""TeslaMate's token: read again and again, handed to the facade, and brought to TWCManager when it changes."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.check_db.tokens import read_tokens
from tmsync.core.clock import Clock, iso
from tmsync.core.config.settings import Settings
from tmsync.core.config.twc_json import read_twc_config
from tmsync.core.errors import ConfigError, Problem, TmsyncError
from tmsync.core.fixes import unforeseen
from tmsync.core.secret import Secret
from tmsync.core.serve.board import Board, Counters, Event, rated
from tmsync.core.serve.callers import LocalCallers, TeslaCallers
from tmsync.core.serve.ports import Credential, Standing
from tmsync.core.status.report import Database, Part, RatedProblem
from tmsync.core.sync import Report, sync
from tmsync.core.teslamate.assessment import Tokens
from tmsync.core.teslamate.claims import NO_CLAIMS, read_claims
from tmsync.core.twcmanager.delivery import Result
from tmsync.core.twcmanager.held import Held, held_by_twcmanager
from tmsync.core.twcmanager.local_token import is_among, sum_of
from tmsync.core.twcmanager.plan import SyncOptions, Via

log = logging.getLogger(__name__)

READ_EVERY_S: Final = 5.0
"""A token that TeslaMate has renewed is delivered within 15 s, although TWCManager may take some to be looked at."""
DELIVER_EVERY_S: Final = 60.0
"""TWCManager may have been given another token, or may have lost one."""
REREAD_S: Final = 10.0
"""How long the facade waits for a token that is read again."""
STOP_S: Final = 2.0


class TokenChange(NamedTuple):
    """A token was brought to TWCManager."""

    at: datetime
    report: Report

    def as_json(self) -> dict[str, Any]:
        """The token event's fields, without `event`.

        Fields:
            at (time): when
            result (SyncResult): what came of it
            fingerprint (text or null): the first hex digits of the token's SHA-256
            via (text): file or http
            target (text): the file, or the address of TWCManager's web control
        """
        tokens, delivery = self.report.tokens, self.report.delivery
        return {
            "at": iso(self.at),
            "result": self.report.result.value,
            "fingerprint": tokens.fingerprint if tokens else None,
            "via": delivery.via.value if delivery else None,
            "target": delivery.target if delivery else None,
        }

    @property
    def event(self) -> Event:
        """As an event."""
        fields = self.as_json()
        whose = "local token" if self.report.local else "token"
        words = f"{whose} {fields['fingerprint']} {fields['result']}: {fields['target']}"
        return Event(self.at, "token", words, fields)


class TokenKeeper:
    """Works in a thread of its own from `start` to `stop`. Anybody may ask it, in any thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        environ: Mapping[str, str],
        board: Board,
        counters: Counters,
        tell: Callable[[Event], None],
    ) -> None:
        self.target = settings.database() if settings.get("database.host") is not None else None
        self._settings = settings
        self._clock = clock
        self._environ = environ
        self._board = board
        self._counters = counters
        self._tell = tell
        self._reading = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tokens", daemon=True)
        self._local = settings.twcmanager().local_token
        self._may_deliver = settings.get("serve.deliver_tokens") and (self._local or self.target is not None)
        self.database = Database()
        """What is known of TeslaMate's database and token."""
        self.held: Held | None = None
        """What is known of TWCManager."""
        own = settings.get("serve.upstream_token")
        self._own = None if own is None else _credential(own)
        state = settings.state_dir
        self.callers: LocalCallers | TeslaCallers = LocalCallers(state) if self._local else TeslaCallers(state)

    def take_over(self, before: "TokenKeeper") -> None:
        """Begin with what the one before knows, where it read the same database."""
        if self.target is not None and self.target == before.target:
            self.database, self.held = before.database, before.held
            if isinstance(self.callers, TeslaCallers) and (tokens := self.tokens) is not None:
                self.callers.remember(tokens.access.reveal())

    def start(self) -> None:
        """Read and deliver for the first time, in the background."""
        if self.target is None:
            self._put("database", None)
        if not self._may_deliver:
            self._put("delivery", None)
        self._thread.start()

    def stop(self) -> None:
        """Do nothing more; what is under way is waited for, for two seconds."""
        self._stopping = True
        self._wake.set()
        self._thread.join(STOP_S)

    @property
    def tokens(self) -> Tokens | None:
        """TeslaMate's, as last read."""
        return self.database.tokens

    def _put(self, key: str, found: RatedProblem | None) -> None:
        """See `Board.put`. Whoever comes after this one has the say once it is to stop."""
        if not self._stopping:
            self._board.put(key, found)

    # -- for the facade

    def check(self, bearer: str) -> Standing:
        """See `ports.Callers`."""
        standing = self.callers.check(bearer)
        if standing is Standing.KNOWN:
            return standing
        ours = (self._own.secret if self._own else None, self.tokens.access if self.tokens else None)
        return Standing.OURS if is_among(sum_of(bearer), [sum_of(one.reveal()) for one in ours if one]) else standing

    def current(self) -> Credential | None:
        """See `ports.TokenSource`."""
        tokens = self.tokens
        return self._own or (None if tokens is None else Credential(tokens.access, tokens.claims))

    async def reread(self) -> Credential | None:
        """See `ports.TokenSource`."""
        if self._own is None and self.target is not None:
            try:
                await asyncio.wait_for(asyncio.to_thread(self._read), REREAD_S)
            except TimeoutError:
                log.info("the token could not be read again within %g s", REREAD_S)
            self._wake.set()
        return self.current()

    # -- the thread

    def _run(self) -> None:
        delivered_at, delivered = -DELIVER_EVERY_S, None
        while not self._stopping:
            try:
                if self.target is not None:
                    self._read()
                fingerprint = self.tokens.fingerprint if self.tokens else None
                now = self._clock.monotonic()
                if fingerprint != delivered or now - delivered_at >= DELIVER_EVERY_S:
                    delivered_at, delivered = now, fingerprint
                    self._settings = _renewed(self._settings)
                    self._deliver()
                    self.held = held_by_twcmanager(self._settings, fingerprint, self._clock)
                    self._put("tokens", None)
                lost = self.callers.problem
                self._put("state", rated(lost, critical=True, part=Part.CONFIGURATION) if lost else None)
            except Exception as error:  # noqa: BLE001 - whatever a library raises, the next round tries again
                self._put("tokens", rated(unforeseen(error), critical=False, part=Part.TOKEN))
            self._wake.wait(READ_EVERY_S)
            self._wake.clear()

    def _read(self) -> None:
        """Read TeslaMate's token; the one before is kept where that fails."""
        with self._reading:
            where = self.target.place if self.target else ""
            try:
                tokens = read_tokens(self._settings, clock=self._clock, environ=self._environ, with_refresh=False)
            except TmsyncError as error:
                self._failed(where, error.problem)
                return
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(where, unforeseen(error))
                return
            self.database = Database(True, where, tokens=tokens)
            if isinstance(self.callers, TeslaCallers):
                self.callers.remember(tokens.access.reveal())
            self._put("database", None)

    def _failed(self, where: str, found: Problem) -> None:
        self.database = Database(False, where, found, self.tokens)
        if isinstance(self.callers, TeslaCallers):
            self.callers.knows_current = False
        self._put("database", rated(found, critical=True, part=Part.DATABASE))

    def _deliver(self) -> None:
        if not self._may_deliver or not (self._local or self.database.ok):
            return
        via = Via(self._settings.get("twcmanager.deliver"))
        report = sync(self._settings, SyncOptions(via), clock=self._clock, environ=self._environ)
        self._counters.deliveries[report.result.value] += 1
        if report.result in (Result.WRITTEN, Result.PUSHED):
            self._tell(TokenChange(self._clock.now(), report).event)
        found = report.error.problem if report.error else _not_lasting(report)
        self._put("delivery", rated(found, critical=self._local, part=Part.TWCMANAGER) if found else None)


def _renewed(settings: Settings) -> Settings:
    """With TWCManager's config.json as it is now; as it was, where it cannot be read."""
    if settings.twc_config is None:
        return settings
    try:
        return settings._replace(twc_config=read_twc_config(settings.twc_config.path))
    except ConfigError:
        return settings


def _not_lasting(report: Report) -> Problem | None:
    """Why a delivery that succeeded does not last."""
    if report.delivery is None or report.delivery.lasting:
        return None
    return next((one for one in report.warnings if one.cause is Cause.TWCMANAGER_RUNNING), None)


def _credential(secret: Secret) -> Credential:
    return Credential(secret, read_claims(secret.reveal()) or NO_CLAIMS)
