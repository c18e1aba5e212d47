"""Brings TeslaMate's token to TWCManager: what to do, how, and whether it arrived.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (it refreshes by itself only while it holds a refresh token, and a
refresh rotates the token behind TeslaMate's back), lib/TWCManager/Control/HTTPControl.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from tmsync.core import trace
from tmsync.core.clock import Clock
from tmsync.core.config.settings import Settings, TwcSettings
from tmsync.core.errors import Cause, DeliveryError, ExitCode, Problem, TmsyncError
from tmsync.core.tokens.export import Tokens, fingerprint, read_tokens
from tmsync.core.twcmanager.presence import Presence, Sighting, look
from tmsync.core.twcmanager.settings_content import BEARER, REFRESH, Snapshot, TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile
from tmsync.core.words import in_words

FAR_AWAY: Final = 4_102_444_800
"""2100-01-01: an expiry that keeps TWCManager from refreshing a token whose refresh token is shared with it."""
HTTP_TIMEOUT_S: Final = 5.0
STATUS_TIMEOUT_S: Final = 2.0
PROOF_S: Final = 3.0
"""How long TWCManager may take to save what was pushed."""
RESTART_TIMEOUT_S: Final = 60.0
OURS: Final = ("TMSYNC_", "PG")
"""Variables that may hold secrets and are nobody else's business."""


class Result(StrEnum):
    """What a run came to."""

    WRITTEN = "written"
    PUSHED = "pushed"
    UNCHANGED = "unchanged"
    DRY_RUN = "dry-run"
    OUT_OF_SYNC = "out-of-sync"
    FAILED = "failed"


class Via(StrEnum):
    """The way a token takes."""

    AUTO = "auto"
    FILE = "file"
    HTTP = "http"


@dataclass(slots=True)
class Delivery:
    """How the token went, or would go. verified: None where nothing can prove it."""

    via: Via
    target: str
    verified: bool | None = None
    twcmanager: Presence = Presence.UNKNOWN
    backup: str | None = None


@dataclass(slots=True)
class Report:
    """The outcome of one run."""

    result: Result = Result.FAILED
    tokens: Tokens | None = None
    shared: bool = False
    delivery: Delivery | None = None
    held: str = ""
    """Fingerprint of the token TWCManager held before, empty when it held none."""
    warnings: list[Problem] = field(default_factory=list)
    error: TmsyncError | None = None
    lasting: bool = True
    """False when a running TWCManager is about to write its old token over the new one."""

    @property
    def exit_code(self) -> ExitCode:
        """0 also for a dry run; 3 for out of sync."""
        if self.error is not None:
            return self.error.exit_code
        if self.result is Result.OUT_OF_SYNC:
            return ExitCode.OUT_OF_SYNC
        return ExitCode.GOOD if self.lasting else ExitCode.PROBLEM

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The document's fields, without command and version."""
        delivery = self.delivery
        return {
            "ok": self.exit_code is ExitCode.GOOD,
            "result": self.result.value,
            "token": self.tokens.as_json(now) if self.tokens else None,
            "refresh_token": "shared" if self.shared else "withheld",
            "delivery": None
            if delivery is None
            else {
                "via": delivery.via.value,
                "target": delivery.target,
                "verified": delivery.verified,
                "twcmanager": delivery.twcmanager.value,
                "backup": delivery.backup,
            },
            "warnings": [warning.as_json() for warning in self.warnings],
            "error": self.error.problem.as_json() if self.error else None,
        }


class Wish(NamedTuple):
    """How sync-tokens was asked to work."""

    via: Via
    dry_run: bool = False
    check: bool = False
    force: bool = False


def sync(settings: Settings, wish: Wish, *, clock: Clock, environ: Mapping[str, str]) -> Report:
    """One run, start to end. Never raises for what it is there to tell."""
    report = Report(warnings=list(settings.warnings))
    try:
        _Run(settings, wish, report, clock, environ).run()
    except TmsyncError as error:
        report.result = Result.FAILED
        report.error = error
    return report


