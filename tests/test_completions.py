"""TAB in real shells, on the scripts as they lie in completions/."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.generate import ROOT
from tests.reference.commands import commands
from tests.support import bring
from tests.support.conversation import Conversation

FOLDER = ROOT / "completions"
ZSH_PATHS = "".join(
    f"{name}=({' '.join(found)} ${name}); "
    for name, pattern in (("module_path", "usr/lib/*/zsh/*"), ("fpath", "usr/share/zsh/functions/**/"))
    if (found := [str(path) for path in bring.FOLDER.glob(pattern) if path.is_dir()])
)
"""Where a zsh that was brought along has its modules and functions; it looks for them in the system's folders."""
CASES = [
    ("tmsync ", {"check-db", "sync-tokens", "watch-mqtt", "init", "demo"}, set()),
    ("tmsync che", {"check-db"}, {"sync-tokens"}),
    ("tmsync -v sync", {"sync-tokens"}, {"check-db"}),
    ("tmsync --config afile.toml wat", {"watch-mqtt"}, {"check-db"}),
    ("tmsync check-db --ssl", {"--sslmode"}, set()),
    ("tmsync check-db --sslmode ver", {"verify-ca", "verify-full"}, {"prefer"}),
    ("tmsync watch-mqtt --format ", {"table", "json", "log"}, {"afile.toml"}),
    ("tmsync sync-tokens --via ", {"auto", "file", "http"}, {"afile.toml"}),
    ("tmsync watch-mqtt --car ", set(), {"afile.toml", "--once"}),
    ("tmsync check-db --db-host ", set(), {"afile.toml"}),
    ("tmsync --config a", {"afile.toml"}, set()),
    ("tmsync check-db --pg-hba ", {"afile.toml"}, {"--offline"}),
]
"""What was typed, what is offered, and what is not."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "afile.toml").write_text("")
    return tmp_path


def needed(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} at hand")
    return found


def offered_by_bash(typed: str, folder: Path) -> set[str]:
    words = typed.split(" ")
    script = (
        f'source {FOLDER}/tmsync.bash; COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _tmsync tmsync;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = [needed("bash"), "--norc", "-c", script, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    # compopt may only be called by readline itself.
    assert "line " not in done.stderr, done.stderr
    return set(done.stdout.split())


def offered_by_fish(typed: str, folder: Path) -> set[str]:
    command = [needed("fish"), "--no-config", "-c", f"source {FOLDER}/tmsync.fish; complete -C '{typed}'"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.stderr == ""
    return {line.split("\t")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(("typed", "there", "absent"), CASES)
@pytest.mark.parametrize("offered", [offered_by_bash, offered_by_fish])
def test_what_tab_offers(offered: object, typed: str, there: set[str], absent: set[str], folder: Path) -> None:
    found = offered(typed, folder)  # type: ignore[operator]
    assert there <= found
    assert not absent & found


def test_bash_with_an_equals_sign(folder: Path) -> None:
    assert offered_by_bash("tmsync check-db --format = js", folder) == {"json"}
    assert offered_by_bash("tmsync --config = afile.toml che", folder) == {"check-db"}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tmsync che\t", "check-db"),
        ("tmsync check-db --form\tjs\t", "json"),
        ("tmsync --config af\t", "afile.toml"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_completes_what_is_typed(shell: str, typed: str, completed: str, folder: Path) -> None:
    program = needed(shell)
    begin = {
        "bash": f"source {FOLDER}/tmsync.bash",
        "zsh": f"{ZSH_PATHS}autoload -U compinit; compinit -D; source {FOLDER}/_tmsync; unsetopt LIST_BEEP",
    }[shell]
    quiet = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[shell]
    with Conversation(*quiet, environ={"PS1": "ready> ", "HISTFILE": ""}, cwd=str(folder), program=program) as screen:
        screen.wait_for("ready> ")
        screen.type(f"{begin}; tmsync() {{ printf 'got %s. ' \"$@\"; }}; echo lo''aded\n")
        screen.wait_for("loaded")
        for piece in typed.split("\t"):
            screen.type(piece + "\t" if piece else "\n")
        # zsh joins a long option and its value by an equals sign.
        screen.wait_for(f"{completed}. ")


def test_every_option_that_names_a_file_is_completed_with_files() -> None:
    told = {name for command in commands() for option in command.options if option.is_file for name in option.names}
    assert told == {
        "--config", "--from-twcmanager", "--from-compose", "--output", "--pg-hba", "--twc-config", "--twc-settings",
    }  # fmt: skip


def test_scripts_start_nothing() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8")
        assert "_TMSYNC_COMPLETE" not in text
        assert "`" not in text.replace("`make completions`", "")
