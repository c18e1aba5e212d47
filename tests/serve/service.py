"""tmsync serve on a thread of the test's own: what it tells, and what it answers."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.support.surroundings import clean_environ
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.errors import TmsyncError
from tmsync.core.serve.board import Event
from tmsync.core.serve.service import Service
from tmsync.render.monitoring import openmetrics

SECONDS = 20.0


class Serving:
    """A serve under way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = clean_environ(environ)
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self.service = Service(
            lambda: load_settings(environ=self.environ),
            self._tell,
            openmetrics,
            clock=SystemClock(),
            environ=dict(self.environ),
            process=0,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "end":
            raise KeyboardInterrupt

    def _run(self) -> None:
        try:
            self.service.run()
        except (TmsyncError, KeyboardInterrupt) as error:
            self.error = error

    def end(self) -> None:
        self.service._later(Event(SystemClock().now(), "end", "", {}))
        self._thread.join(SECONDS)
        assert isinstance(self.error, KeyboardInterrupt), self.error

    def until(self, wanted: Callable[[dict[str, Any]], object], kind: str) -> dict[str, Any]:
        """The first event of that kind that is wanted."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for event in list(self.events):
                if event.kind == kind and wanted(event.fields):
                    return event.fields
            assert self.error is None, self.error
            time.sleep(0.01)
        raise AssertionError(f"no such event: {self.events}")

    def problem(self, cause: str, state: str = "raised") -> dict[str, Any]:
        return self.until(lambda event: (event["cause"], event["state"]) == (cause, state), "problem")

    def reload(self, *without: str, **changed: str) -> None:
        """Go on with other settings. without: what the variables begin with that are not set any more."""
        known = {**self.environ, **changed}
        self.environ = {name: value for name, value in known.items() if not name.startswith(without or "-")}
        self.service.ask_reload()

    def get(self, path: str, bearer: str = "", method: str = "GET", **headers: str) -> tuple[int, str]:
        host, _, port = self.environ["TMSYNC_SERVE_LISTEN"].rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {bearer}"} | headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def document(self, bearer: str = "") -> Any:
        return json.loads(self.get("/tmsync/vehicles", bearer)[1])


@contextlib.contextmanager
def serving(environ: Mapping[str, str]) -> Iterator[Serving]:
    found = Serving(environ)
    try:
        found.until(lambda event: event["state"] == "ready", "serve")
        yield found
    finally:
        found.end()
