"""What the private servers of demo and tests have in common: a folder, a port, a user, a log and an end."""

import errno
import os
import pwd
import secrets
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tmsync.core.causes import Cause
from tmsync.core.errors import TmsyncError
from tmsync.core.fixes import problem

STOP_SECONDS = 10


class DemoError(TmsyncError):
    """The private surroundings could not be set up."""


_GIVEN: Final[set[int]] = set()
# Below those that Linux gives to outgoing connections (net.ipv4.ip_local_port_range, from 32768): one of these could
# take a port between its choice and its use. Source: Linux, Documentation/networking/ip-sysctl.rst.
PORTS: Final = range(20_000, 32_768)


def free_port() -> int:
    """A TCP port nobody uses, by IPv4 or by IPv6, and no outgoing connection will; another one every time."""
    while True:
        port = secrets.choice(PORTS)  # not random's: two test runs of one seed would take the same
        if port not in _GIVEN and is_free(port, "127.0.0.1") and is_free(port, "::1"):
            _GIVEN.add(port)
            return port


def is_free(port: int, address: str) -> bool:
    """Whether nobody holds `port` of `address`; one of a family this machine lacks is free.

    Both families matter: PostgreSQL starts all the same where its port is taken by IPv6, and then refuses ::1.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.bind((address, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def server_user(names: Sequence[str]) -> pwd.struct_passwd | None:
    """Who runs a server: the first of `names` that exists when we are root, else None: ourselves.

    Raises: DemoError when we are root and there is none of them.
    """
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    message = f"no server is run as root, and there is no user {names[-1]} to run it as"
    raise DemoError(problem(Cause.INTERNAL, message, variant="demo-root"))


class PrivateServer(ABC):
    """A server process with a folder of its own; as a context manager it runs inside and is gone after.

    folder: an existing folder of ours; it is handed to the server's user when we are root.
    """

    folder: Path
    port: int
    user: pwd.struct_passwd | None = None
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises: DemoError when it does not come up.
        """

    @abstractmethod
    def stop(self) -> None:
        """End the server; may be repeated."""

    @property
    def log_file(self) -> Path:
        """What the server wrote."""
        return self.folder / "server.log"

    def last_words(self, lines: int = 1) -> str:
        """The last lines the server wrote, as one; empty when there are none."""
        if not self.log_file.exists():
            return ""
        return " ".join(self.log_file.read_text(errors="replace").strip().splitlines()[-lines:])

    # -- inside

    def _launch(self, command: Sequence[str | Path], environ: Mapping[str, str]) -> None:
        # A session of its own: Ctrl-C reaches us alone, and we end the server when its clients are done.
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
                env=environ,
                **self._as_user(),
            )

    def _end(self, how: signal.Signals, then: signal.Signals) -> None:
        """Send `how`, and `then` when it is still there after a while."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(then)
            process.wait(STOP_SECONDS)

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        self._hand_over(path)

    def _hand_over(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
