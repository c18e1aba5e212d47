"""The command line itself: usage errors, exit codes, streams, surroundings that lack something."""

import ctypes
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.surroundings import Run, TeslaMate, tmsync, tmsync_process
from tmsync import __version__, cli, signals
from tmsync.cli import COMMANDS

ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
TMSYNC = [sys.executable, "-m", "tmsync"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek-db"], "Did you mean 'check-db'"),
        (["check-db", "--db-prot", "1"], "--db-prot"),
        (["check-db", "--db-port", "x"], "--db-port"),
        (["check-db", "--db-port", "0"], "--db-port"),
        (["check-db", "--sslmode", "on"], "--sslmode"),
        (["check-db", "--format", "xml"], "--format"),
        (["sync-tokens", "--via", "pigeon"], "--via"),
        (["check-db", "extra"], "extra"),
        (["check-db", "--db-port"], "See tmsync check-db --help."),
        (["--config"], "tmsync --help"),
        (["check-db", "--db-port", "x"], "a whole number from 1 to 65535"),
        (["check-db", "--format", "xml"], "--format: 'xml' is not allowed\n  It takes: one of table, json."),
        (["watch-mqtt", "--interval", "0"], "a number of 0.1 or more"),
        (["watch-mqtt", "--interval", "x"], "--interval: 'x' is not allowed"),
        (["watch-mqtt", "--interval", "nan"], "a number"),
        (["watch-mqtt", "--car", "1", "--car", "x"], "a whole number of 0 or more"),
        (["watch-mqtt", "--duration", "inf"], "--duration: 'inf' is not allowed"),
        (["status", "--wait", "3601"], "a number from 0 to 3600"),
        (["check-db", "--sslmode", "on"], "one of disable, allow, prefer, require, verify-ca, verify-full"),
        (["watch-mqtt", "--exec", "'"], "error: --exec takes a command"),
        (["check-db", "--offline"], "error: --offline goes with --pg-hba FILE"),
        (["check-db", "--db-password", "x"], "TMSYNC_DATABASE_PASSWORD"),
        (["--config", "/nonexistent.toml", "sync-tokens"], "/nonexistent.toml"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    run = tmsync(*arguments)
    told = run.err or run.out
    assert run.code == 2
    assert words in told
    assert "Traceback" not in run.out + run.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "", "config"],
        ["config", "--config="],
        ["init", "--output", ""],
        ["init", "--from-compose", ""],
        ["init", "--from-twcmanager", ""],
        ["check-db", "--pg-hba", "", "--offline"],
        ["check-db", "--pg-hba", "x", "--client-address", ""],
        ["check-db", "--pg-hba", "x", "--member-of", "a", "--member-of", ""],
    ],
    ids=" ".join,
)
def test_name_that_a_script_left_empty_is_not_taken_for_none(arguments: list[str]) -> None:
    run = tmsync(*arguments)
    assert (run.code, run.out) == (2, "")
    assert re.match("tmsync: error: --[a-z-]+: '' is not allowed\n  It takes: (a|an) [a-z, ]+. See tmsync ", run.err)


def test_number_larger_than_any_float_is_a_number() -> None:
    run = tmsync("watch-mqtt", "--once", "--mqtt-host", "127.0.0.1", "--mqtt-port", "1", "--car", "9" * 400, "--json")
    assert (run.code, run.json["error"]["cause"]) == (1, "refused")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["sync-tokens", "--json", "--nonsense"], "sync-tokens"),
        (["sync-tokens", "--nonsense", "--format=json"], "sync-tokens"),
        (["--config", "status", "check-db", "--json", "--nonsense"], "check-db"),
        (["check-db", "--db-name", "status", "--json", "--nonsense"], "check-db"),
        (["status", "--json", "--db-port"], "status"),
        (["--nonsense", "check-db", "--json"], "check-db"),
        (["chek-db", "--json"], ""),
        (["check-db", "--json", "--db-port", "x"], "check-db"),
    ],
)
def test_wrong_usage_with_json_is_a_document_of_the_command_that_was_called(arguments: list[str], command: str) -> None:
    run = tmsync(*arguments)
    assert run.code == 2
    assert (run.json["command"], run.json["ok"], run.json["error"]["cause"]) == (command, False, "usage")


