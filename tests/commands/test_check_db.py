"""check-db against a real server in every state, each with its own cause, and the printed fixes applied."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from packaging.version import Version

from tests.conftest import GERMAN, server_folder
from tests.support.certificates import Authority
from tests.support.listeners import forward_from, hang_up, listener, loses_odd_words, says, silence, ssh, web_server
from tests.support.surroundings import KEY, LOCAL, OPEN, PASSWORD, Run, TeslaMate, TwcFolder, tmsync
from tmsync.core.check_db.ladder import diagnose
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.demo.postgres import Binaries, PrivatePostgres, find_binaries
from tmsync.demo.server import free_port
from tmsync.demo.teslamate import access_token, refresh_token, sealed, token_table

ORDER = [
    "config", "resolve", "connect", "protocol", "tls", "pg-hba", "login", "schema", "tokens", "decrypt", "claims",
]  # fmt: skip
MINE = "host teslamate teslamate 127.0.0.1/32 scram-sha-256"


def expect(run: Run, check_id: str, cause: str) -> dict[str, object]:
    """The run failed at `check_id` with `cause`: all before it passed, all after it was skipped."""
    failed = run.failed
    assert failed is not None, run.out
    assert (failed["id"], failed["cause"]) == (check_id, cause), failed
    assert [check["id"] for check in run.json["checks"]] == ORDER
    at = ORDER.index(check_id)
    assert {check["status"] for check in run.json["checks"][:at]} <= {"pass", "warn"}
    assert {check["status"] for check in run.json["checks"][at + 1 :]} <= {"skip"}
    assert run.json["ok"] is False
    assert run.code == (2 if check_id == "config" else 1)
    assert failed["summary"]
    assert failed["fix"]
    return failed


def expect_green(run: Run) -> None:
    assert run.failed is None, run.failed
    assert run.json["ok"] is True
    assert run.code == 0


def grants(check: dict[str, object]) -> list[str]:
    fix = check["fix"]
    assert isinstance(fix, list)
    return [line for line in fix if line.startswith(("GRANT", "ALTER", "CREATE"))]


# -- before PostgreSQL


def test_missing_host_is_a_configuration_error_and_the_document_is_printed_all_the_same() -> None:
    run = tmsync("check-db", "--json")
    failed = expect(run, "config", "missing-setting")
    target = {"host": None, "port": 5432, "name": "teslamate", "user": "teslamate", "sslmode": "prefer"}
    assert run.json["target"] == target
    assert "TMSYNC_DATABASE_HOST" in failed["fix"][0]  # type: ignore[index]


def test_unknown_key_is_named_in_the_document(make_config: Callable[..., Path]) -> None:
    path = make_config('[database]\nhots = "x"\n')
    failed = expect(tmsync("--config", str(path), "check-db", "--json"), "config", "unknown-key")
    assert str(path) in str(failed["summary"])
    assert "database.hots" in str(failed["summary"])
    assert "database.host" in failed["fix"][0]  # type: ignore[index]


def test_unresolvable_name() -> None:
    run = tmsync("check-db", "--json", "--db-host", "teslamate.invalid")
    expect(run, "resolve", "unresolvable")


def test_closed_port_names_server_docker_and_listen_addresses() -> None:
    run = tmsync("check-db", "--json", "--db-host", "127.0.0.1", "--db-port", str(free_port()))
    fix = " ".join(expect(run, "connect", "refused")["fix"])  # type: ignore[arg-type]
    assert "docker-compose.yml" in fix
    assert "listen_addresses" in fix
    assert "systemctl status postgresql" in fix


def test_port_that_drops_packets_times_out() -> None:
    with socket.socket() as full:
        # A listener whose queue is full ignores further connections, like a firewall that drops them.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with closing(socket.socket()) as first, closing(socket.socket()) as second:
            for sock in (first, second):
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            run = tmsync("check-db", "--json", "--db-host", "127.0.0.1", "--db-port", str(port), "--timeout", "1")
    expect(run, "connect", "timeout")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (silence, "no-answer"),
        (hang_up, "not-postgresql"),
        (ssh, "not-postgresql"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "not-postgresql"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "not-postgresql"),
        (says(b"SS"), "not-postgresql"),
        (says(b"N" + b"R\x00\x00\x00\x04"), "not-postgresql"),
        (says(b"E" + b"\xff" * 30), "not-postgresql"),
    ],
    ids=["silence", "hang-up", "ssh", "http", "tls-alert", "too-much", "too-early", "broken-error"],
)
def test_something_else_on_the_port(answer: Callable[[socket.socket], None], cause: str) -> None:
    with listener(answer) as port:
        run = tmsync("check-db", "--json", "--db-host", "127.0.0.1", "--db-port", str(port), "--timeout", "1")
    expect(run, "protocol", cause)


def test_web_server_that_waits_for_a_line_is_told_from_silence() -> None:
    with web_server() as port:
        run = tmsync("check-db", "--json", "--db-host", "127.0.0.1", "--db-port", str(port), "--timeout", "2")
    failed = expect(run, "protocol", "not-postgresql")
    assert "it answers" in str(failed["detail"])


def test_server_that_is_starting_up(binaries: Binaries) -> None:
    with server_folder() as folder:
        postgres = PrivatePostgres(binaries, folder, {"hot_standby": "off", "wal_level": "replica"})
        with postgres:
            postgres.stop()
            # A standby that waits for its primary lets nobody in: it is in recovery for as long as we like.
            (postgres.data / "standby.signal").touch()
            postgres.start(wait=False)
            for _ in range(100):
                arguments = ("--db-host", "127.0.0.1", "--db-port", str(postgres.port))
                run = tmsync("check-db", "--json", *arguments)
                if run.failed and run.failed["id"] != "connect":
                    break
            expect(run, "protocol", "starting-up")


def test_server_without_a_free_connection(binaries: Binaries) -> None:
    with server_folder() as folder, PrivatePostgres(binaries, folder, {"max_connections": "4"}) as postgres:
        arguments = ("check-db", "--json", "--db-host", "127.0.0.1", "--db-port", str(postgres.port))
        held = []
        try:
            # Connections that never say who they are count, too; when all are taken the server refuses at once.
            # One that the server's start has closed may take a place for a while.
            end = time.monotonic() + 1
            while time.monotonic() < end:
                with contextlib.suppress(psycopg2.OperationalError):
                    held.append(
                        psycopg2.connect(host=str(folder), port=postgres.port, dbname="postgres", user="postgres")
                    )
            run = tmsync(*arguments)
        finally:
            for conn in held:
                conn.close()
        expect(run, "protocol", "too-many-connections")


def test_all_addresses_of_a_name_are_tried_and_told(binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"listen_addresses": "'127.0.0.1'"}
    with server_folder() as folder, PrivatePostgres(binaries, folder, settings) as postgres:
        postgres.write_hba(LOCAL)
        postgres.reload()
        real = socket.getaddrinfo
        both = lambda _, port, **how: [*real("::1", port, **how), *real("127.0.0.1", port, **how)]  # noqa: E731
        monkeypatch.setattr(socket, "getaddrinfo", both)
        environ = {"TMSYNC_DATABASE_HOST": "teslamate.lan", "TMSYNC_DATABASE_PORT": str(postgres.port)}
        found = diagnose(load_settings(environ=environ), clock=SystemClock(), environ={})
    assert found.failure is not None
    assert (found.failure.id, found.failure.cause) == ("pg-hba", "no-entry")
    assert found.checks[1].summary == "teslamate.lan is ::1, 127.0.0.1"
    assert found.checks[2].details == ("::1: connection refused", "127.0.0.1: connected")


# -- TLS


def test_tls_is_used_where_it_is_offered(tls_teslamate: TeslaMate) -> None:
    run = tls_teslamate.check_db()
    expect_green(run)
    assert run.json["server"]["tls"].startswith("TLSv1.")
    assert run.check("tls")["summary"].startswith("TLSv1.")


def test_required_tls_is_not_available(teslamate: TeslaMate) -> None:
    expect(teslamate.check_db("--sslmode", "require"), "tls", "tls-unavailable")


def test_untrusted_certificate(tls_teslamate: TeslaMate) -> None:
    with server_folder() as folder:
        stranger = Authority(folder, "somebody else")
        run = tls_teslamate.check_db("--sslmode", "verify-ca", TMSYNC_DATABASE_SSLROOTCERT=str(stranger.root))
    expect(run, "tls", "tls-untrusted")
    expect(tls_teslamate.check_db("--sslmode", "verify-ca"), "tls", "tls-untrusted")


def test_certificate_for_another_name(tls_teslamate: TeslaMate, authority: Authority) -> None:
    root = {"TMSYNC_DATABASE_SSLROOTCERT": str(authority.root)}
    expect(tls_teslamate.check_db("--sslmode", "verify-full", **root), "tls", "tls-name-mismatch")
    expect_green(tls_teslamate.check_db("--sslmode", "verify-ca", **root))
    expect_green(tls_teslamate.check_db("--sslmode", "verify-full", "--db-host", "localhost", **root))


# -- pg_hba.conf


def test_no_entry_and_the_printed_line_fixes_it(every_teslamate: TeslaMate) -> None:
    every_teslamate.hba(LOCAL)
    run = every_teslamate.check_db()
    failed = expect(run, "pg-hba", "no-entry")
    assert failed["hba_line"] == MINE
    assert MINE in failed["fix"]  # type: ignore[operator]
    assert run.json["source_address"] == "127.0.0.1"
    every_teslamate.hba(f"{LOCAL}{failed['hba_line']}\n")
    expect_green(every_teslamate.check_db())


def test_no_entry_over_ipv6_gets_a_line_for_one_address(teslamate: TeslaMate) -> None:
    teslamate.hba(LOCAL)
    failed = expect(teslamate.check_db("--db-host", "::1"), "pg-hba", "no-entry")
    assert failed["hba_line"] == "host teslamate teslamate ::1/128 scram-sha-256"
    teslamate.hba(f"{LOCAL}{failed['hba_line']}\n")
    expect_green(teslamate.check_db("--db-host", "::1"))


def test_line_is_for_the_address_the_server_sees_when_addresses_are_translated(teslamate: TeslaMate) -> None:
    teslamate.hba(LOCAL)
    with listener(forward_from("127.0.0.9", teslamate.postgres.port)) as port:
        failed = expect(teslamate.check_db("--db-port", str(port)), "pg-hba", "no-entry")
        assert failed["hba_line"] == "host teslamate teslamate 127.0.0.9/32 scram-sha-256"
        assert "This host is 127.0.0.1, the server sees 127.0.0.9" in str(failed["detail"])
        teslamate.hba(f"{LOCAL}{failed['hba_line']}\n")
        run = teslamate.check_db("--db-port", str(port))
        expect_green(run)
        assert run.json["source_address"] == "127.0.0.1"


def test_reject_line_above_ours_is_told_from_no_entry_and_fixed(every_teslamate: TeslaMate) -> None:
    rules = f"{LOCAL}host all all 127.0.0.0/8 reject\n{MINE}\n"
    every_teslamate.hba(rules)
    failed = expect(every_teslamate.check_db(), "pg-hba", "rejected")
    every_teslamate.hba(f"{failed['hba_line']}\n{rules}")
    expect_green(every_teslamate.check_db())


def test_hostssl_only_is_told_to_those_who_switch_tls_off(tls_teslamate: TeslaMate) -> None:
    rules = f"{LOCAL}hostssl all all 127.0.0.1/32 scram-sha-256\n"
    tls_teslamate.hba(rules)
    failed = expect(tls_teslamate.check_db("--sslmode", "disable"), "pg-hba", "tls-only")
    expect_green(tls_teslamate.check_db("--sslmode", "prefer"))
    expect_green(tls_teslamate.check_db("--sslmode", "allow"))
    tls_teslamate.hba(f"{failed['hba_line']}\n{rules}")
    expect_green(tls_teslamate.check_db("--sslmode", "disable"))


def test_hostnossl_only_is_told_to_those_who_require_tls(tls_teslamate: TeslaMate) -> None:
    rules = f"{LOCAL}hostnossl all all 127.0.0.1/32 scram-sha-256\n"
    tls_teslamate.hba(rules)
    failed = expect(tls_teslamate.check_db("--sslmode", "require"), "pg-hba", "plain-only")
    expect_green(tls_teslamate.check_db("--sslmode", "prefer"))
    tls_teslamate.hba(f"{failed['hba_line']}\n{rules}")
    expect_green(tls_teslamate.check_db("--sslmode", "require"))


def test_line_that_demands_a_client_certificate(tls_teslamate: TeslaMate) -> None:
    tls_teslamate.hba(f"{LOCAL}hostssl all all 127.0.0.1/32 cert\n")
    run = tls_teslamate.check_db("--sslmode", "require")
    # Servers differ in whether they refuse for want of a trusted authority or for the missing certificate.
    assert run.failed is not None
    assert run.failed["cause"] in ("client-certificate", "no-entry")


def test_line_without_password_method(teslamate: TeslaMate) -> None:
    teslamate.hba("local postgres postgres trust\nlocal all all peer\n")
    try:
        failed = expect(teslamate.check_db("--db-host", str(teslamate.postgres.folder)), "pg-hba", "no-password-method")
        assert failed["hba_line"] == "local teslamate teslamate scram-sha-256"
        teslamate.hba(f"{failed['hba_line']}\n{LOCAL}")
        expect_green(teslamate.check_db("--db-host", str(teslamate.postgres.folder)))
    finally:
        teslamate.postgres.write_hba(LOCAL)
        teslamate.postgres.reload()


def test_line_that_demands_kerberos(teslamate: TeslaMate) -> None:
    rules = f"{LOCAL}host all all 127.0.0.1/32 gss\n"
    teslamate.hba(rules)
    if teslamate.sql("select 1 from pg_hba_file_rules where error is not null", "postgres"):
        pytest.skip("this server was built without GSSAPI")
    failed = expect(teslamate.check_db(), "pg-hba", "no-password-method")
    assert "gss" in str(failed["detail"])
    teslamate.hba(f"{failed['hba_line']}\n{rules}")
    expect_green(teslamate.check_db())


@pytest.mark.parametrize("name", ["All", "all", "two words", 'quo"te', "replication", "a,b", "+plus", "Müller", "x#y"])
def test_line_for_an_odd_role_name_means_that_role(teslamate: TeslaMate, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    teslamate.sql(f"drop role if exists {quoted}", "postgres")
    teslamate.sql(f"create role {quoted} login superuser password '{PASSWORD}'", "postgres")
    try:
        teslamate.hba(LOCAL)
        failed = expect(teslamate.check_db("--db-user", name), "pg-hba", "no-entry")
        teslamate.hba(f"{LOCAL}{failed['hba_line']}\n")
        expect_green(teslamate.check_db("--db-user", name))
        expect(teslamate.check_db(), "pg-hba", "no-entry")
    finally:
        teslamate.sql(f"drop role {quoted}", "postgres")


# -- login


def test_wrong_password(every_teslamate: TeslaMate) -> None:
    failed = expect(every_teslamate.check_db(TMSYNC_DATABASE_PASSWORD="wrong"), "login", "bad-credentials")
    assert str(failed["detail"]).endswith("\ndatabase.password comes from TMSYNC_DATABASE_PASSWORD")


def test_password_stored_as_md5_is_fixed_by_the_printed_statement(teslamate: TeslaMate) -> None:
    teslamate.sql(f"set password_encryption='md5'; alter role teslamate password '{PASSWORD}'", "postgres")
    teslamate.sql("alter system set password_encryption = 'md5'", "postgres")
    teslamate.postgres.reload()
    try:
        fix = expect(teslamate.check_db(), "login", "bad-credentials")["fix"]
        assert isinstance(fix, list)
        at = fix.index("\\password teslamate")
        # What psql does for \password: the server is asked for the way of hashing, and the password is hashed here.
        teslamate.sql(f"{fix[at - 1]} alter role teslamate password '{PASSWORD}'", "postgres")
        expect_green(teslamate.check_db())
        assert any("POSTGRES_PASSWORD" in line and "first" in line for line in fix)
    finally:
        teslamate.sql("alter system reset password_encryption", "postgres")
        teslamate.postgres.reload()


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_no_password_at_all(teslamate: TeslaMate, method: str) -> None:
    teslamate.hba(f"{LOCAL}host all all all {method}\n")
    run = teslamate.check_db(TMSYNC_DATABASE_PASSWORD=None)
    failed = expect(run, "login", "no-password")
    assert "none is configured" in str(failed["summary"])


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
def test_nologin_role_is_told_after_every_password_method_and_fixed(teslamate: TeslaMate, method: str) -> None:
    teslamate.hba(f"{LOCAL}host all all all {method}\n")
    teslamate.sql("alter role teslamate nologin", "postgres")
    failed = expect(teslamate.check_db(), "login", "no-login")
    for statement in grants(failed):
        teslamate.sql(statement, "postgres")
    expect_green(teslamate.check_db())


def test_nologin_role_with_an_md5_password(teslamate: TeslaMate) -> None:
    teslamate.hba(f"{LOCAL}host all all all md5\n")
    teslamate.sql(f"set password_encryption='md5'; alter role teslamate nologin password '{PASSWORD}'", "postgres")
    expect(teslamate.check_db(), "login", "no-login")
    teslamate.sql("alter role teslamate login", "postgres")
    expect_green(teslamate.check_db())


@pytest.mark.parametrize("users", ["all", "teslamate,ghost"], ids=["for-all", "for-some"])
def test_nologin_and_unknown_role_are_told_apart_on_a_trust_line(every_teslamate: TeslaMate, users: str) -> None:
    every_teslamate.hba(f"{LOCAL}host all {users} all trust\n")
    expect(every_teslamate.check_db("--db-user", "ghost"), "login", "unknown-role")
    every_teslamate.sql("alter role teslamate nologin", "postgres")
    expect(every_teslamate.check_db(), "login", "no-login")


def test_unknown_role_behind_a_password_is_hidden_by_the_server(teslamate: TeslaMate) -> None:
    expect(teslamate.check_db("--db-user", "ghost"), "login", "bad-credentials")


def test_missing_database(every_teslamate: TeslaMate) -> None:
    failed = expect(every_teslamate.check_db("--db-name", "telsamate"), "login", "no-database")
    assert "telsamate" in str(failed["summary"])


def test_no_connect_privilege_and_the_printed_statement_fixes_it(every_teslamate: TeslaMate) -> None:
    every_teslamate.sql("revoke connect on database teslamate from public", "postgres")
    failed = expect(every_teslamate.check_db("--db-user", "twc"), "login", "no-connect-privilege")
    for statement in grants(failed):
        every_teslamate.sql(statement)
    assert every_teslamate.check_db("--db-user", "twc").check("login")["status"] == "pass"
    every_teslamate.sql("revoke connect on database teslamate from twc", "postgres")


def test_database_that_accepts_no_connections(teslamate: TeslaMate) -> None:
    teslamate.sql("alter database teslamate allow_connections false", "postgres")
    failed = expect(teslamate.check_db(), "login", "not-accepting")
    for statement in grants(failed):
        teslamate.sql(statement, "postgres")
    expect_green(teslamate.check_db())


def test_connection_limit_of_the_role(teslamate: TeslaMate) -> None:
    teslamate.sql("alter role twc connection limit 0", "postgres")
    expect(teslamate.check_db("--db-user", "twc"), "login", "too-many-connections")


def test_password_from_libpqs_own_places(teslamate: TeslaMate, tmp_path: Path) -> None:
    home = {"TMSYNC_DATABASE_PASSWORD": None, "HOME": str(tmp_path)}
    expect_green(teslamate.check_db(**home, PGPASSWORD=PASSWORD))
    pgpass = tmp_path / ".pgpass"
    pgpass.write_text(f"# mine\nother:*:*:*:no\n127.0.0.1:*:teslamate:teslamate:{PASSWORD}\n")
    pgpass.chmod(0o600)
    expect_green(teslamate.check_db(**home))
    pgpass.chmod(0o644)
    failed = expect(teslamate.check_db(**home), "login", "no-password")
    assert f"chmod 600 {pgpass}" in failed["fix"]  # type: ignore[operator]
    pgpass.chmod(0o600)
    pgpass.write_text("*:*:*:*:wrong\n")
    failed = expect(teslamate.check_db(**home), "login", "bad-credentials")
    assert "database.password comes from ~/.pgpass" in str(failed["detail"])


def test_unix_socket(teslamate: TeslaMate) -> None:
    run = teslamate.check_db("--db-host", str(teslamate.postgres.folder))
    expect_green(run)
    assert run.json["source_address"] is None


# -- TeslaMate's tables


def test_empty_database_is_not_teslamates(teslamate: TeslaMate) -> None:
    expect(teslamate.check_db("--db-name", "postgres"), "schema", "not-teslamate")


def test_tables_without_the_token_table(teslamate: TeslaMate) -> None:
    teslamate.sql("drop table private.tokens")
    expect(teslamate.check_db(), "schema", "no-tokens-table")


def test_least_privilege_role_and_the_printed_statements_fix_it(every_teslamate: TeslaMate) -> None:
    failed = expect(every_teslamate.check_db("--db-user", "twc"), "schema", "no-privilege")
    tables = "cars, car_settings, states, drives, positions, charging_processes, charges, updates"
    needed = ["GRANT USAGE ON SCHEMA private TO twc;", "GRANT SELECT ON private.tokens TO twc;"]
    further = [f"GRANT SELECT ON {tables} TO twc;", "GRANT pg_read_all_stats TO twc;"]
    assert grants(failed) == [*needed, *further]
    for statement in needed:
        every_teslamate.sql(f"set role teslamate; {statement}")
    run = every_teslamate.check_db("--db-user", "twc")
    expect_green(run)
    assert run.json["teslamate"] == {"schema_level": None, "tokens_table": "private.tokens"}
    missing = ("states", "drives", "positions", "charging_processes", "charges", "updates")
    every_teslamate.sql("; ".join(f"create table public.{table} ()" for table in missing))
    for statement in further:
        every_teslamate.sql(statement)
    every_teslamate.sql("revoke select on cars, car_settings from twc; revoke pg_read_all_stats from twc")
    every_teslamate.sql(f"drop table {', '.join(missing)}")


def test_usage_without_select_is_no_privilege_either(teslamate: TeslaMate) -> None:
    teslamate.sql("set role teslamate; grant usage on schema private to twc")
    expect(teslamate.check_db("--db-user", "twc"), "schema", "no-privilege")


@pytest.mark.parametrize(
    "row",
    ["delete from private.tokens", "update private.tokens set access = null", "update private.tokens set access = ''"],
)
def test_signed_out(teslamate: TeslaMate, row: str) -> None:
    teslamate.sql(row)
    expect(teslamate.check_db(), "tokens", "signed-out")


def test_several_rows(teslamate: TeslaMate) -> None:
    teslamate.sql("insert into private.tokens (inserted_at, updated_at) values (now(), now())")
    expect(teslamate.check_db(), "tokens", "several-rows")


# -- tokens


def test_no_key(teslamate: TeslaMate) -> None:
    failed = expect(teslamate.check_db(TMSYNC_TESLAMATE_ENCRYPTION_KEY=None), "decrypt", "no-key")
    assert "docker compose exec teslamate printenv ENCRYPTION_KEY" in failed["fix"]  # type: ignore[operator]


def test_wrong_key(teslamate: TeslaMate) -> None:
    failed = expect(teslamate.check_db(TMSYNC_TESLAMATE_ENCRYPTION_KEY="another"), "decrypt", "wrong-key")
    assert failed["detail"] == "teslamate.encryption_key comes from TMSYNC_TESLAMATE_ENCRYPTION_KEY"


@pytest.mark.parametrize(
    ("configured", "how"),
    [
        (f" {KEY}", "without the blanks or line breaks around it"),
        (f"{KEY}\n", "without the blanks or line breaks around it"),
        (f'"{KEY}"', "without the quotes around it"),
    ],
)
def test_key_with_too_much_around_it_is_told(teslamate: TeslaMate, configured: str, how: str) -> None:
    failed = expect(teslamate.check_db(TMSYNC_TESLAMATE_ENCRYPTION_KEY=configured), "decrypt", "wrong-key")
    assert str(failed["summary"]).endswith(f"; it does {how}")
    assert failed["fix"][0] == f"Configure the key {how}."  # type: ignore[index]


@pytest.mark.parametrize(
    ("true", "how"),
    [
        (f'"{KEY}"', "with double quotes around it"),
        (f"'{KEY}'", "with single quotes around it"),
        (f" {KEY}", "with a blank in front of it"),
        (f"{KEY} ", "with a blank at its end"),
        (f"{KEY}\n", "with a line break at its end"),
    ],
)
def test_key_that_lacks_what_docker_compose_passed_on_is_told(teslamate: TeslaMate, true: str, how: str) -> None:
    teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=7)), key=true)
    failed = expect(teslamate.check_db(), "decrypt", "wrong-key")
    assert str(failed["summary"]).endswith(f"; it does {how}")
    assert failed["fix"][0] == f"Configure the key {how}."  # type: ignore[index]


def test_damaged_token(teslamate: TeslaMate) -> None:
    teslamate.store_raw("'\\x010a4145532e47434d2e5631aabb'::bytea")
    expect(teslamate.check_db(), "decrypt", "corrupt")


def test_key_that_opens_the_other_column_means_damage(teslamate: TeslaMate) -> None:
    teslamate.store_raw(sealed("x", "another"), sealed(refresh_token(), KEY))
    expect(teslamate.check_db(), "decrypt", "corrupt")


def test_damaged_refresh_token_is_a_warning(teslamate: TeslaMate) -> None:
    access = access_token(datetime.now(UTC) + timedelta(hours=7))
    teslamate.store_raw(sealed(access, KEY), sealed("x", "another"))
    run = teslamate.check_db()
    assert (run.code, run.check("decrypt")["status"], run.check("decrypt")["cause"]) == (0, "warn", "corrupt")


def test_plain_text_in_the_old_table_is_a_warning(teslamate: TeslaMate) -> None:
    teslamate.sql("drop schema private cascade")
    teslamate.sql(f"set role teslamate; {token_table('public', 'text')}")
    access = access_token(datetime.now(UTC) + timedelta(hours=7))
    teslamate.store_raw(f"'{access}'", "'EU_plain'", "public.tokens")
    run = teslamate.check_db(TMSYNC_TESLAMATE_ENCRYPTION_KEY=None)
    assert run.code == 0
    assert (run.check("decrypt")["status"], run.check("decrypt")["cause"]) == ("warn", "plain-text")
    assert run.json["teslamate"]["tokens_table"] == "public.tokens"
    assert access not in run.out + run.err


def test_encrypted_tokens_in_the_old_table(teslamate: TeslaMate) -> None:
    teslamate.sql("drop schema private cascade")
    teslamate.sql(f"set role teslamate; {token_table('public')}")
    access = access_token(datetime.now(UTC) + timedelta(hours=7))
    teslamate.store_raw(sealed(access, KEY), "null", "public.tokens")
    expect_green(teslamate.check_db())


@pytest.mark.parametrize(
    ("token", "cause", "status", "code"),
    [
        (lambda now: access_token(now - timedelta(minutes=5)), "expired", "fail", 1),
        (lambda now: access_token(now + timedelta(minutes=50)), "expires-soon", "warn", 0),
        (lambda _: "EU_not-a-jwt", "no-jwt", "warn", 0),
    ],
    ids=["expired", "expires-soon", "no-jwt"],
)
def test_what_the_token_says_of_itself(
    teslamate: TeslaMate, token: Callable[[datetime], str], cause: str, status: str, code: int
) -> None:
    teslamate.store(token(datetime.now(UTC)))
    run = teslamate.check_db()
    claims = run.check("claims")
    assert (claims["cause"], claims["status"], run.code) == (cause, status, code)
    assert claims["fix"]


def test_token_for_the_owner_api_is_told_and_is_no_fault(teslamate: TeslaMate) -> None:
    teslamate.store(access_token(datetime.now(UTC) + timedelta(hours=5), "https://owner-api.teslamotors.com/"))
    run = teslamate.check_db()
    expect_green(run)
    assert run.check("claims")["status"] == "pass"
    assert run.check("claims")["summary"].startswith("Owner API, EU, expires in ")


# -- a server that speaks another language


def test_german_server_gives_the_same_causes(german_teslamate: TeslaMate) -> None:
    german = german_teslamate
    german.hba(LOCAL)
    assert "kein pg_hba.conf-Eintrag" in str(expect(german.check_db(), "pg-hba", "no-entry")["detail"])
    german.hba(f"{LOCAL}host all all all reject\n")
    expect(german.check_db(), "pg-hba", "rejected")
    german.hba(OPEN)
    expect(german.check_db(TMSYNC_DATABASE_PASSWORD="falsch"), "login", "bad-credentials")
    expect(german.check_db(TMSYNC_DATABASE_PASSWORD=None), "login", "no-password")
    expect(german.check_db("--db-name", "nix"), "login", "no-database")
    german.sql("alter role twc nologin", "postgres")
    expect(german.check_db("--db-user", "twc"), "login", "no-login")
    german.sql("alter role twc login; revoke connect on database teslamate from public", "postgres")
    expect(german.check_db("--db-user", "twc"), "login", "no-connect-privilege")
    german.sql("grant connect on database teslamate to public", "postgres")
    expect(german.check_db("--db-user", "twc"), "schema", "no-privilege")
    german.hba(f"{LOCAL}host all twc,geist all trust\n")
    expect(german.check_db("--db-user", "geist"), "login", "unknown-role")
    german.sql("alter role twc nologin", "postgres")
    expect(german.check_db("--db-user", "twc"), "login", "no-login")
    german.hba(OPEN)
    expect_green(german.check_db())


# -- the whole picture


def test_all_green_document(every_teslamate: TeslaMate) -> None:
    run = every_teslamate.check_db()
    document = run.json
    expect_green(run)
    port = every_teslamate.postgres.port
    assert list(document) == [
        "command", "version", "ok", "target", "source_address", "server", "teslamate", "checks",
    ]  # fmt: skip
    assert document["command"] == "check-db"
    assert document["target"] == {
        "host": "127.0.0.1", "port": port, "name": "teslamate", "user": "teslamate", "sslmode": "prefer",
    }  # fmt: skip
    assert document["server"] == {"version": every_teslamate.postgres.binaries.version, "tls": None}
    assert document["teslamate"] == {"schema_level": 20260808090000, "tokens_table": "private.tokens"}
    assert [check["id"] for check in document["checks"]] == ORDER
    assert {check["status"] for check in document["checks"]} == {"pass"}
    assert all(check["elapsed_s"] >= 0 for check in document["checks"])


def test_table_for_people_shows_a_line_per_check_and_the_fix(teslamate: TeslaMate) -> None:
    teslamate.hba(LOCAL)
    run = tmsync("check-db", environ=teslamate.environ(COLUMNS="80"))
    lines = run.out.splitlines()
    assert run.code == 1
    told = [line.split()[:2] for line in lines if line.startswith(("pass", "fail", "skip"))]
    assert told == [["pass" if at < 5 else "fail" if at == 5 else "skip", name] for at, name in enumerate(ORDER)]
    assert f"       {MINE}" in lines
    assert all(len(line) <= 80 or line.startswith("       ") for line in lines), run.out
    assert "\x1b" not in run.out


def test_quiet_shows_nothing_but_what_is_wrong(teslamate: TeslaMate) -> None:
    green = tmsync("--quiet", "check-db", environ=teslamate.environ())
    assert (green.code, green.out, green.err) == (0, "", "")
    teslamate.hba(LOCAL)
    red = tmsync("--quiet", "check-db", environ=teslamate.environ())
    assert red.out.startswith("fail  pg-hba")


def test_hint_for_a_file_that_others_can_read(teslamate: TeslaMate, make_config: Callable[..., Path]) -> None:
    path = make_config(f'[database]\npassword = "{PASSWORD}"\n', mode=0o644)
    run = tmsync("--config", str(path), "check-db", "--json", environ=teslamate.environ(TMSYNC_DATABASE_PASSWORD=None))
    config = run.check("config")
    assert (run.code, config["status"], config["cause"]) == (0, "warn", "loose-permissions")
    assert config["fix"] == ["Let nobody else read it:", f"chmod o-rwx {path}"]


# -- a server that does not speak UTF-8


@pytest.fixture(scope="module")
def latin1_teslamate() -> Iterator[TeslaMate]:
    """A cluster in Latin-1 that speaks German, as one made on an old Linux or on Windows."""
    if Version(psycopg2.__version__.split()[0]) < Version("2.9.9"):
        pytest.skip("an older psycopg2 does not hand out words that are no UTF-8")
    if loses_odd_words():
        pytest.skip("this Python does not hand out words that are no UTF-8")
    speaks = [
        one for one in find_binaries() if (GERMAN / f"postgres-{one.major}.mo").exists() and "Debian" in one.origin
    ]
    if not speaks or shutil.which("localedef") is None:
        pytest.skip("no German message catalogue or no localedef at hand")
    with server_folder() as locales, server_folder() as folder:
        locales.chmod(0o755)
        name = "de_DE.ISO-8859-1"
        made = subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", locales / name], capture_output=True)
        if made.returncode > 1:
            pytest.skip("the German locale cannot be made")
        environ = {"LOCPATH": str(locales), "LC_ALL": name, "LC_CTYPE": name}
        with PrivatePostgres(speaks[0], folder, {"lc_messages": f"'{name}'"}, environ) as postgres:
            teslamate = TeslaMate(postgres)
            teslamate.create()
            postgres.sql(f"create database latin encoding 'LATIN1' locale '{name}' template template0 owner teslamate")
            yield teslamate


def test_latin1_server_gives_the_same_causes_and_is_quoted_in_its_letters(latin1_teslamate: TeslaMate) -> None:
    latin = latin1_teslamate
    latin.fresh()
    failed = expect(latin.check_db(TMSYNC_DATABASE_PASSWORD="falsch"), "login", "bad-credentials")
    assert "Passwort-Authentifizierung für Benutzer »teslamate« fehlgeschlagen" in str(failed["detail"])
    latin.hba(LOCAL)
    assert "für Host" in str(expect(latin.check_db(), "pg-hba", "no-entry")["detail"])
    latin.hba(f"{LOCAL}host all all all reject\n")
    expect(latin.check_db(), "pg-hba", "rejected")
    latin.hba(OPEN)
    expect(latin.check_db("--db-name", "nix"), "login", "no-database")
    latin.sql("alter role twc nologin", "postgres")
    expect(latin.check_db("--db-user", "twc"), "login", "no-login")
    latin.sql("alter role twc login", "postgres")
    expect(latin.check_db("--db-user", "twc"), "schema", "no-privilege")
    expect(latin.check_db("--db-name", "latin"), "schema", "not-teslamate")
    expect_green(latin.check_db())


def test_other_commands_survive_a_latin1_server(latin1_teslamate: TeslaMate, twc: TwcFolder) -> None:
    latin1_teslamate.fresh()
    run = latin1_teslamate.sync(twc, TMSYNC_DATABASE_PASSWORD="falsch")
    assert (run.code, run.json["error"]["cause"]) == (1, "bad-credentials")
    environ = latin1_teslamate.environ(TMSYNC_DATABASE_PASSWORD="falsch", TMSYNC_TWCMANAGER_CONFIG_FILE=str(twc.config))
    status = tmsync("status", "--json", environ=environ)
    assert status.json["database"]["cause"] == "bad-credentials"
    assert status.json["twcmanager"]["state"] == "stopped"


def test_an_error_that_nobody_foresaw_leaves_the_rungs_before_it(
    teslamate: TeslaMate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> None:
        raise UnicodeDecodeError("utf-8", b"pass-SECRET-word\xfc", 16, 17, "invalid start byte")

    monkeypatch.setattr("tmsync.core.check_db.ladder.locate", surprise)
    run = teslamate.check_db()
    failed = expect(run, "schema", "internal")
    assert "UnicodeDecodeError" in str(failed["summary"])
    assert "SECRET" not in run.out + run.err
