"""config for people: a line per setting, and what is missing for which command."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from tmsync.core.config.schema import BY_NAME, Setting
from tmsync.core.config.settings import Layer, Settings, Value
from tmsync.core.config.survey import LAYER_WORDS, Row, Survey, masked
from tmsync.render.console import trimmed
from tmsync.render.styles import GOOD, PLAIN, STRONG
from tmsync.render.text import printable, wrapped

HOW: Final = "tmsync init asks for what is missing; or set it in the file, or as TMSYNC_<SECTION>_<KEY>."
ALL: Final = "Defaults are not shown: tmsync config --all."
NO_FILE: Final = "none; looked for ~/.config/tmsync/config.toml and /etc/tmsync/config.toml (tmsync init writes one)"
GAP: Final = "  "
INDENT: Final = "    "


def render(found: Survey, screen: Console) -> str:
    """The whole survey as text for `screen`."""
    with screen.capture() as capture:
        for line in _lines(found, screen.width):
            # What is too long is left to the terminal to break: copied, it is whole.
            screen.print(line, no_wrap=True, overflow="ignore", crop=False)
    return trimmed(screen, capture.get())


def by_source(names: Sequence[str], settings: Settings) -> dict[str, dict[int, str]]:
    """The settings by the file, or whatever else, that they come from: source -> number -> setting."""
    sources: dict[str, list[str]] = {}
    for name in names:
        sources.setdefault(_source(settings.values[name])[0], []).append(name)
    numbers = iter(range(1, len(names) + 1))
    return {source: {next(numbers): name for name in found} for source, found in sources.items()}


def taken_over(names: Mapping[int, str], settings: Settings, screen: Console, *, changed: bool = False) -> str:
    """Settings of one source with their numbers and values, and where in it they stand, as text for `screen`.

    changed: by an answer.
    """
    rows = []
    for number, name in names.items():
        value = settings.values[name]
        place = "your answer" if changed else _source(value)[1]
        shown = _shown(BY_NAME[name], masked(BY_NAME[name], value.value))
        rows.append((Text(f"{number:>3}  {name}", style=STRONG), Text(printable(shown)), Text(printable(place))))
    with screen.capture() as capture:
        for line in _columns(rows, screen.width):
            screen.print(line, no_wrap=True, overflow="ignore", crop=False)
    return trimmed(screen, capture.get())


def _source(value: Value) -> tuple[str, str]:
    """A value's origin: the file or the environment, and the key or variable in it."""
    if value.layer is Layer.ENVIRONMENT or (value.layer is Layer.LIBPQ and "/" not in value.origin):
        return "the environment", value.origin
    source, _, place = value.origin.partition(" (")
    return source, place.removesuffix(")")


def _lines(found: Survey, width: int) -> Iterator[Text]:
    yield from _headed("Configuration file:", str(found.config_path or NO_FILE), width)
    if found.twc_path is not None:
        yield from _headed("TWCManager's:", str(found.twc_path), width)
    yield Text()
    yield from _settings(found, width)
    if not found.with_defaults:
        yield from _plain(ALL, width)
    yield Text()
    names = max(map(len, found.commands))
    for name, readiness in found.commands.items():
        state = Text("ready", style=GOOD) if readiness.ready else Text("lacks", style=STRONG)
        missing = ", ".join(readiness.missing)
        said = f"without {missing}" if readiness.ready and missing else missing
        yield from _in_columns((Text(name, style=STRONG), state, Text(said)), (names, len("ready")), width)
    if any(readiness.missing for readiness in found.commands.values()):
        yield Text()
        yield from _plain(HOW, width)


def _settings(found: Survey, width: int) -> Iterator[Text]:
    rows = [
        (
            Text(row.setting.name, style=PLAIN if row.layer is Layer.DEFAULT else STRONG),
            Text(printable(_value(row))),
            Text(printable(_origin(row, found))),
        )
        for row in found.rows
    ]
    yield from _columns(rows, width)


def _columns(rows: Sequence[tuple[Text, Text, Text]], width: int) -> Iterator[Text]:
    names = max((name.cell_len for name, _, _ in rows), default=0)
    # A value that leaves no room for its own origin pushes nobody else's aside.
    fitting = [
        value.cell_len for _, value, origin in rows if names + value.cell_len + origin.cell_len + 2 * len(GAP) <= width
    ]
    values = max(fitting, default=0)
    for row in rows:
        yield from _in_columns(row, (names, values), width)


def _in_columns(cells: tuple[Text, Text, Text], sizes: tuple[int, int], width: int) -> Iterator[Text]:
    """Two columns of these sizes and the rest; what does not fit beside them stands below, whole."""
    first, second, rest = cells
    line = Text.assemble(first, " " * (sizes[0] - first.cell_len), GAP, second)
    if line.cell_len > width:
        yield first
        yield from _plain(second.plain, width, INDENT)
    elif line.cell_len + len(GAP) + rest.cell_len <= width:
        column = min(sum(sizes) + 2 * len(GAP), width - rest.cell_len)
        yield Text.assemble(line, " " * (column - line.cell_len) * bool(rest), rest)
        return
    else:
        yield line
    if rest:
        yield from _plain(rest.plain, width, INDENT)


def _headed(head: str, text: str, width: int) -> Iterator[Text]:
    text = printable(text)
    if cell_len(head) + 1 + cell_len(text) <= width:
        yield Text.assemble((head, STRONG), " ", text)
        return
    yield Text(head, style=STRONG)
    yield from _plain(text, width, INDENT)


def _plain(text: str, width: int, indent: str = "") -> Iterator[Text]:
    yield from map(Text, wrapped(text, width, indent).split("\n"))


def _value(row: Row) -> str:
    return _shown(row.setting, row.value)


def _shown(setting: Setting, value: Any) -> str:
    if value is None:
        return "not set" if setting.secret else "-"
    if setting.secret:
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
