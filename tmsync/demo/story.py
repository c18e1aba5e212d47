"""The demo's plot: what goes wrong, what fixes it, and what it looks like when all is well."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import ExitCode
from tmsync.core.fixes import problem
from tmsync.core.process import without_secrets
from tmsync.demo.server import DemoError
from tmsync.demo.stage import CHARGING, SPEED, Stage, vin

LIVE_S: Final = 20.0
"""Long enough for one car to go stale, for another to turn unhealthy, and for both to be trusted again."""
PATIENCE_S: Final = 40.0
PAUSE_S: Final = 0.3
ENOUGH: Final = 6
"""So many answers in a row show who answers now."""
SOURCES: Final = {"teslamate": "TeslaMate", "tesla": "Tesla"}
TRY: Final = (
    "tmsync check-db",
    "tmsync sync-tokens --dry-run",
    "tmsync watch-mqtt",
    "tmsync watch-mqtt --once --json",
    "tmsync status",
    "tmsync config",
)


class Story:
    """Tells each step to `tell` and runs the commands as a person would.

    keep: leave everything running afterwards, until interrupted. duration: seconds to watch live, or with keep to
    leave it running; None for the usual.
    """

    def __init__(self, tell: Callable[[str], None], now: datetime, *, keep: bool, duration: float | None) -> None:
        self._tell = tell
        self._now = now
        self._keep = keep
        self._duration = duration

    def run(self) -> ExitCode:
        """The whole story.

        Raises: DemoError, also when a command did not do what it should; KeyboardInterrupt.
        """
        with Stage(self._tell, self._now) as stage:
            self._token(stage)
            self._telemetry(stage)
            self._service(stage)
            if self._keep:
                self._leave_running(stage)
            self._tell("\nThe servers are stopped and everything is removed.")
        return ExitCode.GOOD

    def _token(self, stage: Stage) -> None:
        self._tell("\nTeslaMate runs, and TWCManager knows nothing of it. Can this host read TeslaMate's database?")
        self._command(stage, ["check-db"], expected=1)
        told = json.loads(self._output(stage, ["check-db", "--json"]))
        line = next(check["hba_line"] for check in told["checks"] if check["id"] == "pg-hba")
        self._tell("\nThat line goes into the server's pg_hba.conf, and the server reloads it.")
        stage.let_in(line)
        self._command(stage, ["check-db"], expected=0)
        self._tell("\nNow the token can go over to TWCManager, which runs and takes it at once.")
        self._command(stage, ["sync-tokens", "--check"], expected=3)
        self._command(stage, ["sync-tokens"], expected=0)
        settings = stage.twcmanager.settings_file
        self._tell(f"\n{settings.name} afterwards: the refresh token stayed with TeslaMate.")
        self._tell(_shown(settings))
        self._tell("\nThe next run, five minutes later, finds nothing to do; cron hears nothing of it.")
        self._command(stage, ["sync-tokens"], expected=0)

    def _telemetry(self, stage: Stage) -> None:
        live = LIVE_S if self._duration is None or self._keep else self._duration
        self._tell(
            "\nThe cars, live: one charges, one drives, one is asleep, one suspended. Silver falls silent for a while,"
            f" and Green's API calls fail. All this {SPEED} times as fast as life, and the demo's health.* thresholds"
            " are as much shorter: what takes seconds here takes minutes at home."
        )
        stage.begin_troubles()
        self._command(stage, ["watch-mqtt", "--duration", f"{live:g}"], expected=0)
        stage.end_troubles()
        self._tell("\nAnd everything in one look; also for Nagios, Prometheus and scripts.")
        self._command(stage, ["status"], expected=0)

    def _service(self, stage: Stage) -> None:
        if importlib.util.find_spec("aiohttp") is None:
            self._tell("\nWhat tmsync serve does is left out: it needs more packages (pip install 'tmsync[serve]').")
            return
        self._tell(
            "\nTWCManager believes what it heard last for hours, or for ever. So tmsync takes its calls to Tesla's API:"
            " it answers from TeslaMate while that is to be trusted, and passes them on otherwise."
        )
        api = stage.begin_service()
        self._tell("\n$ tmsync serve")
        command = [*TMSYNC, "serve", "--quiet"]
        with subprocess.Popen(command, env=_environ(stage), stdin=subprocess.DEVNULL) as serve:
            try:
                asked = self._asks(stage, "teslamate", serve)
                self._tell("\nTeslaMate is killed, and Blue is unplugged and drives off.")
                stage.kill_teslamate()
                asked += self._asks(stage, "tesla", serve)
                self._tell("\nTeslaMate is started again.")
                stage.start_teslamate()
                asked += self._asks(stage, "teslamate", serve)
            finally:
                serve.terminate()
        saved = asked - api.calls
        self._tell(f"\nTWCManager asked {asked} times, Tesla was called {api.calls} times: {saved} calls saved.")

    def _asks(self, stage: Stage, wanted: str, serve: "subprocess.Popen[bytes]") -> int:
        """TWCManager asks for Blue again and again, until `wanted` has answered some times; how often it asked."""
        asked, right, told = 0, 0, ""
        until = time.monotonic() + PATIENCE_S
        while right < ENOUGH:
            time.sleep(PAUSE_S)
            try:
                words, source = stage.twcmanager.ask(vin(CHARGING))
            except OSError:
                words, source = "", ""
            source = source if source in SOURCES else ""
            if time.monotonic() > until or serve.poll() is not None:
                message = f"tmsync serve does not answer from {wanted}, but {words or 'not at all'}"
                raise DemoError(problem(Cause.INTERNAL, message, variant="demo"))
            if source:
                asked += 1
                right = right + 1 if source == wanted else 0
                line = f"TWCManager asks for Blue: {words.split(' at ')[0]}, from {SOURCES[source]}"
                if line != told:
                    self._tell(line)
                told = line
        return asked

    def _leave_running(self, stage: Stage) -> None:
        stage.slow_down()
        self._tell("\nEverything goes on, at the pace of life and with the usual thresholds. In another terminal:\n")
        self._tell(f"  export TMSYNC_CONFIG={stage.config}")
        for line in TRY:
            self._tell(f"  {line}")
        until = "Ctrl-C ends it" if self._duration is None else f"It ends in {self._duration:g} s, or with Ctrl-C"
        self._tell(f"\n{until}, and removes everything.")
        begun = time.monotonic()
        while self._duration is None or time.monotonic() < begun + self._duration:
            time.sleep(0.2)

    def _command(self, stage: Stage, arguments: list[str], *, expected: int) -> None:
        self._tell(f"\n$ tmsync {' '.join(arguments)}")
        code = subprocess.run(
            [*TMSYNC, *arguments], check=False, env=_environ(stage), stdin=subprocess.DEVNULL
        ).returncode
        if code != expected:
            message = f"tmsync {arguments[0]} ended with {code} instead of {expected}"
            raise DemoError(problem(Cause.INTERNAL, message, variant="demo"))

    def _output(self, stage: Stage, arguments: list[str]) -> str:
        done = subprocess.run([*TMSYNC, *arguments], check=False, env=_environ(stage), capture_output=True, text=True)
        return done.stdout


TMSYNC: Final = (sys.executable, "-m", "tmsync")


def _environ(stage: Stage) -> dict[str, str]:
    """The surroundings without what could lead the demo's commands to a real TeslaMate."""
    return {**without_secrets(os.environ), "TMSYNC_CONFIG": str(stage.config)}


def _shown(settings: Path) -> str:
    """settings.json with its token shortened: a demo's token is made up, but habits are real."""
    data = json.loads(settings.read_text("utf-8"))
    data["carApiBearerToken"] = f"{data['carApiBearerToken'][:6]}... ({len(data['carApiBearerToken'])} characters)"
    return json.dumps(data, indent=2)
