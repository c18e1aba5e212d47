"""What the documents say is true: README.md, docs/ and the manual pages."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from tests.generate import everything
from tests.reference.commands import commands
from tests.reference.manual import manuals
from tests.reference.pages import ROOT, pages
from tests.support.surroundings import tmsync
from tmsync import __version__
from tmsync.cli import COMMANDS
from tmsync.core.causes import Cause
from tmsync.core.check_db.report import CheckId
from tmsync.core.config.schema import BY_NAME, ENV_PREFIX, FILE_SUFFIX, SETTINGS
from tmsync.core.telemetry.health import Verdict

README = ROOT / "README.md"
PAGES = [path for path in pages() if path.name != "CHANGELOG.md"]
"""Every document about tmsync as it is now."""
BLOCK = re.compile(r"(?ms)^( *)```(\w*)\n(.*?)^\1```$")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, *kinds: str) -> list[str]:
    """The code of every block of these kinds, without its indentation."""
    found = [(match[1], match[3]) for match in BLOCK.finditer(text) if match[2] in kinds]
    return [re.sub(rf"(?m)^{indent}", "", block) for indent, block in found]


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def calls(text: str) -> Iterator[list[str]]:
    """Every call of tmsync in a block to paste, or in code within a sentence, as words after its name."""
    pasted = "\n".join(blocks(text, "console", "sh", "text", "ini", "yaml", ""))
    lines = re.sub(r"\\\n\s*", "", pasted).splitlines()
    lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ") or re.search(r"ExecStart=|\* \*", line)]
    lines += re.findall(r"`([^`\n]+)`", prose(text))
    for line in lines:
        for found in re.finditer(r"(?:^|/bin/|(?<!-[ut])[ ;(]|(?<!/CN)=)tmsync ", f" {line}"):
            yield [word.rstrip(".,:") for word in words_of(f" {line}"[found.end() :])]


def words_of(text: str) -> list[str]:
    """The words of one command of a shell."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(takewhile(lambda word: not set(word) & set(";|&()<>"), lexer))
    except ValueError:
        return text.split()


def test_what_repeats_the_code_is_up_to_date() -> None:
    stale = [named(path) for path, text in everything().items() if path.read_text("utf-8") != text]
    assert stale == [], "out of date: make completions"
    assert {path for path in (ROOT / "man").rglob("*") if path.is_file()} == set(manuals())


def test_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 250


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]*)\)", prose(path.read_text("utf-8"))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        led_to = (path.parent / name) if name else path
        assert led_to.exists(), target
        if anchor:
            assert anchor in anchors(led_to.read_text("utf-8")), target


def anchors(text: str) -> set[str]:
    heads = re.findall(r"(?m)^#+ (.*)$", prose(text))
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_commands_and_their_options_exist(path: Path) -> None:
    known = {one.name: {name for option in one.options for name in option.names} for one in commands()}
    for words in calls(path.read_text("utf-8")):
        name = next((word for word in words if word in COMMANDS), "")
        before = words[: words.index(name)] if name else words
        behind = words[len(before) + 1 :]
        if before and before[0].startswith("/"):
            continue  # a file of that name, and another behind it
        assert name or before[:1] in ([], ["COMMAND"]) or before[0].startswith("-"), f"tmsync {' '.join(words)}"
        for part, option in [("", word) for word in before] + [(name, word) for word in behind]:
            if option.startswith("-") and option not in ("-", "--", "-c"):
                assert option.partition("=")[0] in known[part], f"tmsync {' '.join(words)}"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_settings_and_variables_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    sections = {setting.section for setting in SETTINGS}
    for section, key in re.findall(r"`(\w+)\.([a-z_.<>]+)(?: = [^`]*)?`", text):
        # The fields of documents are named likewise.
        if section in sections and path.name != "json.md":
            name = f"{section}.{key.replace('<state>', 'online')}"
            assert name in BY_NAME or name.removesuffix(FILE_SUFFIX) in BY_NAME, name
    variables = {setting.env for setting in SETTINGS}
    for variable in re.findall(rf"\b{ENV_PREFIX}[A-Z_]+[A-Z]\b", text):
        known = variable in variables or variable.removesuffix(FILE_SUFFIX.upper()) in variables
        assert known or variable == f"{ENV_PREFIX}CONFIG", variable