def test_value_that_looks_like_a_flag_is_a_value() -> None:
    run = tmsync("check-db", "--db-name", "--json", "--nonsense")
    assert (run.code, run.out) == (2, "")


@pytest.mark.parametrize("place", ["before", "behind"])
def test_config_quiet_and_verbose_stand_before_the_command_or_behind_it(
    teslamate: TeslaMate, make_config: Callable[..., Path], place: str
) -> None:
    config = make_config(f'[database]\nhost = "127.0.0.1"\nport = {teslamate.postgres.port}\n')
    environ = teslamate.environ(TMSYNC_DATABASE_HOST=None, TMSYNC_DATABASE_PORT=None)

    def run(*options: str) -> Run:
        arguments = [*options, "check-db"] if place == "before" else ["check-db", *options]
        return tmsync(*arguments, environ=environ)

    usual, quiet, verbose = run("--config", str(config)), run("--config", str(config), "-q"), run("--verbose")
    assert (usual.code, usual.err, "pass  login" in usual.out) == (0, "", True)
    assert (quiet.code, quiet.out) == (0, "")
    assert (verbose.code, "tmsync: database.password from TMSYNC_DATABASE_PASSWORD" in verbose.err) == (2, True)


def test_what_stands_behind_the_command_wins(make_config: Callable[..., Path]) -> None:
    run = tmsync("--config", "/nonexistent", "config", "--config", str(make_config("[mqtt]\nhost = 'h'\n")), "--json")
    assert (run.code, [entry["value"] for entry in run.json["settings"]]) == (0, ["h"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["check-db", "--db-password", "geheim"],
        ["check-db", "--db-password=geheim", "-v"],
        ["check-db", "-v", "--db-password", "geheim"],
        ["sync-tokens", "-v", "--twc-url", "http://me:geheim@192.168.1.50"],
    ],
)
def test_secret_given_as_a_flag_is_not_repeated(arguments: list[str]) -> None:
    run = tmsync(*arguments)
    assert run.code == 2
    assert "geheim" not in run.out + run.err


def test_wrong_usage_with_nagios_is_unknown() -> None:
    run = tmsync("status", "--format", "nagios", "--mqtt-port", "x")
    assert (run.code, run.out) == (3, "TMSYNC UNKNOWN - --mqtt-port: 'x' is not allowed\n")
    assert tmsync("check-db", "--format", "nagios").code == 2


def test_no_command_shows_the_help() -> None:
    run = tmsync()
    assert run.code == 2
    assert "check-db" in run.out + run.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "/dev/null", "check-db", "--db-host", "::1", "--db-port", "1", "--sslmode", "require"],
        ["sync-tokens", "--config", "/dev/null", "--via", "file", "--format", "json"],
        ["watch-mqtt", "--config", "/dev/null", "--car", "1", "--car", "2", "--duration", "0.5", "--interval", "1"],
        ["status", "--config", "/dev/null", "--wait", "0", "-v"],
        ["config", "--config", "/dev/null"],
    ],
    ids=lambda arguments: next(word for word in arguments if word in COMMANDS),
)
def test_options_given_or_not_load_no_pydantic(arguments: list[str]) -> None:
    """It takes as long to load as all else of a run, and Typer would do so for each option."""
    code = f"import sys; from tmsync.cli import run; run({arguments!r}); print([*sys.modules].count('pydantic'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "0", told


def test_version() -> None:
    assert (tmsync("--version").out, tmsync("--version").code) == (f"tmsync {__version__}\n", 0)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_of_every_command_has_an_example(command: str) -> None:
    run = tmsync(*([command] if command else []), "--help", environ={"COLUMNS": "200"})
    assert run.code == 0
    assert f"Example: tmsync {command}" in run.out
    assert "<" not in run.out, "a flag shows no value"
    assert "Before the command or behind it" in run.out


@pytest.mark.parametrize("environ", [ASCII_ONLY, {"TERM": "dumb"}, {}])
def test_poor_surroundings(teslamate: TeslaMate, environ: dict[str, str]) -> None:
    for width in ("40", "80", "nonsense"):
        run = tmsync("check-db", "--db-user", "Müller", environ=teslamate.environ(COLUMNS=width, **environ))
        assert run.code == 1
        assert "Traceback" not in run.out + run.err
        assert "fail  login" in run.out


