"""What tmsync is made of is locked for development, licensed, and bounded from below."""

import importlib.metadata
import re

import pytest

from tests.supply import FAMILIES, LOCK, PAGE, TABLE, licence, normal, pins, report, run_time
from tests.versions import lower_bounds


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def test_lock_names_everything_that_comes_with_tmsync_within_its_bounds() -> None:
    locked = pins(LOCK.read_text("utf-8"))
    assert {normal(name) for name in lower_bounds()} <= set(locked)
    for name, oldest in lower_bounds().items():
        assert numbers(locked[normal(name)]) >= numbers(oldest), name


def test_lock_pins_every_line() -> None:
    lines = [line for line in LOCK.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert len(pins("\n".join(lines))) == len(lines)


def test_every_package_that_comes_with_tmsync_has_its_licence_told() -> None:
    table = TABLE.search(PAGE.read_text("utf-8"))
    assert table is not None
    told = dict(re.findall(r"(?m)^\| ([a-z0-9-]+) \| (.+) \|$", table[0].partition("|---|")[2]))
    # Another version of one may need fewer; what it needs must be told.
    assert set(run_time()) <= set(told), "licences.md is out of date: make lock"
    for name, words in told.items():
        assert any(family in words for family in FAMILIES), f"{name}: {words} wants a decision"


def test_licences_told_are_those_of_the_locked_versions() -> None:
    table = TABLE.search(PAGE.read_text("utf-8"))
    assert table is not None
    for name, version in pins(LOCK.read_text("utf-8")).items():
        if name in run_time() and importlib.metadata.version(name) == version:
            assert f"| {name} | {licence(name)} |" in table[0], "licences.md is out of date: make lock"


@pytest.mark.parametrize(
    ("told", "code", "line"),
    [
        ({}, 0, "audit: nothing was audited: the service that knows of holes cannot be asked (0 packages)"),
        (
            {"dependencies": [{"name": "six", "skip_reason": "not found"}]},
            0,
            "audit: nothing was audited: the service that knows of holes cannot be asked (1 packages)",
        ),
        (
            {"dependencies": [{"name": "six", "version": "1", "vulns": []}]},
            0,
            "audit: no known hole in 1 packages (locked), 0 could not be asked for",
        ),
        (
            {"dependencies": [{"name": "six", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}]},
            1,
            "audit: six 1 (locked): X-1, fixed in 2",
        ),
    ],
    ids=["nothing", "unknown", "clean", "hole"],
)
def test_audit_ends_in_one_line(
    told: dict[str, object], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(told, "locked") == code
    assert capsys.readouterr().out == line + "\n"
