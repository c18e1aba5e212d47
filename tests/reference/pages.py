"""What the reference pages repeat of the code. A page holds it between `<!-- made: NAME -->` and `<!-- end -->`."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.reference.commands import Option, commands
from tests.reference.fields import DOCUMENTS, ENUMS, EVENTS, OBJECTS, SIMPLE, Field, Serialiser, fields
from tmsync.core.causes import Cause
from tmsync.core.config.kinds import Kind
from tmsync.core.config.schema import HEALTH_GROUPS, SECTIONS, SETTINGS, TITLES, VEHICLE_STATES, Setting, allowed
from tmsync.core.errors import PLACES, ExitCode, Step
from tmsync.core.fixes import catalogue
from tmsync.core.serve.board import Counters
from tmsync.core.status.report import Broker, Database, Status
from tmsync.core.teslamate.topics import PARSERS
from tmsync.core.twcmanager.held import Held
from tmsync.core.twcmanager.presence import Presence
from tmsync.render import monitoring

ROOT: Final = Path(__file__).resolve().parents[2]
MADE: Final = re.compile(r"(?s)(<!-- made: ([a-z-]+) -->\n).*?(<!-- end -->)")
UNITS: Final = {
    "km": "odometer ideal_battery_range_km est_battery_range_km rated_battery_range_km",
    "km/h": "speed",
    "kW": "power charger_power",
    "kWh": "charge_energy_added",
    "V": "charger_voltage",
    "A": "charger_actual_current charge_current_request charge_current_request_max",
    "%": "battery_level usable_battery_level charge_limit_soc download_perc install_perc sun_roof_percent_open",
    "h": "time_to_full_charge",
    "°C": "inside_temp outside_temp",
    "m": "elevation",
    "°": "latitude longitude heading active_route_latitude active_route_longitude",
    "bar": "tpms_pressure_fl tpms_pressure_fr tpms_pressure_rl tpms_pressure_rr",
}
"""Source: TeslaMate website/docs/integrations/mqtt.md, lib/teslamate/mqtt/pubsub/vehicle_subscriber.ex."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar within a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def told_of(kind: type[Enum]) -> dict[str, str]:
    """Member -> what its docstring says."""
    (body,) = [node.body for node in ast.walk(ast.parse(inspect.getsource(kind))) if isinstance(node, ast.ClassDef)]
    found: dict[str, str] = {}
    for before, node in pairwise(body):
        if isinstance(before, ast.Assign) and isinstance(node, ast.Expr):
            assert isinstance(before.targets[0], ast.Name)
            found[before.targets[0].id] = " ".join(ast.literal_eval(node.value).split())
    return found


# -- commands


def options_table(options: list[Option]) -> str:
    return table(["option", "meaning"], ([option_names(one), f"{one.help}."] for one in options))


def option_names(option: Option) -> str:
    """Its names and what follows, as code."""
    return ", ".join(code(name) for name in option.names) + (f" {code(option.metavar)}" if option.takes_value else "")


def commands_page() -> str:
    """Every command: what it does, how it is called, examples, options."""
    parts = []
    for command in commands():
        parts.append(f"## {command.call}\n\n" + "\n\n".join(command.paragraphs) + "\n")
        parts.append("```console\n" + "".join(f"$ {example}\n" for example in command.examples) + "```\n")
        for head, options in command.panels.items():
            if head != COMMON or not command.name:
                parts.append(f"{head}:\n\n{options_table(options)}")
    return "\n".join(parts)


COMMON: Final = "Before the command or behind it"


def command_list() -> str:
    """Every command in one line."""
    return table(
        ["command", "does"],
        ([f"[`{one.call}`](commands.md#tmsync-{one.name})", f"{one.help}."] for one in commands()[1:]),
    )


# -- settings