@pytest.mark.parametrize(
    ("name", "size"),
    [("COLUMNS", "0"), ("COLUMNS", "\N{SUPERSCRIPT TWO}"), ("LINES", "9" * 5000), ("TERMINAL_WIDTH", "nonsense")],
)
def test_size_of_the_screen_that_is_none_is_not_taken(name: str, size: str) -> None:
    run = tmsync_process("check-db", "--help", environ={name: size})
    assert (run.code, run.err) == (0, "")
    assert "Say why this host cannot read TeslaMate's database, and how to fix it." in run.out


def test_missing_home(teslamate: TeslaMate) -> None:
    clean = {"PATH": os.environ["PATH"], **teslamate.environ()}
    done = subprocess.run([*TMSYNC, "check-db"], env=clean, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_closed_standard_output_is_no_traceback(teslamate: TeslaMate, form: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **teslamate.environ()}
    try:
        done = subprocess.run(
            [*TMSYNC, "check-db", *form],
            env=clean,
            stdout=writer,
            stderr=subprocess.PIPE,
            cwd="/",
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [["check-db"], ["check-db", "--json"], ["--version"], ["--help"], ["nix"]])
def test_full_disk_behind_standard_output_is_one_line(
    teslamate: TeslaMate, arguments: list[str], buffered: bool
) -> None:
    unbuffered = {} if buffered else {"PYTHONUNBUFFERED": "1"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*TMSYNC, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **teslamate.environ(), **unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            cwd="/",
            text=True,
        )
    if arguments == ["nix"]:
        assert (done.returncode, done.stderr.splitlines()[0]) == (2, "tmsync: error: No such command 'nix'.")
    else:
        assert (done.returncode, done.stderr.splitlines()) == (
            1,
            [
                "tmsync: error: standard output cannot be written: No space left on device",
                "  Free some space, or send the output elsewhere.",
            ],
        )


@pytest.mark.parametrize(("form", "code"), [("json", 2), ("nagios", 3)])
def test_full_disk_leaves_an_error_its_exit_code(form: str, code: int) -> None:
    arguments = ["status", "--format", form, "--wait", "x"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*TMSYNC, *arguments], stdout=full, stderr=subprocess.PIPE, cwd="/", text=True)
    assert (done.returncode, done.stderr.splitlines()) == (
        code,
        [
            "tmsync: error: --wait: 'x' is not allowed",
            "  It takes: a number from 0 to 3600. See tmsync status --help.",
            "tmsync: error: standard output cannot be written: No space left on device",
            "  Free some space, or send the output elsewhere.",
        ],
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-", "> /dev/full 2> /dev/full"])
def test_closed_streams_change_no_exit_code(teslamate: TeslaMate, closed: str) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **teslamate.environ()}
    command = f"{shlex.join(TMSYNC)} check-db --json {closed}"
    done = subprocess.run(["sh", "-c", command], env=environ, stdin=subprocess.DEVNULL, capture_output=True, cwd="/")
    assert (done.returncode, b"Traceback" in done.stderr) == (1 if "full" in closed else 0, False)


