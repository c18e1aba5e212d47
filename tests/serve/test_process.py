"""tmsync serve as a process: what systemd sees of it, and how signals end it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.support.surroundings import clean_environ
from tmsync.core.serve.notify import Notifier
from tmsync.demo.server import free_port

SECONDS = 20.0


class Systemd:
    """The socket that a service tells its states to, and the service."""

    def __init__(self, sock: socket.socket, process: "subprocess.Popen[str]") -> None:
        self.sock = sock
        self.process = process
        self.told: list[str] = []

    def until(self, begin: str) -> str:
        """The next state that begins so."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.told.append(self.sock.recv(4096).decode())
            if self.told[-1].startswith(begin):
                return self.told[-1]
        raise AssertionError(self.told)

    def end(self, how: signal.Signals) -> tuple[int, list[dict[str, str]]]:
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=SECONDS)
        assert err == ""
        return self.process.returncode, [json.loads(line) for line in out.splitlines()]


@contextmanager
def started(
    folder: Path,
    environ: dict[str, str],
    *,
    abstract: bool = False,
    listening: socket.socket | None = None,
    arguments: tuple[str, ...] = ("serve", "--json"),
    stdout: IO[str] | int = subprocess.PIPE,
) -> Iterator[Systemd]:
    """serve as systemd starts it. Neither its database nor its broker can be reached."""
    (folder / "twc.json").write_text("{}")
    name = f"\0tmsync-test-{os.getpid()}-{time.monotonic_ns()}" if abstract else str(folder / "notify")
    environ = clean_environ({
        "TMSYNC_DATABASE_HOST": "127.0.0.1", "TMSYNC_DATABASE_PORT": str(free_port()),
        "TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(free_port()),
        "TMSYNC_SERVE_STATE_DIR": str(folder / "state"),
        "TMSYNC_TWCMANAGER_CONFIG_FILE": str(folder / "twc.json"),
        "TMSYNC_TWCMANAGER_SETTINGS_FILE": str(folder / "settings.json"),
        "NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "2000000", **environ,
    })  # fmt: skip
    # systemd passes the sockets as descriptors from 3 on, and names the process that they are meant for.
    script = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.executable, sys.argv[1:])"
    passed = () if listening is None else (listening.fileno(),)
    if listening is not None:
        script = f"import os; os.dup2({listening.fileno()}, 3); {script}"
        environ["LISTEN_FDS"] = "1"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(SECONDS)
        process = subprocess.Popen(
            [sys.executable, "-c", script, sys.executable, "-m", "tmsync", *arguments],
            env=environ, pass_fds=passed, cwd="/", text=True, stdout=stdout, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield Systemd(sock, process)
        finally:
            process.kill()
            process.communicate()


def status_of(port: int, path: str = "/healthz") -> int:
    return int(answer_of(port, path).split()[1])


def answer_of(port: int, path: str, bearer: str = "") -> str:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock:
        head = f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n"
        sock.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        with sock.makefile("rb") as answer:
            return answer.read().decode()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_ready_comes_once_the_port_answers_and_a_signal_ends_it_in_order(tmp_path: Path, how: signal.Signals) -> None:
    port = free_port()
    with started(tmp_path, {"TMSYNC_SERVE_LISTEN": f"127.0.0.1:{port}"}, abstract=how is signal.SIGINT) as systemd:
        systemd.until("READY=1")
        assert status_of(port) == 200
        assert status_of(port, "/readyz") == 503
        systemd.until("STATUS=0 of 0 vehicles by TeslaMate; 0 requests answered, 0 forwarded")
        systemd.until("WATCHDOG=1")
        code, events = systemd.end(how)
        assert code == 0
        systemd.until("STOPPING=1")
    assert [(event["event"], event.get("state")) for event in events][:1] == [("serve", "ready")]
    assert {event.get("cause") for event in events} >= {"refused"}


def until_noted(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    """Wait until the process handles the signal itself."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (number - 1) & 1:
            return
        time.sleep(0.001)
    raise AssertionError(number)


def test_a_hangup_right_behind_the_start_is_a_reload_as_soon_as_it_runs(tmp_path: Path) -> None:
    with started(tmp_path, {"TMSYNC_SERVE_LISTEN": f"127.0.0.1:{free_port()}"}) as systemd:
        until_noted(systemd.process, signal.SIGTERM)
        systemd.process.send_signal(signal.SIGHUP)
        for state in ("READY=1", "RELOADING=1", "READY=1"):
            systemd.until(state)
        code, events = systemd.end(signal.SIGTERM)
    states = [event["state"] for event in events if event["event"] == "serve"]
    assert (code, states) == (0, ["ready", "reloaded", "stopping"])


@pytest.mark.parametrize("wait_s", [0.0, 0.1, 0.2])
def test_a_signal_right_behind_the_start_ends_it_in_order(tmp_path: Path, wait_s: float) -> None:
    with started(tmp_path, {"TMSYNC_SERVE_LISTEN": f"127.0.0.1:{free_port()}"}) as systemd:
        until_noted(systemd.process, signal.SIGTERM)
        time.sleep(wait_s)
        assert systemd.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("arguments", [("watch-mqtt", "--wait"), ("status", "--wait", "5")])
def test_a_hangup_right_behind_the_start_ends_every_other_command(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with started(tmp_path, {}, arguments=arguments) as systemd:
        until_noted(systemd.process, signal.SIGTERM)
        systemd.process.send_signal(signal.SIGHUP)
        assert systemd.process.wait(SECONDS) == -signal.SIGHUP


@pytest.mark.parametrize(
    ("usec", "seconds"),
    [("30000000", 15.0), ("0", None), ("000", None), ("", None), ("-1", None), ("9" * 400, None), ("²", None)],
)
def test_watchdog_that_is_no_time_is_none(usec: str, seconds: float | None) -> None:
    assert Notifier({"WATCHDOG_USEC": usec}, 1).watchdog_s == seconds


def test_reload_is_told_and_a_bad_file_keeps_the_settings(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.toml"
    config.write_text(f"[serve]\nlisten = '127.0.0.1:{port}'\n")
    config.chmod(0o600)
    with started(tmp_path, {"TMSYNC_CONFIG": str(config)}) as systemd:
        systemd.until("READY=1")
        for text in ("[serve]\nlisten = 'x'\n", f"[serve]\nlisten = '127.0.0.1:{port}'\n"):
            config.write_text(text)
            begun = time.monotonic()
            systemd.process.send_signal(signal.SIGHUP)
            (told,) = re.findall(r"MONOTONIC_USEC=(\d+)", systemd.until("RELOADING=1"))
            assert begun <= int(told) / 1_000_000 <= time.monotonic()
            systemd.until("READY=1")
            assert status_of(port) == 200
        code, events = systemd.end(signal.SIGTERM)
    assert code == 0
    assert [event["state"] for event in events if event["event"] == "serve"] == [
        "ready", "kept", "reloaded", "stopping",
    ]  # fmt: skip


def test_disk_full_behind_the_log_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    """TWCManager has no other way to Tesla."""
    port = free_port()
    environ = {"TMSYNC_SERVE_LISTEN": f"127.0.0.1:{port}"}
    with Path("/dev/full").open("w") as full, started(tmp_path, environ, stdout=full) as systemd:
        systemd.until("READY=1")
        systemd.until("WATCHDOG=1")
        assert status_of(port) == 200
        systemd.process.terminate()
        _, err = systemd.process.communicate(timeout=SECONDS)
    assert (systemd.process.returncode, err.count("\n")) == (0, 2)
    assert err.startswith("tmsync: warning: standard output cannot be written: No space left on device\n")


def test_systemds_socket_is_served_and_no_other_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with started(tmp_path, {"TMSYNC_SERVE_LISTEN": f"127.0.0.1:{port}"}, listening=listening) as systemd:
            systemd.until("READY=1")
            assert status_of(port) == 200
            assert systemd.end(signal.SIGTERM)[0] == 0
        # It is systemd's, and stays open: whoever calls meanwhile waits for the next start.
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


@pytest.mark.parametrize(
    ("listen", "cause", "words"),
    [("127.0.0.1:1", "bad-value", "systemd's socket listens at 127.0.0.1"), ("", "missing-setting", "serve.listen")],
)
def test_systemds_socket_that_the_settings_do_not_know_is_told(
    tmp_path: Path, listen: str, cause: str, words: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        started(tmp_path, {"TMSYNC_SERVE_LISTEN": listen}, listening=listening) as systemd,
    ):
        out, err = systemd.process.communicate(timeout=SECONDS)
    assert systemd.process.returncode == 2
    assert json.loads(out)["error"]["cause"] == cause
    assert out.count("\n") == 1, "one document a line, whoever reads it line by line"
    assert words in err


def test_no_secret_is_told_whatever_is_out_of_reach(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.toml"
    config.write_text(
        "[database]\npassword = 'a-SECRET'\n[teslamate]\nencryption_key = 'b-SECRET'\n"
        "[mqtt]\nusername = 'me'\npassword = 'c-SECRET'\n"
        f"[serve]\nlisten = '127.0.0.1:{port}'\nupstream = 'https://127.0.0.1:1'\nupstream_token = 'd-SECRET'\n"
        "[publish]\nenabled = true\n"
    )
    config.chmod(0o600)
    told = []
    arguments = ("--verbose", "--config", str(config), "serve", "--format", "log")
    keys = tmp_path / "keys-of-tls"
    with started(tmp_path, {"SSLKEYLOGFILE": str(keys)}, arguments=arguments) as systemd:
        systemd.until("READY=1")
        paths = (
            "/metrics",
            "/tmsync/vehicles",
            "/readyz",
            "/api/1/vehicles",
            "/api/1/x?access_token=f-SECRET",
            "e-SECRET",
        )
        told += [answer_of(port, path, "e-SECRET") for path in paths]
        told += [Path(f"/proc/{systemd.process.pid}/{name}").read_text() for name in ("cmdline", "environ")]
        systemd.until("WATCHDOG=1")
        systemd.process.terminate()
        told += [*systemd.process.communicate(timeout=SECONDS), *systemd.told]
    told += [path.read_text() for path in (tmp_path / "state").iterdir()] if (tmp_path / "state").exists() else []
    assert "refuse" in "".join(told)
    assert [text for text in told if "SECRET" in text] == []
    assert not keys.exists(), "with these, what goes to Tesla can be read"