def settings_page() -> str:
    """Every setting, section by section."""
    parts = []
    for section in SECTIONS:
        rows = [setting_row(one) for one in SETTINGS if one.section == section and is_first_state(one)]
        heads = ["setting", "meaning", "takes", "default", "flag", "also from"]
        parts.append(f"## [{section}]: {TITLES[section]}\n\n{table(heads, rows)}")
    return "\n".join(parts)


def setting_row(setting: Setting) -> list[str]:
    elsewhere = ", ".join(code(one) for one in (setting.twc, setting.libpq) if one)
    takes = ", ".join(map(code, setting.choices)) if setting.choices else allowed(setting)
    name, words = shown_name(setting), f"{setting.help}{' (secret)' * setting.secret}"
    return [code(name), words, takes, default_of(setting), code(setting.flag), elsewhere]


def is_first_state(setting: Setting) -> bool:
    """Of a table by state, the first stands for all."""
    return not setting.key.endswith(tuple(f".{state}" for state in VEHICLE_STATES[1:]))


def shown_name(setting: Setting) -> str:
    """Its name; for all states where it has one for each."""
    return re.sub(rf"({'|'.join(HEALTH_GROUPS)})\.\w+", r"\1.<state>", setting.name)


def default_of(setting: Setting) -> str:
    """Its default in words; empty without one."""
    if "<state>" in shown_name(setting):
        by_state = HEALTH_GROUPS[setting.key.partition(".")[0]]
        return ", ".join(f"{state} {seconds}" for state, seconds in by_state.items()) + ", else 0"
    if setting.otherwise or setting.default is None:
        return setting.otherwise
    return str(setting.default).lower() if setting.kind is Kind.FLAG else str(setting.default) or "empty"


# -- causes


def causes_page() -> str:
    """Every cause: what it means, and its fix in every situation in which there is another."""
    told = told_of(Cause)
    parts = []
    for cause in Cause:
        parts.append(f"### {cause}\n\n{told[cause.name]}\n")
        for key, steps in catalogue().items():
            variant = key[1] if isinstance(key, tuple) else ""
            if (key[0] if isinstance(key, tuple) else key) is cause:
                parts.append((f"Situation `{variant}`:\n\n" if variant else "") + steps_list(steps))
    return "\n".join(parts)


