"""Somebody else's server or program where TWCManager was expected: it gets no token, and is told as what it is."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.surroundings import TeslaMate, TwcFolder
from tests.support.waiting import until
from tmsync.core.net.http import request
from tmsync.core.net.listeners import Stranger, must_belong_to, server_users
from tmsync.core.twcmanager.presence import Presence, look, trusted_users
from tmsync.demo.server import free_port

NOBODY = 65534
as_root = pytest.mark.root
STATUS = json.dumps({"carsCharging": 0, "currentPolicy": "Charge Now"})
SERVER = textwrap.dedent(
    f"""
    import os, socket, sys
    os.setuid(int(sys.argv[4]))
    family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family, dualstack_ipv6=sys.argv[1] == "::")
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        if "once" in sys.argv:
            listener.close()
        data = sock.recv(65536)
        with open(sys.argv[3], "ab") as heard:
            heard.write(data)
        sock.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + {STATUS.encode()!r})
        sock.close()
    """
)


@contextmanager
def running(*command: str) -> Iterator[int]:
    """A Python program that says when it is ready; its process id."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, cwd="/") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


@contextmanager
def server(folder: Path, port: int, *more: str, address: str = "127.0.0.1", user: int | None = None) -> Iterator[Path]:
    """A web server of `user`'s that looks like TWCManager's; the file holds what it was sent."""
    heard = folder / "heard"
    owner = os.geteuid() if user is None else user
    with running("-c", SERVER, address, str(port), str(heard), str(owner), *more):
        yield heard


def connected(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((address, port), 5)


@pytest.mark.parametrize(
    ("address", "to"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("::", "127.0.0.1")],
)
def test_a_server_of_ones_own_is_known_as_that(shared_folder: Path, address: str, to: str) -> None:
    port, own = free_port(), os.geteuid()
    with server(shared_folder, port, address=address), closing(connected(port, to)) as sock:
        # What nobody has accepted yet is shown as user 0's.
        assert own in server_users(sock) <= {0, own}
        until(lambda: server_users(sock) == {own}, 5)
        must_belong_to(frozenset({own}))(sock)
        with pytest.raises(Stranger, match="another user's"):
            must_belong_to(frozenset({own + 1}))(sock)


@as_root
def test_a_connection_that_nobody_has_accepted_is_the_listeners(shared_folder: Path) -> None:
    port = free_port()
    listen = "import os, socket, time; os.setuid({}); s = socket.create_server(('127.0.0.1', {}));"
    listen += " print('ready', flush=True); time.sleep(60)"
    with running("-c", listen.format(NOBODY, port)), closing(connected(port)) as sock:
        assert NOBODY in server_users(sock)


@as_root
def test_a_listener_that_is_gone_again_hides_nobody(shared_folder: Path) -> None:
    """It has accepted, made room for root's own server, and still holds the connection."""
    port = free_port()
    with server(shared_folder, port, "once", user=NOBODY), closing(connected(port)) as sock:
        until(lambda: not server_users(sock), 5)
        with pytest.raises(Stranger, match="cannot be seen from here"):
            must_belong_to(frozenset({0}))(sock)
        with socket.create_server(("127.0.0.1", port)):
            assert server_users(sock) == {0, NOBODY}


@as_root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_no_token_goes_to_another_users_server(
    teslamate: TeslaMate, twc: TwcFolder, shared_folder: Path, address: str
) -> None:
    twc.write({"carApiBearerToken": "held-before"})
    config = json.loads(twc.config.read_text())
    port = config["control"]["HTTP"]["listenPort"]
    with server(shared_folder, port, address=address, user=NOBODY) as heard:
        run = teslamate.sync(twc, "--via", "http")
        assert run.code == 1
        assert run.json["error"]["cause"] == "twcmanager-unreachable"
        assert teslamate.sync(twc).json["delivery"]["via"] == "file"
        assert not heard.exists() or heard.read_bytes() == b""
    if address == "127.0.0.1":
        assert "another user's (nobody)" in run.json["error"]["message"]
        assert any("twcmanager" in line for line in run.json["error"]["fix"])


@as_root
def test_an_address_that_somebody_named_is_not_questioned(
    teslamate: TeslaMate, twc: TwcFolder, shared_folder: Path
) -> None:
    twc.write({"carApiBearerToken": "held-before"})
    port = json.loads(twc.config.read_text())["control"]["HTTP"]["listenPort"]
    with server(shared_folder, port, user=NOBODY) as heard:
        teslamate.sync(twc, "--via", "http", TMSYNC_TWCMANAGER_URL=f"http://127.0.0.1:{port}")
        assert b"POST /settings/save" in heard.read_bytes()


@as_root
def test_another_users_program_of_its_name_is_not_twcmanager(shared_folder: Path) -> None:
    settings = shared_folder / "settings.json"
    settings.write_text("{}")
    config = shared_folder / "config.json"
    config.write_text("{}")
    program = shared_folder / "TWCManager.py"
    program.write_text(
        f"import os, sys, time\nos.chdir({str(shared_folder)!r})\nos.setuid(int(sys.argv[1]))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    url = f"http://127.0.0.1:{free_port()}"
    pid_file = shared_folder / "TWCManager.pid"
    for user, presence in ((NOBODY, Presence.STOPPED), (0, Presence.RUNNING)):
        with running(str(program), str(user)) as pid:
            assert look(settings, config, [url], 1).presence is presence
            pid_file.write_text(str(pid))
            assert look(settings, config, [url], 1).presence is presence
        pid_file.unlink()
    os.chown(settings, NOBODY, NOBODY)
    assert trusted_users(settings) == {0, NOBODY}


def test_nothing_is_sent_before_the_server_was_looked_at(shared_folder: Path) -> None:
    port = free_port()
    with server(shared_folder, port) as heard:
        with pytest.raises(Stranger):
            request(f"http://127.0.0.1:{port}", "POST", "/x", 5, "secret", check=must_belong_to(frozenset()))
        time.sleep(0.2)
        assert not heard.exists() or heard.read_bytes() == b""
