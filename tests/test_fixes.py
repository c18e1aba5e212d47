"""The catalogue of fixes: complete, written once, and of one shape."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tmsync
from tmsync.core.causes import Cause
from tmsync.core.errors import PLACES, Place, Step
from tmsync.core.fixes import catalogue, fix, placeholders
from tmsync.core.fixes.network import BROKER, DATABASE, where

PACKAGE = Path(tmsync.__file__).parent
NOTES = {"takeover.py", "at_hand.py", "schedule.py", "running.py", "units.py", "serving.py"}
"""init's notes on what it took over, and on what is left to do, are no fixes; what a running serve told was one."""


def cause_of(key: Cause | tuple[Cause, str]) -> Cause:
    return key[0] if isinstance(key, tuple) else key


def test_every_cause_has_a_fix_and_is_told_somewhere() -> None:
    told = "".join(
        path.read_text() for path in PACKAGE.rglob("*.py") if path.parent.name != "fixes" and path.name != "causes.py"
    )
    assert {cause_of(key) for key in catalogue()} == set(Cause)
    assert [cause for cause in Cause if f"Cause.{cause.name}" not in told] == []


def test_no_step_is_made_outside_the_catalogue() -> None:
    others = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "fixes" and path.name not in NOTES and re.search(r"\bStep\(", path.read_text())
    ]
    assert others == ["errors.py"]


@pytest.mark.parametrize("key", catalogue(), ids=str)
def test_fix_is_whole_and_its_commands_stand_by_themselves(key: Cause | tuple[Cause, str]) -> None:
    cause, variant = key if isinstance(key, tuple) else (key, "")
    values = {name: name for step in catalogue()[key] for name in placeholders(step)}
    steps = fix(cause, variant, **values)
    assert steps
    assert steps[0].words, "the first step's words are the hint"
    for step in steps:
        assert not re.search(r"docker compose|sudo |systemctl ", step.words), "a command stands apart from the words"
        if "docker compose" in step.command and not step.command.startswith("docker compose config"):
            assert step.place is Place.DOCKER
    places = [step.place for step in steps if step.place in PLACES]
    assert places == sorted(places, key=list(PLACES).index), "the steps of one place stand together"


def test_step_without_a_value_is_left_out() -> None:
    steps = fix(Cause.TLS_NAME_MISMATCH, **where(BROKER, "broker", 8883))
    assert len(steps) < len(fix(Cause.TLS_NAME_MISMATCH, **where(DATABASE, "database", 5432)))


def test_place_is_told_in_the_lines_of_json() -> None:
    step = Step("See the log:", "docker compose logs a\ndocker compose logs b", Place.DOCKER)
    assert step.as_lines() == [
        "TeslaMate in Docker: See the log:", "docker compose logs a", "docker compose logs b",
    ]  # fmt: skip


def calls() -> Iterator[tuple[str, Cause, str | None, set[str], bool]]:
    """Every problem that the package makes: where, cause, variant (None: found out at run time), values, and more."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Attribute)):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            cause = node.args[0]
            if name not in ("problem", "fix") or not (isinstance(cause.value, ast.Name) and cause.value.id == "Cause"):
                continue
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            variant = named.pop("variant", ast.Constant(""))
            named.pop("details", None)
            told = variant.value if isinstance(variant, ast.Constant) else None
            where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            yield where, Cause[cause.attr], told, {key for key in named if key}, None in named


@pytest.mark.parametrize("call", list(calls()), ids=lambda call: call[0])
def test_problem_is_made_with_just_the_values_that_its_fix_needs(
    call: tuple[str, Cause, str | None, set[str], bool],
) -> None:
    _, cause, variant, given, more = call
    keys = [key for key in catalogue() if cause_of(key) is cause]
    if variant is not None:
        keys = [(cause, variant) if variant else cause]
    needed = {key: set().union(*map(placeholders, catalogue()[key])) for key in keys}
    assert given <= set().union(*needed.values()), "a value that no step shows"
    if not more:
        assert (all if variant is not None else any)(names <= given for names in needed.values())