def steps_list(steps: Iterable[Step]) -> str:
    """The steps of a fix, its placeholders as `<name>`."""
    lines = []
    for step in steps:
        words, command = (re.sub(r"\{(\w+)\}", r"<\1>", text).replace("{{", "{") for text in (step.words, step.command))
        command = command.replace("}}", "}")
        place = f"({PLACES[step.place]}) " if step.place in PLACES else ""
        line = f"- {place}{escaped(words)}".rstrip()
        if "\n" in command:
            lines += [line, "", "  ```text", *(f"  {line}".rstrip() for line in command.splitlines()), "  ```", ""]
        else:
            lines.append(f"{line} {code(command)}".rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def escaped(text: str) -> str:
    """Words in which nothing is markup."""
    return re.sub(r"([<*])", r"\\\1", text)


# -- JSON


def documents_page() -> str:
    """Every document, event and object, field by field."""
    parts = []
    for name, makers in DOCUMENTS.items():
        head = f"`tmsync {name} --json`" if name else "Any command that could not even begin"
        parts.append(f"## {head}\n\n{fields_table(makers)}")
    for name, makers in EVENTS.items():
        parts.append(f"## The event `{name}`\n\n{fields_table(makers, Field('event', 'text', f'`{name}`'))}")
    for name, (what, makers) in OBJECTS.items():
        parts.append(f"## {name}\n\n{what}.\n\n{fields_table(makers)}")
    return "\n".join(parts)


def fields_table(makers: tuple[Serialiser, ...], *before: Field) -> str:
    rows = ([code(one.name), type_of(one), one.unit, one.meaning] for one in (*before, *fields(*makers)))
    return table(["field", "type", "unit", "meaning"], rows)


def type_of(field: Field) -> str:
    """Its type in words, with links, and the values of an enumeration."""
    kind, _, null = field.type.partition(" or ")
    many = kind.startswith("list of ")
    kind = kind.removeprefix("list of ")
    if kind in OBJECTS:
        words = f"[{kind}](#{kind.lower()})"
    elif kind == "Cause":
        words = "[cause](causes.md)"
    elif kind in ENUMS:
        words = ", ".join(code(one.value) for one in ENUMS[kind])
    else:
        assert kind in SIMPLE, kind
        words = kind
    return f"{'list of ' if many else ''}{words}{f' or {null}' if null else ''}{', not always there' * field.optional}"


# -- the rest


def metrics_page() -> str:
    """Every metric of status, and those that serve has besides."""
    nothing = Held(Presence.UNKNOWN, "", None, "")
    empty = Status(datetime(2026, 1, 1, tzinfo=UTC), None, Database(), nothing, Broker())
    labels = {"vehicle": "`car_id`, `name`", "problems": "`severity`, `cause`"}
    rows = [
        [code(f"tmsync_{one.name}"), "gauge", labels.get(one.name.partition("_")[0], ""), one.help]
        for one in monitoring._metrics(empty)
    ]
    counted = {"api_requests": "`path`, `source`, `code`", "source_changes": "`car_id`, `to`"}
    counted |= {"token_deliveries": "`result`", "untrusted_seconds": "`car_id`"}
    rows += [
        [
            code(f"tmsync_{one.name}_total"),
            "counter",
            counted.get(one.name, ""),
            f"{one.help} At /metrics of serve only.",
        ]
        for one in monitoring._counters(Counters(), None)
    ]
    told = f"{monitoring.BUILD.help} At /metrics of serve only."
    rows.append([code(f"tmsync_{monitoring.BUILD.name}_info"), "info", "`version`", told])
    return table(["metric", "type", "labels", "meaning"], rows)


def exit_codes_page() -> str:
    """Every exit code, and Nagios's."""
    told = told_of(ExitCode)
    ours = table(["code", "meaning"], ([str(one.value), told[one.name]] for one in ExitCode))
    codes = {monitoring.NAGIOS_CODES[worst]: word for worst, word in monitoring.NAGIOS_WORDS.items()}
    codes[monitoring.NAGIOS_UNKNOWN] = "UNKNOWN"
    return f"{ours}\nWith `tmsync status --format nagios`:\n\n" + table(
        ["code", "meaning"], ([str(number), word] for number, word in codes.items())
    )


def topics_page() -> str:
    """Every topic of TeslaMate's that is read."""
    unit = {key: unit for unit, keys in UNITS.items() for key in keys.split()}
    assert set(unit) <= set(PARSERS)
    rows = ([code(key), parser.__name__.strip("_"), unit.get(key, "")] for key, parser in PARSERS.items())
    return table(["topic", "type", "unit"], rows)


def threshold_rows() -> Iterator[list[str]]:
    late, stale = HEALTH_GROUPS.values()
    for state in VEHICLE_STATES:
        yield [state, f"{late.get(state, 0)} s", f"{stale.get(state, 0)} s"]


def thresholds() -> str:
    """When a car is late and when stale, by its state."""
    return table(["state", "late after", "stale after"], threshold_rows())


MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "causes": causes_page,
    "command-list": command_list,
    "commands": commands_page,
    "documents": documents_page,
    "exit-codes": exit_codes_page,
    "metrics": metrics_page,
    "settings": settings_page,
    "thresholds": thresholds,
    "topics": topics_page,
}
"""Name in a page -> what makes that part of it."""


def pages() -> list[Path]:
    """Every document people read."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """A page with all that is made for it as the code has it now."""
    return MADE.sub(lambda found: found[1] + "\n" + MAKERS[found[2]]() + "\n" + found[3], text)
