"""check-db lets a login pass where libpq does, refuses where libpq does, and sends a password only where libpq does."""

import os
import shutil
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import server_folder
from tests.support.certificates import Authority
from tests.support.listeners import listener
from tests.support.surroundings import KEY, LOCAL, OPEN, PASSWORD, TeslaMate, clean_environ
from tmsync.core.check_db.ladder import diagnose
from tmsync.core.check_db.report import CheckId, Diagnosis, Status
from tmsync.core.check_db.tokens import read_tokens
from tmsync.core.clock import SystemClock
from tmsync.core.config.load import load_settings
from tmsync.core.errors import TmsyncError
from tmsync.core.postgres.wire import SSL_REQUEST

needs_libpq_16 = pytest.mark.skipif(
    psycopg2.extensions.libpq_version() < 160000, reason="libpq before 16 knows no require_auth and no system roots"
)

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CERTIFICATES: Mapping[str, tuple[str, list[str] | None]] = {
    "dns": ("localhost", None),
    "cn-name": ("localhost", []),
    "cn-address": ("127.0.0.1", []),
    "dns-address": ("server", ["DNS:127.0.0.1"]),
    "ip": ("server", ["127.0.0.1"]),
    "other-ip": ("127.0.0.1", ["127.0.0.9"]),
    "cn-address-dns-name": ("127.0.0.1", ["localhost"]),
    "cn-name-ip": ("localhost", ["127.0.0.1"]),
    "other-dns": ("localhost", ["elsewhere"]),
    "star": ("server", ["*.localhost", "*", "*.0.0.1"]),
    "case": ("server", ["LOCALHOST"]),
}
"""Name -> common name and alternative names."""


