"""What the tests run on: private servers, a TWCManager folder, and tmsync, in this process or in one of its own.

`python -m tests.support.surroundings` says which servers were found, a line for each kind.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO, cast

from typer import rich_utils

from tests.reference import fields
from tests.support.bring import add_to_path
from tmsync.cli import run
from tmsync.demo.broker import PrivateMosquitto, PurePythonBroker, find_mosquitto
from tmsync.demo.postgres import PrivatePostgres, find_binaries
from tmsync.demo.teslamate import TABLES, DatabaseSession, access_token, refresh_token, sealed, token_row, token_table

PASSWORD = "pass-SECRET-word"
KEY = "key-SECRET-0123456789"
LOCAL = "local all all trust\n"
NOWHERE = "/proc/nothing"
"""Where not even root can make a folder: no run leaves anything to the next."""
OPEN = LOCAL + "host all all all scram-sha-256\n"


@dataclass
class Run:
    """A finished tmsync: its exit code and what it said where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document, which holds what its reference page says, and nothing else."""
        found, what, makers = fields.printed(self.out)
        assert fields.mistakes(found, makers, what) == []
        return json.loads(self.out)

    def check(self, check_id: str) -> dict[str, Any]:
        return next(check for check in self.json["checks"] if check["id"] == check_id)

    @property
    def failed(self) -> dict[str, Any] | None:
        return next((check for check in self.json["checks"] if check["status"] == "fail"), None)


def clean_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """No configuration, no password file, no state, nobody's environment; and what the test adds."""
    own = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "STATE_DIRECTORY": NOWHERE}
    return {**own, **(environ or {})}


def tmsync(*arguments: str, environ: Mapping[str, str] | None = None, timeout: float = 60) -> Run:
    """Run tmsync in this very process, at a fraction of what a process of its own costs. timeout: seconds.

    Where several run at once, in threads, each is a process: streams and environment are a process's own.
    """
    if threading.current_thread() is not threading.main_thread():
        return tmsync_process(*arguments, environ=environ, timeout=timeout)
    with ExitStack() as stack:
        out, err = (stack.enter_context(_text_file()) for _ in range(2))
        stack.enter_context(_surroundings(clean_environ(environ), out, err))
        stack.enter_context(_limit(timeout))
        code = run(list(arguments))
        return Run(int(code), _written(out), _written(err))


def tmsync_process(*arguments: str, environ: Mapping[str, str] | None = None, **options: Any) -> Run:
    """Run tmsync as a process of its own, where the process is the point."""
    command = [sys.executable, "-m", "tmsync", *arguments]
    options = {"timeout": 60, "stdin": subprocess.DEVNULL, **options}
    done = subprocess.run(command, env=clean_environ(environ), capture_output=True, text=True, cwd="/", **options)
    return Run(done.returncode, done.stdout, done.stderr)


def _text_file() -> TextIO:
    """Standard output or error: a file, so that it has a number, as a process's has."""
    return cast("TextIO", tempfile.TemporaryFile("w+", encoding="utf-8"))


def _written(file: TextIO) -> str:
    file.flush()
    # Where a stream was led nowhere, its number is no longer the file's.
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    with os.fdopen(os.dup(file.fileno()), encoding="utf-8") as again:
        return again.read()


