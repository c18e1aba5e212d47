"""A pooler before PostgreSQL: what it lets through works, and what it refuses is not blamed on pg_hba.conf."""

from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest

from tests.hostile.test_malicious_postgres import message, speaks
from tests.support.listeners import listener
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer, pgbouncer
from tests.support.surroundings import LOCAL, PASSWORD, Run, TeslaMate

pytestmark = needs_pgbouncer


def through(teslamate: TeslaMate, bouncer: PgBouncer, *arguments: str, **changes: str | None) -> Run:
    return teslamate.check_db("--db-port", str(bouncer.port), *arguments, **changes)


def expect(run: Run, check_id: str, cause: str, words: str) -> list[str]:
    failed = run.failed
    assert failed is not None, run.out
    assert (failed["id"], failed["cause"]) == (check_id, cause), failed
    assert words in failed["summary"] + failed["detail"]
    assert failed["hba_line"] is None
    fix: list[str] = failed["fix"]
    assert fix
    assert not any("sed -i" in line for line in fix)
    return fix


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
@pytest.mark.parametrize("auth", ["scram-sha-256", "md5", "plain"])
def test_all_is_read_through_every_pool_mode(teslamate: TeslaMate, mode: str, auth: str) -> None:
    with pgbouncer(teslamate, {"pool_mode": mode, "auth_type": auth}) as bouncer:
        run = through(teslamate, bouncer)
    assert run.failed is None, run.failed


@pytest.mark.parametrize(
    ("options", "hba", "cause", "words"),
    [
        ({"max_client_conn": "0"}, "", "too-many-connections", "no more connections allowed"),
        ({}, "host all all 127.0.0.1/32 reject\n", "pooler", "login rejected"),
        ({}, "host all all 10.0.0.1/32 md5\n", "pooler", "login rejected"),
        ({}, "host all all 127.0.0.1/32 cert\n", "pooler", "certificate authentication failed"),
    ],
    ids=["max_client_conn", "reject", "no-line", "cert"],
)
def test_refusal_at_once(teslamate: TeslaMate, options: dict[str, str], hba: str, cause: str, words: str) -> None:
    with pgbouncer(teslamate, options, hba=hba) as bouncer:
        expect(through(teslamate, bouncer), "protocol", cause, words)


def test_refusals_at_the_login(teslamate: TeslaMate) -> None:
    with pgbouncer(teslamate) as bouncer:
        expect(through(teslamate, bouncer, "--db-name", "nix"), "login", "no-database", "no such database: nix")
        fix = expect(
            through(teslamate, bouncer, TMSYNC_DATABASE_PASSWORD="x"), "login", "bad-credentials", "SASL authentication"
        )
        assert any("auth_file" in line for line in fix)
        expect(through(teslamate, bouncer, "--db-user", "ghost"), "login", "bad-credentials", "SASL authentication")
        bouncer.admin("DISABLE teslamate")
        expect(through(teslamate, bouncer), "login", "pooler", 'database "teslamate" is disabled')
        bouncer.admin("ENABLE teslamate")
        bouncer.admin("PAUSE teslamate")
        run = through(teslamate, bouncer, TMSYNC_DATABASE_CONNECT_TIMEOUT="1")
        expect(run, "login", "no-answer", "not finished within 1 s")


@pytest.mark.parametrize("auth", ["md5", "plain"])
def test_wrong_password_for_other_methods(teslamate: TeslaMate, auth: str) -> None:
    with pgbouncer(teslamate, {"auth_type": auth}) as bouncer:
        run = through(teslamate, bouncer, TMSYNC_DATABASE_PASSWORD="x")
        expect(run, "login", "bad-credentials", "password authentication failed")


def test_unknown_user_of_a_pooler_that_trusts_all_it_knows(teslamate: TeslaMate) -> None:
    with pgbouncer(teslamate, {"auth_type": "trust"}) as bouncer:
        run = through(teslamate, bouncer, "--db-user", "ghost")
        expect(run, "login", "bad-credentials", '"trust" authentication failed')


@pytest.mark.parametrize(
    ("spoil", "cause", "words"),
    [
        (lambda t: t.hba(LOCAL), "pooler", "no pg_hba.conf entry for host"),
        (lambda t: t.sql("alter role teslamate nologin", "postgres"), "no-login", "not permitted to log in"),
        (lambda t: t.sql("alter role teslamate password 'x'", "postgres"), "bad-credentials", "authentication failed"),
    ],
    ids=["pg_hba", "nologin", "password"],
)
def test_postgresqls_own_refusal_is_quoted_by_the_pooler(
    teslamate: TeslaMate, spoil: Callable[[TeslaMate], None], cause: str, words: str
) -> None:
    spoil(teslamate)
    with pgbouncer(teslamate) as bouncer:
        expect(through(teslamate, bouncer, TMSYNC_DATABASE_CONNECT_TIMEOUT="2"), "login", cause, words)


def test_server_behind_the_pooler_is_down_or_busy(teslamate: TeslaMate) -> None:
    busy = {"max_db_connections": "1", "query_wait_timeout": "1"}
    with pgbouncer(teslamate, busy) as bouncer:
        conn = psycopg2.connect(
            host="127.0.0.1", port=bouncer.port, dbname="teslamate", user="teslamate", password=PASSWORD
        )
        with closing(conn):
            conn.cursor().execute("select 1")
            expect(through(teslamate, bouncer), "schema", "pooler", "query_wait_timeout")


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        (b"SFATAL\0VFATAL\0CXX000\0MTenant or user not found\0\0", "pooler"),
        (b"SFATAL\0C28000\0MThis RDS proxy has no credentials for the role teslamate\0\0", "pooler"),
        (b"SERROR\0C08P01\0MEndpoint ID is not specified\0\0", "pooler"),
        (b"SFATAL\0VFATAL\0C0A000\0Munsupported frontend protocol\0RProcessStartupPacket\0L1\0\0", "server-error"),
        (b"SFATAL\0VFATAL\0C57P03\0Mstarting\0\0", "starting-up"),
    ],
)
def test_words_of_others_are_quoted(teslamate: TeslaMate, fields: bytes, cause: str) -> None:
    with listener(speaks(message(b"E", fields))) as port:
        run = teslamate.check_db("--db-port", str(port))
        words = fields.partition(b"M")[2].partition(b"\0")[0].decode()
        expect(run, "protocol", cause, words)
