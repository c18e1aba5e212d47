"""config for people: a line per setting, and what is missing for which command."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tmsync.core.config.settings import Layer
from tmsync.core.config.survey import LAYER_WORDS, Row, Survey
from tmsync.render.console import trimmed
from tmsync.render.text import printable

HOW = "tmsync init asks for what is missing; or set it in the file, or as TMSYNC_<SECTION>_<KEY>."
NO_FILE = "none; looked for ~/.config/tmsync/config.toml and /etc/tmsync/config.toml (tmsync init writes one)"


def render(found: Survey, screen: Console) -> str:
    """The whole survey as text for `screen`."""
    with screen.capture() as capture:
        screen.print(Text.assemble(("Configuration file: ", "bold"), _path(found.config_path, NO_FILE)))
        if found.twc_path is not None:
            screen.print(Text.assemble(("TWCManager's: ", "bold"), printable(str(found.twc_path))))
        screen.print()
        screen.print(_settings(found))
        screen.print()
        screen.print(_commands(found))
        if any(readiness.missing for readiness in found.commands.values()):
            screen.print(Text(f"\n{HOW}", style="dim"))
    return trimmed(screen, capture.get())


def _path(path: object, otherwise: str) -> str:
    return printable(str(path)) if path else otherwise


def _settings(found: Survey) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("Setting", no_wrap=True)
    table.add_column("Value", overflow="fold")
    table.add_column("From", overflow="fold")
    for row in found.rows:
        style = "dim" if row.layer is Layer.DEFAULT else ""
        origin = Text(printable(_origin(row, found)), style="dim")
        table.add_row(Text(row.setting.name, style=style), Text(printable(_value(row)), style=style), origin)
    return table


def _value(row: Row) -> str:
    value: Any = row.value
    if value is None:
        return "not set" if row.setting.secret else "-"
    if row.setting.secret:
        return "set, not shown"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(value)
    if value == "":
        return "(empty)"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _origin(row: Row, found: Survey) -> str:
    """The layer, and within it what the heads of the table do not tell yet."""
    if row.value is None:
        return ""
    words = LAYER_WORDS[row.layer]
    if row.layer is Layer.DEFAULT:
        return row.origin
    if row.layer is Layer.TOML:
        _, _, key = row.origin.rpartition(" (")
        return f"{words}, {key.removesuffix(')')}" if key and row.origin.endswith(")") else words
    if row.layer is Layer.TWCMANAGER and found.twc_path is not None:
        return f"{words}, {row.origin.removeprefix(f'{found.twc_path} ').strip('()')}"
    return f"{words}, {row.origin}"


def _commands(found: Survey) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, readiness in found.commands.items():
        state = Text("ready", style="green") if readiness.ready else Text("lacks", style="yellow")
        missing = ", ".join(readiness.missing)
        said = f"without {missing}" if readiness.ready and missing else missing
        table.add_row(Text(name, style="bold"), state, Text(said))
    return table