@contextmanager
def _surroundings(environ: Mapping[str, str], out: TextIO, err: TextIO) -> Iterator[None]:
    """Everything of this process that tmsync looks at, as a new process would have it; as it was, afterwards."""
    before = dict(os.environ), Path.cwd(), (sys.stdin, sys.stdout, sys.stderr)
    # Typer reads these once, when it is first imported.
    colours = rich_utils.FORCE_TERMINAL
    forced = any(environ.get(name) for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"))
    logger = logging.getLogger("tmsync")
    log = logger.level, logger.handlers[:], logger.propagate
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        try:
            os.environ.clear()
            os.environ.update(environ)
            os.chdir("/")
            sys.stdin, sys.stdout, sys.stderr = nothing, out, err
            rich_utils.FORCE_TERMINAL = forced or None
            yield
        finally:
            rich_utils.FORCE_TERMINAL = colours
            sys.stdin, sys.stdout, sys.stderr = before[2]
            os.chdir(before[1])
            os.environ.clear()
            os.environ.update(before[0])
            logger.level, logger.handlers, logger.propagate = log


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Ends what hangs, as the limit of a process would."""

    def overdue(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"tmsync did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class TeslaMate:
    """A private server with TeslaMate's database; `fresh()` brings it back to a good state."""

    postgres: PrivatePostgres
    access: str = ""
    refresh: str = ""
    secrets: list[str] = field(default_factory=lambda: [PASSWORD, KEY])

    def sql(self, statements: str, database: str = "teslamate") -> list[tuple[Any, ...]]:
        return self.postgres.sql(statements, database)

    def create(self) -> None:
        self.sql(f"create role teslamate login password '{PASSWORD}'", "postgres")
        self.sql(f"create role twc login password '{PASSWORD}'", "postgres")
        self.sql("create database teslamate owner teslamate", "postgres")
        self.sql(f"set role teslamate; {TABLES} {token_table()}")

    def fresh(self) -> None:
        """Undo what a test may have changed."""
        self.sql(f"alter role teslamate login connection limit -1 password '{PASSWORD}'", "postgres")
        self.sql(f"alter role twc login connection limit -1 password '{PASSWORD}'", "postgres")
        self.sql("alter database teslamate allow_connections true", "postgres")
        self.sql("grant connect on database teslamate to public", "postgres")
        self.sql(
            "drop schema if exists private cascade; drop table if exists public.tokens;"
            f"set role teslamate; {token_table()}"
        )
        self.store(access_token(datetime.now(UTC) + timedelta(hours=7)))
        self.hba(OPEN)

    def store(self, access: str, refresh: str | None = None, key: str = KEY) -> None:
        """Put encrypted tokens into the row."""
        self.access, self.refresh = access, refresh or refresh_token()
        self.secrets += [self.access, self.refresh]
        self.sql(token_row(sealed(self.access, key), sealed(self.refresh, key)))

    def store_raw(self, access: str, refresh: str = "null", table: str = "private.tokens") -> None:
        """Put SQL expressions into the row."""
        self.sql(token_row(access, refresh, table))

    def logged_in(self) -> DatabaseSession:
        """A session of TeslaMate's own, as long as the `with` block runs."""
        return DatabaseSession(host="127.0.0.1", port=self.postgres.port, password=PASSWORD)

    def hba(self, text: str) -> None:
        self.postgres.write_hba(text)
        self.postgres.reload()

    def environ(self, **changes: str | None) -> dict[str, str]:
        """The environment that configures tmsync for this server; None takes a variable away."""
        values: dict[str, str | None] = {
            "TMSYNC_DATABASE_HOST": "127.0.0.1",
            "TMSYNC_DATABASE_PORT": str(self.postgres.port),
            "TMSYNC_DATABASE_PASSWORD": PASSWORD,
            "TMSYNC_TESLAMATE_ENCRYPTION_KEY": KEY,
            "TMSYNC_DATABASE_CONNECT_TIMEOUT": "5",
            **changes,
        }
        return {name: value for name, value in values.items() if value is not None}

    def check_db(self, *arguments: str, **changes: str | None) -> Run:
        return tmsync("check-db", "--json", *arguments, environ=self.environ(**changes))

    def sync(self, twc: "TwcFolder", *arguments: str, **changes: str | None) -> Run:
        environ = self.environ(TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config), **changes)
        return tmsync("sync-tokens", "--json", *arguments, environ=environ)


@dataclass
class TwcFolder:
    """A TWCManager folder: config.json and settings.json, and a web control port nobody listens on."""

    path: Path
    port: int

    def __post_init__(self) -> None:
        self.config = self.path / "config.json"
        self.settings = self.path / "settings.json"
        self.configure()

    def configure(self, **teslamate: Any) -> None:
        document = {
            "config": {"settingsPath": str(self.path)},
            "control": {"HTTP": {"listenPort": self.port}},
            "vehicle": {"TeslaMate": teslamate},
        }
        self.config.write_text(json.dumps(document))
        self.config.chmod(0o600)

    def write(self, data: Any, mode: int = 0o644) -> None:
        self.settings.write_text(data if isinstance(data, str) else json.dumps(data))
        self.settings.chmod(mode)

    def read(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.settings.read_text())
        return data

    def listing(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())


def main() -> None:
    add_to_path()
    found = [f"{binaries.version} ({binaries.origin})" for binaries in find_binaries()]
    print(f"PostgreSQL for the tests: {', '.join(found) or 'none at hand'}")
    print(f"MQTT broker for the tests: {broker_in_words()}")


def broker_in_words() -> str:
    """Mosquitto, or what the tests do without it."""
    if find_mosquitto() is not None:
        return PrivateMosquitto(Path()).origin
    instead = PurePythonBroker(Path()).origin
    return f"{instead} in Mosquitto's stead: tests that need Mosquitto are skipped (sudo apt-get install mosquitto)"


if __name__ == "__main__":
    main()
