"""What every field of tmsync's JSON means: read from the docstrings of what makes them, and held against real output.

Below `Fields:` in the docstring of a serialiser each line is `name (type[, unit][, optional]): meaning`. `a.b` is a
field of an object within, `a[].b` of each one in a list, `a.*` stands for any name. A type is one of SIMPLE, an
enumeration or an object of the tables below, any of them `or null`, or a `list of` them.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.check_db import hba_file, report
from tmsync.core.config import survey
from tmsync.core.errors import Problem
from tmsync.core.hba.lint import LintKind
from tmsync.core.serve.board import ProblemChange, ServiceChange
from tmsync.core.serve.ports import Request
from tmsync.core.serve.tokens import TokenChange
from tmsync.core.status.report import Facade, Part, RatedProblem, Severity, Status, Summary
from tmsync.core.sync import Report
from tmsync.core.telemetry.health import Source, Verdict
from tmsync.core.telemetry.monitor import BrokerChange
from tmsync.core.telemetry.views import SourceChange, VehicleView
from tmsync.core.teslamate.assessment import Tokens
from tmsync.core.teslamate.claims import Api
from tmsync.core.twcmanager.delivery import Result
from tmsync.core.twcmanager.presence import Presence
from tmsync.render.document import document

LINE: Final = re.compile(r"\s+([\w.*\[\]]+) \(([^)]*)\): (.*)")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
Serialiser = Callable[..., object]
"""What makes an object; several together make one, too."""


class Failure:
    """A command that could not even begin."""

    def as_json(self) -> None:
        """Made in place of a command's own document.

        Fields:
            ok (boolean): false
            error (Error): why
        """


OBJECTS: Final[Mapping[str, tuple[str, tuple[Serialiser, ...]]]] = {
    "Error": ("An error or a warning", (Problem.as_json,)),
    "Check": ("A check of check-db", (report.Check.as_json, hba_file._document)),
    "Token": ("TeslaMate's access token", (Tokens.as_json,)),
    "Setting": ("A setting", (survey.Row.as_json,)),
    "Vehicle": ("A vehicle in status", (VehicleView.as_json, Status.vehicle_json)),
    "RatedProblem": ("A problem in status", (Problem.as_json, RatedProblem.as_json)),
    "Facade": ("The facade in status", (Facade.as_json,)),
    "Summary": ("The summary in status", (Summary.as_json,)),
}
"""Name -> what it is, and what makes it."""
DOCUMENTS: Final[Mapping[str, tuple[Serialiser, ...]]] = {
    "check-db": (document, report.Diagnosis.as_json),
    "sync-tokens": (document, Report.as_json),
    "status": (document, Status.as_json),
    "config": (document, survey.Survey.as_json),
    "": (document, Failure.as_json),
}
"""Command -> what makes its document."""
EVENTS: Final[Mapping[str, tuple[Serialiser, ...]]] = {
    "vehicle": (VehicleView.as_json,),
    "source": (SourceChange.as_json,),
    "broker": (BrokerChange.as_json,),
    "serve": (ServiceChange.as_json,),
    "token": (TokenChange.as_json,),
    "problem": (ProblemChange.as_json,),
    "request": (Request.as_json,),
}
"""Event of watch-mqtt or serve -> what makes it."""
ENUMS: Final[Mapping[str, type[StrEnum]]] = {
    "Api": Api,
    "Cause": Cause,
    "CheckId": report.CheckId,
    "CheckStatus": report.Status,
    "LintKind": LintKind,
    "Part": Part,
    "Presence": Presence,
    "Severity": Severity,
    "Source": Source,
    "SyncResult": Result,
    "Verdict": Verdict,
    "Layer": StrEnum("Layer", {name: name for name in survey.LAYER_NAMES.values()}),  # type: ignore[dict-item]
}
SIMPLE: Final[Mapping[str, Callable[[object], bool]]] = {
    "text": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "time": lambda value: isinstance(value, str) and bool(TIME.fullmatch(value) and datetime.fromisoformat(value)),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
    "any": lambda _: True,
}


class Field(NamedTuple):
    """One field of a document."""

    name: str
    type: str
    meaning: str
    unit: str = ""
    optional: bool = False


def fields(*makers: Serialiser) -> list[Field]:
    """Every field of what they make together, in order."""
    found: dict[str, Field] = {}
    for maker in makers:
        _, _, told = (inspect.getdoc(maker) or "").partition("\nFields:\n")
        assert told, f"{maker.__qualname__} documents no fields"
        for line in told.splitlines():
            read = LINE.fullmatch(line)
            assert read, f"{maker.__qualname__}: {line}"
            kind, *more = read[2].split(", ")
            unit = next((word for word in more if word != "optional"), "")
            found[read[1]] = Field(read[1], kind, read[3], unit, "optional" in more)
    return list(found.values())


def mistakes(value: object, makers: tuple[Serialiser, ...], where: str = "") -> list[str]:
    """What in an object, as it was printed, is not as documented; nothing where all is."""
    return [mistake for mistake, _ in _walk(value, fields(*makers), "", where) if mistake]


def seen(value: object, makers: tuple[Serialiser, ...], where: str = "") -> set[str]:
    """The documented fields that an object holds, as `Object.name` where it is one of OBJECTS."""
    return {name for _, name in _walk(value, fields(*makers), "", where) if name}


def _walk(value: object, known: list[Field], before: str, where: str) -> Iterator[tuple[str, str]]:
    """(mistake, field) of everything within an object; one of the two is empty."""
    assert isinstance(value, dict), f"{where}: no object"
    here = {
        one.name.removeprefix(before): one for one in known
        if one.name.startswith(before) and not re.search(r"[.\[]", one.name.removeprefix(before))
    }  # fmt: skip
    for name in here.keys() - value.keys() - {"*"}:
        if not here[name].optional:
            yield f"{where}: {before}{name} is missing", ""
    for name, inner in value.items():
        field = here.get(name) or here.get("*")
        if field is None:
            yield f"{where}: {before}{name} is not documented", ""
            continue
        yield "", f"{where}{field.name}"
        yield from _type(inner, field.type, known, field.name, where)


def _type(value: object, kind: str, known: list[Field], path: str, where: str) -> Iterator[tuple[str, str]]:
    choices = kind.split(" or ")
    if "null" in choices and value is None:
        return
    kind = choices[0]
    if kind.startswith("list of "):
        if not isinstance(value, list):
            yield f"{where}: {path} is no list", ""
            return
        for item in value:
            yield from _type(item, kind.removeprefix("list of "), known, f"{path}[]", where)
    elif kind in OBJECTS:
        yield from _walk(value, fields(*OBJECTS[kind][1]), "", f"{kind}.")
    elif kind in ENUMS:
        if value not in list(ENUMS[kind]):
            yield f"{where}: {path} is {value!r}, no {kind}", ""
    elif not SIMPLE[kind](value):
        yield f"{where}: {path} is {value!r}, no {kind}", ""
    elif kind == "object" and any(one.name.startswith(f"{path}.") for one in known):
        yield from _walk(value, known, f"{path}.", where)


def every_field() -> set[str]:
    """All documented fields, as `seen` names them."""
    places = [(f"{name or 'failure'}: ", makers) for name, makers in DOCUMENTS.items()]
    places += [(f"{name} event: ", makers) for name, makers in EVENTS.items()]
    places += [(f"{name}.", makers) for name, (_, makers) in OBJECTS.items()]
    return {f"{where}{field.name}" for where, makers in places for field in fields(*makers)}


def printed(text: str) -> tuple[dict[str, Any], str, tuple[Serialiser, ...]]:
    """A document or an event as a command printed it, what it is, and what makes it."""
    found = json.loads(text)
    if "event" in found:
        name = found.pop("event")
        return found, f"{name} event: ", EVENTS[name]
    name = found["command"] if found["command"] in DOCUMENTS and set(found) != FAILURE else ""
    return found, f"{name or 'failure'}: ", DOCUMENTS[name]


FAILURE: Final = {field.name for field in fields(*DOCUMENTS[""])}
