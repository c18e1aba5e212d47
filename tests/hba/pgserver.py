"""A private PostgreSQL server whose pg_hba.conf is replaced at will, and raw start-up probes against it."""

import os
import shutil
import socket
import ssl
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import psycopg2

from tests.conftest import has_tls, server_folder
from tests.support.certificates import Authority
from tmsync.core.postgres.wire import AuthRequest, ServerError, Wire
from tmsync.demo.postgres import SUPERUSER, Binaries, PrivatePostgres

DEADLINE_S = 30.0


class HbaServer:
    """Started on entry, stopped and wiped on exit. `set_up` is SQL run once by the superuser."""

    def __init__(self, binaries: Binaries, set_up: str, settings: dict[str, str]) -> None:
        self.binaries = binaries
        self.set_up = set_up
        self.settings = {"max_wal_senders": "4", "wal_level": "replica", "lc_messages": "'C'", **settings}
        self.major = binaries.major
        self.has_tls = has_tls(binaries)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(server_folder())
            folder.chmod(0o755)
            self._server = PrivatePostgres(self.binaries, folder, {**self.settings, **self._tls(stack)})
            stack.enter_context(self._server)
            self.data = self._server.data
            self._admin = psycopg2.connect(host=str(folder), port=self._server.port, user=SUPERUSER, dbname="postgres")
            self._admin.autocommit = True
            stack.callback(self._admin.close)
            for statement in filter(str.strip, self.set_up.split(";")):
                self.query(statement)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _tls(self, stack: ExitStack) -> dict[str, str]:
        if not self.has_tls:
            return {}
        folder = stack.enter_context(server_folder())
        paths = Authority(folder).issue("localhost")
        for path in paths:
            path.chmod(0o600)
        owner = PrivatePostgres(self.binaries, folder).user
        if owner is not None:
            for path in (folder, *paths):
                shutil.chown(path, owner.pw_uid, owner.pw_gid)
        return {"ssl": "on", "ssl_cert_file": f"'{paths[0]}'", "ssl_key_file": f"'{paths[1]}'"}

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self._admin.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def write(self, hba: bytes, files: dict[str, bytes]) -> None:
        """Put pg_hba.conf and the files beside it in place, without loading them."""
        for name, content in {"pg_hba.conf": hba, **files}.items():
            path = self.data / name
            if path.parent != self.data:
                path.parent.mkdir(exist_ok=True)
                self._own(path.parent)
            path.write_bytes(content)
            self._own(path)

    def _own(self, path: os.PathLike[str]) -> None:
        if self._server.user is not None:
            os.chown(path, self._server.user.pw_uid, self._server.user.pw_gid)

    def reload(self) -> None:
        """Return once the postmaster has read the files: it does so before it takes another connection."""
        before = self.query("SELECT pg_conf_load_time()")
        time.sleep(0.002)
        self.query("SELECT pg_reload_conf()")
        give_up = time.monotonic() + DEADLINE_S
        while self.query("SELECT pg_conf_load_time()") == before:
            if time.monotonic() > give_up:
                raise TimeoutError("the server did not reload")
            time.sleep(0.002)

    def rules(self) -> list[dict[str, Any]]:
        """Rows of pg_hba_file_rules for the files as they lie on disk."""
        with self._admin.cursor() as cursor:
            cursor.execute("SELECT * FROM pg_hba_file_rules")
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def probe(self, user: str, database: str, address: str | None, *, tls: bool, replication: bool = False) -> str:
        """What the server demands of this client: a method, `reject` or `no-entry`."""
        with self._open(address) as raw:
            wire = Wire(raw, time.monotonic() + DEADLINE_S, time.monotonic)
            if tls:
                if wire.ask_tls() is not True:
                    raise ConnectionError("the server has no TLS")
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                wire.sock = context.wrap_socket(raw)
            extra = {"replication": "true"} if replication else {}
            answer = wire.start(user, database, extra)
            if isinstance(answer, ServerError):
                wire.sock.close()
                return _refusal(answer)
            wire.sock.close()
            return _method(answer)

    def _open(self, address: str | None) -> socket.socket:
        family = socket.AF_UNIX if address is None else socket.AF_INET6 if ":" in address else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.settimeout(10)
        try:
            if address is None:
                raw.connect(f"{self._server.folder}/.s.PGSQL.{self._server.port}")
            else:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.bind((address, 0))
                raw.connect(("::1" if ":" in address else "127.0.0.1", self._server.port))
        except OSError:
            raw.close()
            raise
        return raw


def _method(answer: AuthRequest) -> str:
    return answer.method.value


def _refusal(error: ServerError) -> str:
    if "rejects" in error.message:
        return "reject"
    if error.message.startswith("no pg_hba.conf entry"):
        return "no-entry"
    if "does not exist" in error.message:  # the login itself was let through
        return "trust"
    raise AssertionError(error)
