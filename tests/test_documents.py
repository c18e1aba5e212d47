"""What the documents say is true."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from packaging.version import Version

from tests.generate import README, ROOT, completions, documented, readme, settings_table
from tests.supply import LOCK, pins
from tests.support.surroundings import tmsync
from tmsync import __version__
from tmsync.cli import COMMANDS
from tmsync.core.config.schema import SETTINGS


def test_completions_are_up_to_date() -> None:
    for path, text in completions().items():
        assert path.read_text("utf-8") == text, f"{path.name} is out of date: make completions"


def lays_out_as_the_developers() -> bool:
    """Whether Typer and Rich, which lay out the help texts, are at least as new as those developed with."""
    locked = pins(LOCK.read_text("utf-8"))
    return all(Version(version(name)) >= Version(locked[name]) for name in ("typer", "rich"))


@pytest.mark.skipif(not lays_out_as_the_developers(), reason="an older Typer or Rich lays help texts out differently")
def test_help_texts_in_the_readme_are_up_to_date() -> None:
    assert documented() == {"", *COMMANDS}
    assert README.read_text("utf-8") == readme(), "README.md is out of date: make completions"


def test_every_setting_is_in_the_readme_as_the_table_has_it() -> None:
    text = README.read_text("utf-8")
    assert settings_table() in text, "README.md is out of date: make completions"
    for setting in SETTINGS:
        if setting.section != "health":
            assert re.search(rf"\| `{re.escape(setting.name)}`", text), setting.name
    assert "`health.late_after.<state>`" in text


def test_every_commands_flags_reach_its_settings() -> None:
    told = "".join(tmsync(command, "--help", environ={"COLUMNS": "200"}).out for command in COMMANDS)
    for setting in SETTINGS:
        if setting.flag and setting.section in ("database", "twcmanager"):
            assert setting.flag in told


def test_toml_example_in_the_readme_loads(tmp_path_factory: pytest.TempPathFactory) -> None:
    examples = re.findall(r"(?s)```toml\n(.*?)```", README.read_text("utf-8"))
    assert examples
    for example in examples:
        tomllib.loads(example)
        path = tmp_path_factory.mktemp("toml") / "config.toml"
        path.write_text(example)
        run = tmsync("--config", str(path), "sync-tokens", "--json", "--timeout", "0.2")
        assert run.code in (1, 2)
        assert run.json["error"]["cause"] not in ("unknown-key", "wrong-type", "bad-value", "bad-syntax")


def test_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(("words", "expected"), [("tmsync ", "check-db"), ("tmsync check-db --ssl", "--sslmode")])
def test_completion_answers(words: str, expected: str) -> None:
    environ = {"_TMSYNC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run([sys.executable, "-m", "tmsync"], env=environ, capture_output=True, text=True)
    assert expected in done.stdout.split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze at hand")
def test_systemd_units_in_the_readme_are_whole(tmp_path: Path) -> None:
    units = dict(re.findall(r"(?s)<!-- unit: (\S+) -->\n```ini\n(.*?)```", README.read_text("utf-8")))
    assert sorted(units) == ["tmsync.service", "tmsync.timer"]
    for name, text in units.items():
        # The program and the user of the example need not exist here.
        here = text.replace("/usr/local/bin/tmsync", "/bin/true").replace("User=twcmanager", "User=root")
        (tmp_path / name).write_text(here)
    command = ["systemd-analyze", "verify", *sorted(map(str, tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "tmsync" in line]
    assert told == [], done.stderr


def test_picture_in_the_readme_is_there_and_asks_nobody_for_anything() -> None:
    (name,) = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", README.read_text("utf-8"))
    root = ET.fromstring((ROOT / name).read_text("utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = (ROOT / name).read_text("utf-8")
    assert not re.findall(r"(?:href|url\()[=\"']*https?:", text)
    assert "scram-sha-256" in text


def test_links_within_the_readme_lead_somewhere() -> None:
    text = README.read_text("utf-8")
    heads = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in re.findall(r"(?m)^#+ (.*)$", text)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= heads