class Client:
    """A user on this machine: a home, libpq's variables, and settings for both programs."""

    def __init__(self, teslamate: TeslaMate | int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.port = teslamate if isinstance(teslamate, int) else teslamate.postgres.port
        self.monkeypatch = monkeypatch
        self.files = home / ".postgresql"
        self.files.mkdir(exist_ok=True)
        self.host = "127.0.0.1"
        self.sslmode: str | None = "prefer"
        self.sslrootcert: str | None = None
        for name in [name for name in os.environ if name.startswith("PG")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(home))

    def variables(self, **values: str) -> None:
        for name, value in values.items():
            self.monkeypatch.setenv(name, value)

    def trust(self, root: Path, where: str) -> None:
        """where: "setting", "variable" or "home"."""
        match where:
            case "setting":
                self.sslrootcert = str(root)
            case "variable":
                self.variables(PGSSLROOTCERT=str(root))
            case "home":
                shutil.copy(root, self.files / "root.crt")

    def libpq(self) -> bool:
        """Whether a program that uses libpq as anybody would gets in; and never is asked for a passphrase."""
        roots = {} if self.sslrootcert is None else {"sslrootcert": self.sslrootcert}
        try:
            conn = psycopg2.connect(
                host=self.host, port=self.port, dbname="teslamate", user="teslamate", password=PASSWORD,
                sslpassword="none", connect_timeout=5, **roots,
                **({} if self.sslmode is None else {"sslmode": self.sslmode}),
            )  # fmt: skip
            conn.close()
        except psycopg2.OperationalError:
            return False
        return True

    def environ(self) -> dict[str, str]:
        roots = {} if self.sslrootcert is None else {"TMSYNC_DATABASE_SSLROOTCERT": self.sslrootcert}
        libpq = {name: value for name, value in os.environ.items() if name.startswith("PG")}
        return {
            **clean_environ({"HOME": os.environ["HOME"]}),
            **libpq,
            **roots,
            "TMSYNC_DATABASE_HOST": self.host,
            "TMSYNC_DATABASE_PORT": str(self.port),
            "TMSYNC_DATABASE_PASSWORD": PASSWORD,
            **({} if self.sslmode is None else {"TMSYNC_DATABASE_SSLMODE": self.sslmode}),
            "TMSYNC_DATABASE_CONNECT_TIMEOUT": "2",
            "TMSYNC_TESLAMATE_ENCRYPTION_KEY": KEY,
        }

    def tmsync(self) -> Diagnosis:
        environ = self.environ()
        return diagnose(load_settings(environ=environ), clock=SystemClock(), environ=environ)

    def sync(self) -> None:
        """As cron does it."""
        environ = self.environ()
        read_tokens(load_settings(environ=environ), clock=SystemClock(), environ=environ, with_refresh=False)


@pytest.fixture
def client(tls_teslamate: TeslaMate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    return Client(tls_teslamate, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def stranger() -> Iterator[Authority]:
    with server_folder() as folder:
        yield Authority(folder, "somebody else")


@pytest.fixture
def present(tls_teslamate: TeslaMate, authority: Authority) -> Iterator[Callable[[tuple[Path, Path]], None]]:
    """Makes the server present another certificate; afterwards it has its own again."""
    postgres = tls_teslamate.postgres

    def put(pair: tuple[Path, Path]) -> None:
        for source, name in zip(pair, ("server.crt", "server.key"), strict=True):
            target = postgres.folder / name
            target.write_bytes(source.read_bytes())
        postgres.reload()

    yield put
    put(authority.issue("localhost"))


def compare(client: Client, about: object) -> str | None:
    """What differs, in words; None where both agree."""
    theirs, ours = client.libpq(), client.tmsync()
    login = ours.of(CheckId.LOGIN)
    assert login is not None
    if (login.status is Status.PASS) is theirs:
        return None
    return f"{about}: libpq {'gets in' if theirs else 'is refused'}, check-db: {ours.failure}"


def all_differences(client: Client) -> list[str]:
    """Over all sslmodes."""
    found = []
    for client.sslmode in MODES:
        found.append(compare(client, client.sslmode))
    return [difference for difference in found if difference]


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_fit_or_not_as_for_libpq(
    client: Client, authority: Authority, present: Callable[[tuple[Path, Path]], None], name: str
) -> None:
    present(authority.issue(*CERTIFICATES[name]))
    client.sslrootcert = str(authority.root)
    client.sslmode = "verify-full"
    differing = []
    for client.host in ("127.0.0.1", "localhost", "LocalHost", "127.1"):
        differing.append(compare(client, client.host))
        found = client.tmsync()
        if found.failure is not None:
            assert (found.failure.id, found.failure.cause) == ("tls", "tls-name-mismatch")
    assert not any(differing), differing


ROOTS = [
    "none", "right setting", "wrong setting", "missing setting", "useless setting", "right variable", "wrong variable",
    "missing variable", "right home", "wrong home",
]  # fmt: skip
RULES = {
    "any": OPEN,
    "tls-only": f"{LOCAL}hostssl all all all scram-sha-256\n",
    "plain-only": f"{LOCAL}hostnossl all all all scram-sha-256\n",
}


@pytest.fixture
def roots(authority: Authority, stranger: Authority) -> dict[str, Path]:
    missing, useless = Path("/nonexistent/root.crt"), Path("/etc/hostname")
    return {"right": authority.root, "wrong": stranger.root, "missing": missing, "useless": useless}


@pytest.mark.parametrize("trusted", ROOTS)
@pytest.mark.parametrize("rules", RULES)
def test_every_sslmode_agrees_whatever_the_roots_and_rules(
    client: Client, tls_teslamate: TeslaMate, roots: dict[str, Path], trusted: str, rules: str
) -> None:
    tls_teslamate.hba(RULES[rules])
    which, _, where = trusted.partition(" ")
    if where:
        client.trust(roots[which], where)
    client.host = "localhost"
    assert all_differences(client) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rules", RULES)
def test_sslmode_of_libpqs_environment_agrees(
    client: Client, tls_teslamate: TeslaMate, stranger: Authority, mode: str, rules: str
) -> None:
    tls_teslamate.hba(RULES[rules])
    client.sslmode = None
    client.variables(PGSSLMODE=mode, PGSSLROOTCERT=str(stranger.root))
    assert compare(client, (mode, rules)) is None


@needs_libpq_16
def test_system_roots_agree(client: Client) -> None:
    client.sslrootcert = "system"
    client.host = "localhost"
    assert all_differences(client) == []


@pytest.mark.parametrize("where", ["variable", "home", "missing"])
@pytest.mark.parametrize("revoked", [True, False], ids=["revoked", "another"])
def test_revocation_lists_agree(
    client: Client, authority: Authority, present: Callable[[tuple[Path, Path]], None], where: str, *, revoked: bool
) -> None:
    mine, other = authority.issue("localhost", ["localhost"]), authority.issue("localhost", ["localhost"])
    present(mine)
    crl = authority.revoke(mine[0] if revoked else other[0])
    if where == "home":
        shutil.copy(crl, client.files / "root.crl")
    else:
        client.variables(PGSSLCRL=str(crl) if where == "variable" else "/nonexistent/root.crl")
    client.sslrootcert = str(authority.root)
    client.host = "localhost"
    assert all_differences(client) == []
    if revoked and where != "missing":
        client.sslmode = "verify-ca"
        failure = client.tmsync().failure
        assert failure is not None
        assert (failure.id, failure.cause) == ("tls", "tls-untrusted")


@pytest.mark.parametrize("how", ["good", "encrypted", "open-to-others", "no-key", "others-key", "disabled"])
def test_client_certificates_agree_and_nobody_is_asked_for_a_passphrase(
    client: Client, authority: Authority, how: str
) -> None:
    certificate, key = authority.issue("teslamate", passphrase="secret" if how == "encrypted" else "")
    shutil.copy(certificate, client.files / "postgresql.crt")
    if how != "no-key":
        shutil.copy(key if how != "others-key" else authority.issue("other")[1], client.files / "postgresql.key")
        (client.files / "postgresql.key").chmod(0o644 if how == "open-to-others" else 0o600)
    if how == "disabled":
        client.variables(PGSSLCERTMODE="disable")
    client.host = "localhost"
    assert all_differences(client) == []


METHODS = ("password", "md5", "scram-sha-256", "trust")
REQUIREMENTS = ("password", "md5", "scram-sha-256", "none", "!password", "!scram-sha-256", "gss", "scram-sha-256,none")


@needs_libpq_16
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
def test_required_methods_and_channel_binding_agree(
    client: Client, tls_teslamate: TeslaMate, method: str, binding: str
) -> None:
    tls_teslamate.hba(f"{LOCAL}host all all all {method}\n")
    client.variables(PGCHANNELBINDING=binding)
    differing = []
    for client.sslmode in ("disable", "prefer", "require"):
        for requirement in REQUIREMENTS:
            client.variables(PGREQUIREAUTH=requirement)
            differing.append(compare(client, (client.sslmode, method, binding, requirement)))
    assert not any(differing), differing


@needs_libpq_16
def test_libpqs_own_words_are_the_message_where_libpq_refuses(client: Client, tls_teslamate: TeslaMate) -> None:
    tls_teslamate.hba(f"{LOCAL}host all all all password\n")
    client.variables(PGREQUIREAUTH="scram-sha-256")
    failure = client.tmsync().failure
    assert failure is not None
    assert (failure.id, failure.cause) == ("login", "login-failed")
    assert 'authentication method requirement "scram-sha-256" failed' in failure.summary


def test_servers_words_are_told_where_libpq_cannot_be_made_to_tell_sqlstates(
    client: Client, tls_teslamate: TeslaMate, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_teslamate.sql("alter role teslamate password 'another'", "postgres")
    monkeypatch.setitem(sys.modules, "ctypes", None)
    failure = client.tmsync().failure
    assert failure is not None
    assert (failure.id, failure.cause) == ("login", "bad-credentials")
    assert failure.details[:1] == ('password authentication failed for user "teslamate"',)


@pytest.mark.parametrize(
    "variables",
    [
        {"PGHOSTADDR": "127.0.0.2"},
        {"PGHOST": "/nonexistent", "PGPORT": "1", "PGUSER": "nobody", "PGDATABASE": "nothing"},
        {"PGSERVICE": "elsewhere"},
        {"PGOPTIONS": "-c search_path=nothing -c statement_timeout=1"},
        {"PGGSSENCMODE": "disable", "PGCLIENTENCODING": "SQL_ASCII"},
    ],
    ids=",".join,
)
def test_libpqs_variables_choose_no_target(client: Client, variables: dict[str, str]) -> None:
    client.variables(**variables)
    assert client.tmsync().failure is None


# -- a server that is not what it says, and writes down what it is told


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


REQUESTS = {
    "cleartext": message(b"R", struct.pack("!i", 3)),
    "md5": message(b"R", struct.pack("!i4s", 5, b"salt")),
    "nothing": message(b"R", struct.pack("!i", 0)),
}


class Impostor:
    """Takes part in TLS with its certificate, asks for a password, and records all that comes after."""

    def __init__(self, pair: tuple[Path, Path] | None, request: bytes) -> None:
        self.heard: list[bytes] = []
        self.request = request
        self.context = None
        if pair is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, pair))

    def __call__(self, sock: socket.socket) -> None:
        stream = sock
        hello = stream.recv(8)
        if hello == SSL_REQUEST:
            if self.context is None:
                stream.sendall(b"N")
            else:
                stream.sendall(b"S")
                stream = self.context.wrap_socket(sock, server_side=True)
            hello = stream.recv(8)
        if len(hello) < 8:
            return
        length = struct.unpack("!i", hello[:4])[0]
        stream.recv(length - 8)
        stream.sendall(self.request)
        while data := stream.recv(4096):
            self.heard.append(data)
            stream.sendall(message(b"E", b"SFATAL\0VFATAL\0C28P01\0Mwrong\0Rauth_failed\0\0"))

    @property
    def passwords(self) -> list[bytes]:
        """Messages that carry a password or what proves one."""
        return [data for data in self.heard if data[:1] == b"p" or PASSWORD.encode() in data]


PROTECTIONS = (
    "require-auth", "not-password", "binding", "crl", "home-crl", "home-root", "setting-root", "encrypted-key", "name",
)  # fmt: skip


@pytest.mark.parametrize("request_kind", ["cleartext", "md5"])
@pytest.mark.parametrize(
    "protection", [pytest.param(one, marks=needs_libpq_16 if one in PROTECTIONS[:2] else ()) for one in PROTECTIONS]
)
def test_no_password_goes_where_libpq_sends_none(
    protected: Callable[[str, str], tuple[Client, Impostor]], protection: str, request_kind: str
) -> None:
    client, impostor = protected(protection, request_kind)
    assert client.libpq() is False
    assert impostor.passwords == [], "libpq itself"
    found = client.tmsync()
    with pytest.raises(TmsyncError) as caught:
        client.sync()
    assert impostor.passwords == []
    assert found.failure is not None
    assert caught.value.problem.message == found.failure.summary


@pytest.fixture
def protected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority, stranger: Authority
) -> Iterator[Callable[[str, str], tuple[Client, Impostor]]]:
    """A client with this protection, and the impostor it is to be protected from."""
    with ExitStack() as stack:

        def make(protection: str, request_kind: str) -> tuple[Client, Impostor]:
            issuer = stranger if protection in ("home-root", "setting-root") else authority
            host = "elsewhere" if protection == "name" else "localhost"
            pair = issuer.issue(host, [host])
            plain = protection in ("require-auth", "not-password")
            impostor = Impostor(None if plain else pair, REQUESTS[request_kind])
            client = Client(stack.enter_context(listener(impostor)), tmp_path, monkeypatch)
            client.host = "localhost"
            client.sslmode = {"name": "verify-full"}.get(protection, "prefer" if plain else "require")
            if protection in ("crl", "home-crl", "setting-root", "name"):
                client.trust(authority.root, "setting")
            match protection:
                case "require-auth":
                    client.variables(PGREQUIREAUTH="scram-sha-256")
                case "not-password":
                    client.variables(PGREQUIREAUTH="!password,!md5")
                case "binding":
                    client.variables(PGCHANNELBINDING="require")
                case "crl":
                    client.variables(PGSSLCRL=str(authority.revoke(pair[0])))
                case "home-crl":
                    shutil.copy(authority.revoke(pair[0]), client.files / "root.crl")
                case "home-root":
                    client.trust(authority.root, "home")
                case "encrypted-key":
                    mine = authority.issue("teslamate", passphrase="secret")
                    for source, name in zip(mine, ("postgresql.crt", "postgresql.key"), strict=True):
                        shutil.copy(source, client.files / name)
            return client, impostor

        yield make
