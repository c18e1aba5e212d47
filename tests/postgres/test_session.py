"""A session on a real server: its limits in bytes, rows and time, over TCP, TLS and the Unix socket."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.surroundings import OPEN, PASSWORD, TeslaMate
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.net.dial import Address
from tmsync.core.postgres import session as sessions
from tmsync.core.postgres.session import QueryFailed, Session, connect
from tmsync.core.secret import Secret

MIB = 1 << 20


def settings(
    teslamate: TeslaMate, host: str = "127.0.0.1", sslmode: str = "prefer", timeout: float = 20
) -> DatabaseSettings:
    return DatabaseSettings(
        host=host, port=teslamate.postgres.port, name="teslamate", user="teslamate", password=Secret(PASSWORD),
        sslmode=sslmode, sslrootcert=None, connect_timeout=timeout,
    )  # fmt: skip


@pytest.fixture(params=["tcp", "tls", "socket"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    tls = request.param == "tls"
    teslamate: TeslaMate = request.getfixturevalue("tls_teslamate" if tls else "teslamate")
    host = str(teslamate.postgres.folder) if request.param == "socket" else "127.0.0.1"
    with connect(settings(teslamate, host, "require" if tls else "prefer")) as opened:
        assert (opened.tls_version is not None) == tls
        yield opened


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 16384, 65535, 65536, 65537, MIB, 7 * MIB])
def test_large_answers_arrive_whole(session: Session, size: int) -> None:
    assert session.query("select repeat('x', %s)", (size,)) == [("x" * size,)]


def test_many_rows_arrive_whole(session: Session) -> None:
    rows = session.query("select n, repeat('y', n %% 100) from generate_series(1, %s) n", (50_000,))
    assert rows == [(n, "y" * (n % 100)) for n in range(1, 50_001)]


@pytest.mark.parametrize(
    "statement",
    [
        "select repeat('x', 50000000)",
        "select repeat('x', 1000) from generate_series(1, 100000)",
        "select from generate_series(1, 2000000)",
        "select 1 from generate_series(1, 100001)",
    ],
    ids=["one-row", "many-rows", "rows-of-nothing", "more-rows-than-asked-for"],
)
def test_more_than_was_asked_for_ends_the_session(session: Session, statement: str) -> None:
    for _ in range(2):
        with pytest.raises(QueryFailed, match="sends more than"):
            session.query(statement)


def test_session_outlives_a_statement_that_fails(session: Session) -> None:
    for _ in range(3):
        with pytest.raises(QueryFailed) as told:
            session.query("select * from nowhere")
        assert told.value.sqlstate == "42P01"
        assert session.query("select 1") == [(1,)]


def test_large_statement_goes_out_whole(session: Session) -> None:
    assert session.query("select length(%s)", ("z" * 5 * MIB,)) == [(5 * MIB,)]


def test_slow_answer_ends_the_session(teslamate: TeslaMate) -> None:
    with connect(settings(teslamate, timeout=0.3)) as session:
        for _ in range(2):
            with pytest.raises(QueryFailed, match=r"no answer came within 0\.3 s"):
                session.query("select pg_sleep(3)")


def test_server_that_ends_the_session_is_told(teslamate: TeslaMate) -> None:
    with connect(settings(teslamate)) as session:
        (pid,) = session.query("select pg_backend_pid()")[0]
        teslamate.sql(f"select pg_terminate_backend({pid})", "postgres")
        for _ in range(2):
            with pytest.raises(QueryFailed, match="terminating connection"):
                session.query("select 1")


def test_closed_session_is_no_broken_connection_for_the_server(teslamate: TeslaMate) -> None:
    log = teslamate.postgres.folder / "log"
    with connect(settings(teslamate)) as session:
        session.query("select 1")
    told = "".join(path.read_text(errors="replace") for path in [log] if path.is_file())
    assert "unexpected EOF on client connection" not in told


@pytest.fixture
def silent_address(teslamate: TeslaMate) -> Iterator[str]:
    """A loopback address that lets nobody finish connecting."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.2", teslamate.postgres.port))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield "127.0.0.2"


def pretend(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    found = [Address(socket.AF_INET, (text, 0), text) for text in texts]
    give: Callable[..., list[Address]] = lambda *_: found  # noqa: E731
    monkeypatch.setattr(sessions, "resolve", give)


def test_next_address_is_tried_after_one_that_refuses(teslamate: TeslaMate, monkeypatch: pytest.MonkeyPatch) -> None:
    teslamate.hba(OPEN)
    pretend(monkeypatch, "127.0.0.3", "127.0.0.1")
    with connect(settings(teslamate, "db.test")) as session:
        assert session.query("select 1") == [(1,)]


def test_next_address_is_tried_after_one_that_is_silent(
    teslamate: TeslaMate, monkeypatch: pytest.MonkeyPatch, silent_address: str
) -> None:
    pretend(monkeypatch, silent_address, "127.0.0.1")
    with connect(settings(teslamate, "db.test", timeout=1)) as session:
        assert session.query("select 1") == [(1,)]
    pretend(monkeypatch, silent_address)
    with pytest.raises(sessions.ConnectFailed, match="within 1 s"):
        connect(settings(teslamate, "db.test", timeout=1))