class _Run:
    tokens: Tokens
    fields: TokenFields

    def __init__(
        self, settings: Settings, wish: Wish, report: Report, clock: Clock, environ: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self.wish = wish
        self.report = report
        self.clock = clock
        self.environ = environ
        self.twc: TwcSettings = settings.twcmanager()
        self.file = SettingsFile(self.twc.settings_file)

    def run(self) -> None:
        report, twc = self.report, self.twc
        report.shared = twc.share_refresh_token
        if twc.config is not None and twc.config.sync_tokens:
            raise DeliveryError(
                Cause.SYNC_ENABLED_IN_TWCMANAGER,
                f"TWCManager's own syncTokens is on ({twc.config.path}, vehicle.TeslaMate); it refuses other tokens",
                "Set syncTokens to false there and restart TWCManager.",
            )
        self.tokens = report.tokens = read_tokens(
            self.settings, clock=self.clock, environ=self.environ, with_refresh=report.shared
        )
        self._judge()
        tokens = self.tokens
        refresh = tokens.refresh.reveal() if tokens.refresh else ""
        expiry = FAR_AWAY if report.shared else int(tokens.expires_at.timestamp())
        self.fields = TokenFields(tokens.access.reveal(), refresh, expiry)
        if self.wish.via is Via.HTTP:
            self._http(None)
        else:
            self._local()

    def _judge(self) -> None:
        now = self.clock.now()
        left = self.tokens.expires_at - now
        if self.tokens.claims.expires_at is not None and left <= timedelta(0) and not self.wish.force:
            raise DeliveryError(
                Cause.EXPIRED,
                f"TeslaMate's access token expired {in_words(-left)} ago; it was not exported",
                "TeslaMate renews it while it is signed in: docker compose logs --tail 50 teslamate. --force exports"
                " it all the same.",
            )
        self.report.warnings += self.tokens.warnings(now)

    # -- by file, or by whatever suits

    def _local(self) -> None:
        try:
            snapshot = self.file.read(self.clock)
        except DeliveryError as error:
            # TWCManager may run on another host: then there is no file to see, and its address is enough.
            sighting = self._look() if self.wish.via is Via.AUTO else None
            if sighting is None or not sighting.reachable:
                raise
            trace.say(str(error))
            self._http(sighting)
            return
        self._note_held(snapshot)
        delivery = self.report.delivery = Delivery(Via.FILE, str(self.file.path))
        if snapshot.holds(self.fields):
            # Also under the lock's protection: a killed run may have left something to finish.
            if not (self.wish.check or self.wish.dry_run):
                self.file.write(self.fields, self.clock)
            delivery.verified = True
            self.report.result = Result.UNCHANGED
            return
        sighting = self._look()
        delivery.twcmanager = sighting.presence
        if sighting.reachable and self.wish.via is Via.AUTO:
            self._http(sighting)
        elif not self._only_asked():
            self._write(sighting, delivery)

    def _look(self) -> Sighting:
        config_file = self.twc.config.path if self.twc.config else None
        sighting = look(self.file.real, config_file, self.twc.url, STATUS_TIMEOUT_S)
        trace.say(f"TWCManager is {sighting.presence}: {sighting.reason}")
        return sighting

    def _write(self, sighting: Sighting, delivery: Delivery) -> None:
        written = self.file.write(self.fields, self.clock)
        self.report.warnings += written.warnings
        self.report.result = Result.WRITTEN if written.changed else Result.UNCHANGED
        delivery.backup = str(written.backup) if written.backup else None
        if sighting.presence is Presence.RUNNING:
            self._make_it_last(sighting, delivery)
        delivery.verified = self.file.read(self.clock).holds(self.fields)
        if not delivery.verified:
            raise DeliveryError(
                Cause.TWCMANAGER_RUNNING,
                f"{self.file.path} was written, and another program put another token there at once",
                "That is a running TWCManager: deliver with --via http.",
            )

    def _make_it_last(self, sighting: Sighting, delivery: Delivery) -> None:
        """A running TWCManager reads the file at its start only, and writes its own token over it at its next save."""
        command = self.twc.restart_command
        if command:
            self._restart(command)
            if not self.file.read(self.clock).holds(self.fields):
                self.file.write(self.fields, self.clock)
                self._restart(command)
            delivery.twcmanager = Presence.RUNNING
            return
        self.report.lasting = False
        self.report.warnings.append(
            Problem(
                Cause.TWCMANAGER_RUNNING,
                f"TWCManager is running ({sighting.reason}): it does not read the file before its next start, and its"
                " next save writes its old token over it",
                "Restart TWCManager now (sudo systemctl restart twcmanager), set twcmanager.restart_command, or deliver"
                " with --via http.",
            )
        )

    def _restart(self, command: tuple[str, ...]) -> None:
        import subprocess

        trace.say(f"restarting TWCManager: {command[0]}")
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                timeout=RESTART_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                env={name: value for name, value in self.environ.items() if not name.startswith(OURS)},
            )
        except subprocess.TimeoutExpired:
            words = f"it did not end within {RESTART_TIMEOUT_S:g} s"
        except OSError as error:
            words = error.strerror or "it cannot be started"
        else:
            if done.returncode == 0:
                return
            lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            words = f"exit code {done.returncode}" + (f": {lines[-1][:200]}" if lines else "")
        raise DeliveryError(
            Cause.TWCMANAGER_RUNNING,
            f"the file was written, but twcmanager.restart_command ({command[0]}) failed: {words}",
            "Restart TWCManager by hand; its next save would write its old token over the new one.",
        )

    # -- by its web control

    def _http(self, sighting: Sighting | None) -> None:
        from tmsync.core.twcmanager.http import answers_as_twcmanager, push

        url = self.twc.url
        delivery = self.report.delivery = Delivery(Via.HTTP, url)
        reachable = sighting.reachable if sighting else answers_as_twcmanager(url, STATUS_TIMEOUT_S)
        delivery.twcmanager = Presence.RUNNING if reachable else Presence.UNKNOWN
        snapshot = self._readable_snapshot()
        if snapshot is not None:
            self._note_held(snapshot)
            self._warn_of_refresh_token(snapshot)
        if snapshot is not None and self._is_held(snapshot):
            delivery.verified = True
            self.report.result = Result.UNCHANGED
            return
        if self.wish.check and snapshot is None:
            raise DeliveryError(
                Cause.SETTINGS_UNREADABLE,
                f"{self.file.path} cannot be read here, so nothing tells which token TWCManager holds",
                "Run --check where TWCManager's settings.json can be read.",
            )
        if self._only_asked():
            return
        form = {BEARER: self.fields.bearer}
        if self.report.shared:
            form[REFRESH] = self.fields.refresh
        push(url, form, HTTP_TIMEOUT_S)
        delivery.verified = self._proof() if snapshot is not None else None
        if delivery.verified is False:
            raise DeliveryError(
                Cause.TWCMANAGER_REFUSED,
                f"TWCManager at {url} answered, but {self.file.path} does not hold the new token",
                "Check that this is its settings.json, and that its own syncTokens is off.",
            )
        self.report.result = Result.PUSHED

    def _readable_snapshot(self) -> Snapshot | None:
        try:
            snapshot = self.file.read(self.clock)
        except DeliveryError as error:
            trace.say(f"no proof by file: {error}")
            return None
        return snapshot if snapshot.stat is not None else None

    def _is_held(self, snapshot: Snapshot) -> bool:
        """What counts in a running TWCManager; the expiry it works out by itself."""
        refresh = not self.report.shared or snapshot.held(REFRESH) == self.fields.refresh
        return snapshot.held(BEARER) == self.fields.bearer and refresh

    def _warn_of_refresh_token(self, snapshot: Snapshot) -> None:
        if not self.report.shared and snapshot.held(REFRESH):
            self.report.warnings.append(
                Problem(
                    Cause.HOLDS_REFRESH_TOKEN,
                    "TWCManager holds a refresh token of its own, and will rotate TeslaMate's tokens with it",
                    "Clear it: stop TWCManager, run tmsync sync-tokens --via file, start TWCManager.",
                )
            )

    def _proof(self) -> bool:
        deadline = self.clock.monotonic() + PROOF_S
        while True:
            snapshot = self._readable_snapshot()
            if snapshot is not None and self._is_held(snapshot):
                return True
            if self.clock.monotonic() >= deadline:
                return False
            self.clock.sleep(0.1)

    # -- shared

    def _only_asked(self) -> bool:
        """For --check and --dry-run: set the result and say that nothing is to be done."""
        if self.wish.check:
            self.report.result = Result.OUT_OF_SYNC
        elif self.wish.dry_run:
            self.report.result = Result.DRY_RUN
        return self.wish.check or self.wish.dry_run

    def _note_held(self, snapshot: Snapshot) -> None:
        held = snapshot.held(BEARER)
        self.report.held = fingerprint(held) if held else ""