def on_terminal(environ: dict[str, str], *arguments: str) -> str:
    """What tmsync writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "xterm-256color", "COLUMNS": "80", **environ}
    process = subprocess.Popen(
        [*TMSYNC, *arguments],
        env=clean,
        stdout=follower,
        stderr=follower,
        stdin=follower,
        cwd="/",
    )
    os.close(follower)
    told = b""
    while True:
        try:
            data = os.read(leader, 4096)
        except OSError:
            break
        if not data:
            break
        told += data
    process.wait()
    os.close(leader)
    return told.decode()


def test_colours_on_a_terminal_and_nowhere_else(teslamate: TeslaMate) -> None:
    assert "\x1b[32mpass" in on_terminal(teslamate.environ(), "check-db")
    assert "\x1b[3" not in on_terminal(teslamate.environ(NO_COLOR="1"), "check-db")
    assert "\x1b" not in tmsync("check-db", environ=teslamate.environ()).out
    assert "\x1b[32m" in tmsync("check-db", environ=teslamate.environ(FORCE_COLOR="1", TERM="xterm-256color")).out


def test_foreign_text_moves_no_cursor(teslamate: TeslaMate) -> None:
    told = on_terminal(
        teslamate.environ(NO_COLOR="1"), "check-db", "--db-user", "x\x1b[2Jy[red]z[/]", "--db-name", "a\nb"
    )
    assert "\x1b[2J" not in told
    assert "x\\x1b[2Jy[red]z[/]" in told


def test_hostile_host_name_is_one_line(make_config: Callable[..., Path]) -> None:
    run = tmsync("--config", str(make_config('[database]\nhost = "a\\u001bM"\n')), "check-db", "--timeout", "1")
    assert run.code == 1
    assert "\x1b" not in run.out + run.err


CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def as_anybody() -> None:
    """Before exec: root, too, is bound by permissions from then on."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["config"], "Configuration file: none"),
        (
            ["--config", "{}/config.toml", "config"],
            "{}/config.toml (the configuration file) cannot be read: Permission",
        ),
        (
            ["status", "--wait", "0", "--db-host", "127.0.0.1", "--db-port", "1", "--twc-settings", "{}/in/s.json"],
            "{}/in",
        ),
        (["check-db", "--db-host", "127.0.0.1", "--db-port", "1", "--sslmode", "verify-full"], "refuses"),
        (["check-db", "--pg-hba", "{}/pg_hba.conf", "--offline", "--client-address", "local"], "run tmsync as root"),
        (
            ["init", "--non-interactive", "--from-compose", "{}/compose.yml"],
            "{}/compose.yml cannot be read: Permission",
        ),
    ],
)
def test_folder_that_may_not_be_looked_into_is_no_surprise(tmp_path: Path, arguments: list[str], words: str) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o000)
    try:
        done = subprocess.run(
            [*TMSYNC, *(argument.format(folder) for argument in arguments)],
            env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")},
            capture_output=True,
            text=True,
            preexec_fn=as_anybody,
        )
    finally:
        folder.chmod(0o700)
    assert "unforeseen" not in done.stdout + done.stderr
    assert "".join(words.format(folder).split()) in "".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["check-db", "--db-host", "postgres://user:mark-SECRET@127.0.0.1/teslamate"],
        ["check-db", "--db-port", "user:mark-SECRET@127.0.0.1"],
        ["sync-tokens", "--twc-url", "http://user:mark-SECRET@127.0.0.1:8080"],
        ["watch-mqtt", "--mqtt-host", "user:mark-SECRET@127.0.0.1"],
        ["watch-mqtt", "--format", "mqtt://user:mark-SECRET@127.0.0.1"],
        ["config", "mqtt://user:mark-SECRET@127.0.0.1"],
        ["mqtt://user:mark-SECRET@127.0.0.1"],
    ],
)
@pytest.mark.parametrize("verbose", [[], ["-v"]])
def test_a_password_in_an_address_is_refused_and_not_repeated(arguments: list[str], verbose: list[str]) -> None:
    run = tmsync(*verbose, *arguments)
    assert run.code == 2
    assert "SECRET" not in run.out + run.err
    assert "@127.0.0.1" in run.out + run.err


@pytest.mark.parametrize("setting", ["DATABASE_HOST", "MQTT_HOST", "TWCMANAGER_URL", "TESLAMATE_URL"])
def test_a_password_in_an_address_is_not_repeated_from_the_environment(setting: str) -> None:
    environ = {f"TMSYNC_{setting}": "http://user:mark-SECRET@127.0.0.1:1"}
    for command in (["config"], ["config", "--json"], ["status"], ["-v", "sync-tokens"]):
        run = tmsync(*command, environ=environ)
        assert run.code == 2
        assert "SECRET" not in run.out + run.err


def test_signal_that_comes_out_as_an_error_of_pythons_own_locks_ends_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("release unlocked lock")

    monkeypatch.setattr(cli, "app", broken)
    assert "unforeseen RuntimeError" in tmsync("status").err
    monkeypatch.setattr(signals._ENDING, "number", signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        tmsync("status")
