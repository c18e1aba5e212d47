"""The house: imports point one way, there is no circle between its rooms, and all that is imported is there."""

import ast
import importlib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import tmsync

PACKAGE = Path(tmsync.__file__).parent
FLOORS = (
    ("causes", "errors", "clock", "secret", "words", "process"),
    ("fixes",),
    ("files", "net"),
    ("hba",),
    ("config",),
    ("postgres",),
    ("teslamate",),
    ("twcmanager", "telemetry"),
    ("check_db",),
    ("sync", "outage", "status", "setup", "serve", "publish"),
    ("render", "signals"),
    ("commands", "cli", "demo", "__main__"),
)
"""From the ground up. A room imports from its own floor and from those below."""
RANK = {room: rank for rank, floor in enumerate(FLOORS) for room in floor}


def room_of(module: str) -> str:
    """`tmsync.core.config.load` is in config; the package itself, with its version, is below everything."""
    parts = module.split(".")[1:]
    return parts[1] if parts[:1] == ["core"] and len(parts) > 1 else parts[0] if parts else ""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names if node.module in ("tmsync", "tmsync.core"))


def edges() -> dict[str, set[str]]:
    """Room -> the rooms it imports from."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(["tmsync", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        if not (room := room_of(module)):
            continue
        rooms = {room_of(name) for name in imports(path) if name.partition(".")[0] == "tmsync"}
        found.setdefault(room, set()).update(rooms & set(RANK) - {room})
    return found


def test_every_room_is_on_a_floor() -> None:
    assert set(edges()) - set(RANK) - {"core"} == set()


def test_no_import_points_upward() -> None:
    upward = {f"{room} -> {other}" for room, others in edges().items() for other in others if RANK[other] > RANK[room]}
    assert upward == set()


def test_there_is_no_circle_between_rooms() -> None:
    TopologicalSorter(edges()).prepare()


def test_core_prints_nothing_and_knows_neither_typer_nor_rich() -> None:
    for path in (PACKAGE / "core").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        assert {name.partition(".")[0] for name in imports(path)}.isdisjoint({"typer", "rich"}), path
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "print"], path


def test_every_name_that_is_imported_from_the_package_is_there() -> None:
    """Also where a function imports it that no test runs, as in what is started by hand."""
    files = [path for folder in ("tmsync", "tests", "packaging") for path in (PACKAGE.parent / folder).rglob("*.py")]
    nodes = [(path, node) for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    named = {
        (path.name, node.module, name.name)
        for path, node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tmsync"
        for name in node.names
    }
    assert len(named) > 1000
    missing = [one for one in sorted(named) if not _is_there(*one[1:])]
    assert missing == []


def _is_there(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True
