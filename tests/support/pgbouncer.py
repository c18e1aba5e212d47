"""A private PgBouncer in front of a private PostgreSQL."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import server_folder
from tests.support.bring import find_program
from tests.support.surroundings import PASSWORD, TeslaMate
from tmsync.demo.postgres import SERVER_USERS
from tmsync.demo.server import free_port, server_user

needs_pgbouncer = pytest.mark.skipif(find_program("pgbouncer") is None, reason="needs PgBouncer (make test brings it)")
ADMIN = "bouncer"
WAIT_S = 10.0


class PgBouncer:
    """Its admin console is the database `pgbouncer`, open to ADMIN with PASSWORD."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def admin(self, statement: str) -> None:
        conn = psycopg2.connect(host="127.0.0.1", port=self.port, dbname="pgbouncer", user=ADMIN, password=PASSWORD)
        with closing(conn):
            conn.autocommit = True
            conn.cursor().execute(statement)


@contextmanager
def pgbouncer(
    teslamate: TeslaMate,
    options: Mapping[str, str] | None = None,
    users: Mapping[str, str] | None = None,
    hba: str = "",
    database: str = "",
) -> Iterator[PgBouncer]:
    """users: name -> password, besides teslamate and twc. hba: its own rules. database: more of the database's line."""
    program = find_program("pgbouncer")
    assert program is not None
    with server_folder() as folder:
        port = free_port()
        accounts = {ADMIN: PASSWORD, "teslamate": PASSWORD, "twc": PASSWORD, **(users or {})}
        (folder / "users.txt").write_text("".join(f'"{name}" "{secret}"\n' for name, secret in accounts.items()))
        (folder / "hba.conf").write_text(hba)
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "hba" if hba else "scram-sha-256",
            "auth_file": str(folder / "users.txt"),
            "admin_users": ADMIN,
            "logfile": str(folder / "log"),
            "pool_mode": "session",
            **({"auth_hba_file": str(folder / "hba.conf")} if hba else {}),
            **(options or {}),
        }
        settings = "".join(f"{name} = {value}\n" for name, value in lines.items())
        where = f"teslamate = host=127.0.0.1 port={teslamate.postgres.port} {database}\n"
        (folder / "pgbouncer.ini").write_text(f"[databases]\n{where}[pgbouncer]\n{settings}")
        user = server_user(SERVER_USERS)
        as_user = {}
        if user is not None:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user.pw_uid, user.pw_gid)
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **as_user,  # type: ignore[arg-type]
        )
        bouncer = PgBouncer(folder, port)
        try:
            _wait(bouncer, process)
            yield bouncer
        finally:
            process.kill()
            process.wait()


def _wait(bouncer: PgBouncer, process: "subprocess.Popen[bytes]") -> None:
    import socket

    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", bouncer.port)) == 0:
                return
        time.sleep(0.02)
    log = bouncer.folder / "log"
    raise AssertionError(f"PgBouncer did not start: {log.read_text() if log.exists() else 'no log'}")