def rows(path: str, head: str) -> list[list[str]]:
    """The cells of the table below this head, line by line."""
    _, _, table = (ROOT / path).read_text("utf-8").partition(f"\n| {head} |")
    lines = table.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def test_every_check_and_every_verdict_is_explained_and_no_other() -> None:
    checks = rows("docs/reference/check-db.md", "check")
    assert [cells[0] for cells in checks] == list(CheckId)
    causes = {word for cells in checks for word in re.findall(r"[a-z]+(?:-[a-z]+)+|[a-z]{7,}", cells[2])}
    assert {"refused", "timeout", "no-entry", "expired"} <= causes & set(Cause)
    assert {word for word in causes if "-" in word} <= set(Cause)
    assert {cells[0] for cells in rows("docs/explanation/trust.md", "verdict")} == set(Verdict)


def test_every_cause_in_the_table_of_symptoms_exists() -> None:
    told = [cells[0] for cells in rows("docs/how-to/troubleshooting.md", "what you see")]
    words = {word for cell in told for word in re.findall(r"`([a-z-]+)`", cell)}
    others = {"database", "mosquitto", *Verdict}
    assert words - others <= set(Cause)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_examples_of_configuration_load(path: Path, tmp_path: Path) -> None:
    for example in blocks(path.read_text("utf-8"), "toml"):
        tomllib.loads(example)
        config = tmp_path / "config.toml"
        config.write_text(example)
        run = tmsync("--config", str(config), "config", "--json")
        assert run.code == 0, (example, run.out)
    for example in blocks(path.read_text("utf-8"), "yaml"):
        assert yaml.safe_load(example)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze at hand")
def test_systemd_units_are_whole(tmp_path: Path) -> None:
    for path in (ROOT / "packaging" / "systemd").iterdir():
        # The program and the user need not exist here.
        text = path.read_text("utf-8").replace("/usr/bin/tmsync", "/bin/true").replace("User=twcmanager", "User=root")
        (tmp_path / path.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    told = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "tmsync" in line]
    assert (len(units), told) == (4, []), done.stderr


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_files_of_the_project_that_are_named_exist(path: Path) -> None:
    # What begins with tmsync/ may be a topic.
    pattern = r"`((?:tests|core|render|commands|docs|completions|man|packaging)/[\w./-]+|tmsync/[\w/]+\.py)`"
    for name in re.findall(pattern, path.read_text("utf-8")):
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "tmsync")), name


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff at hand")
@pytest.mark.parametrize("path", sorted((ROOT / "man").glob("*/*")), ids=named)
def test_manual_page_is_set_without_a_warning(path: Path) -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-P-cbou", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME\n" in done.stdout


def test_every_commands_flags_reach_its_settings() -> None:
    told = "".join(tmsync(command, "--help", environ={"COLUMNS": "200"}).out for command in COMMANDS)
    for setting in SETTINGS:
        if setting.flag and setting.section in ("database", "twcmanager"):
            assert setting.flag in told


def test_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(("words", "expected"), [("tmsync ", "check-db"), ("tmsync check-db --ssl", "--sslmode")])
def test_completion_answers(words: str, expected: str) -> None:
    environ = {"_TMSYNC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run([sys.executable, "-m", "tmsync"], env=environ, capture_output=True, text=True)
    assert expected in done.stdout.split()


def test_picture_in_the_readme_is_there_and_asks_nobody_for_anything() -> None:
    (name,) = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", README.read_text("utf-8"))
    root = ET.fromstring((ROOT / name).read_text("utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = (ROOT / name).read_text("utf-8")
    assert not re.findall(r"(?:href|url\()[=\"']*https?:", text)
    assert "scram-sha-256" in text
