"""config for people: a line per setting, and what is missing for which command."""

from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tmsync.core.config.settings import Layer
from tmsync.core.config.survey import LAYER_WORDS, Row, Survey
from tmsync.render.console import trimmed
from tmsync.render.styles import GOOD, PLAIN, STRONG
from tmsync.render.text import printable

HOW = "tmsync init asks for what is missing; or set it in the file, or as TMSYNC_<SECTION>_<KEY>."
GAP: Final = 2
ORIGIN_CELLS: Final = len(LAYER_WORDS[Layer.TOML])
"""The least that is left for where a value came from."""
NO_FILE = "none; looked for ~/.config/tmsync/config.toml and /etc/tmsync/config.toml (tmsync init writes one)"


def render(found: Survey, screen: Console) -> str:
    """The whole survey as text for `screen`."""
    with screen.capture() as capture:
        screen.print(Text.assemble(("Configuration file: ", STRONG), _path(found.config_path, NO_FILE)))
        if found.twc_path is not None:
            screen.print(Text.assemble(("TWCManager's: ", STRONG), printable(str(found.twc_path))))
        screen.print()
        screen.print(_settings(found, screen.width))
        screen.print()
        screen.print(_commands(found))
        if any(readiness.missing for readiness in found.commands.values()):
            screen.print(Text(f"\n{HOW}"))
    return trimmed(screen, capture.get())


def _path(path: object, otherwise: str) -> str:
    return printable(str(path)) if path else otherwise


def _settings(found: Survey, width: int) -> Table:
    rows = [(row.setting.name, printable(_value(row)), printable(_origin(row, found))) for row in found.rows]
    names, values, origins = (max(map(cell_len, cells)) for cells in zip(*rows, strict=True))
    gap = GAP if names + values + origins + 2 * GAP <= width else 1
    # A path is for copying: an origin is broken before it is.
    values = max(min(values, width - names - 2 * gap - min(origins, ORIGIN_CELLS)), 1)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style=STRONG)
    table.add_column("Setting", no_wrap=True)
    table.add_column("Value", overflow="fold", width=values)
    table.add_column("From", overflow="fold", width=max(min(origins, width - names - values - 2 * gap), 1))
    for row, (name, value, origin) in zip(found.rows, rows, strict=True):
        table.add_row(Text(name, style=PLAIN if row.layer is Layer.DEFAULT else STRONG), Text(value), Text(origin))
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
        state = Text("ready", style=GOOD) if readiness.ready else Text("lacks", style=STRONG)
        missing = ", ".join(readiness.missing)
        said = f"without {missing}" if readiness.ready and missing else missing
        table.add_row(Text(name, style=STRONG), state, Text(said))
    return table
