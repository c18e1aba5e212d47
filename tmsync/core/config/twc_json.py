"""TWCManager's config.json, read the way TWCManager reads it: comments cut out, the rest parsed as YAML.

Source: TWCManager lib/TWCManager/TWCManager.py (config loading): a line whose first non-blank is `#` or `//` is
dropped, tabs become spaces, and everything after a `#` is cut, inside quotes too.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.errors import ConfigError, Problem
from tmsync.core.files.paths import read_regular
from tmsync.core.fixes import problem
from tmsync.core.secret import without_quotations

if TYPE_CHECKING:
    import yaml

MAX_BYTES: Final = 256 * 1024
"""A config.json beyond this is not one; bounds what a hostile file can cost."""
MAX_ALIASES: Final = 100
MAX_MERGED: Final = 1000
"""Keys of one YAML mapping once others are merged into it. Both bound what a file can grow to in memory."""
MAX_INTEGER_CHARS: Final = 64
CUT: Final = "TWCManager cuts the line at its '#', although it stands inside quotes"
LATE: Final = "TWCManager does not take // after a value for a comment: it becomes part of the next key, which is lost"
COMMA: Final = "there is no comma between this value and the one before it, or a quote or bracket is missing there"
"""Such as in TWCManager's own sample of 2026-08, before "TeslaMate"."""
_EXPECTS_COMMA: Final = ("expected ',' or '}'", "expected ',' or ']'")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_LATE_SLASHES: Final = re.compile(r"[\s,{}\[\]\"]//")


class TwcConfig(NamedTuple):
    """The parsed file. `warnings` tell values that reach TWCManager otherwise than written."""

    path: Path
    data: dict[str, Any]
    warnings: tuple[Problem, ...]
    mode: int

    def get(self, dotted: str) -> Any:
        """The value at a dotted path (`vehicle.TeslaMate.db_host`); None when absent."""
        node: Any = self.data
        for part in dotted.split("."):
            if not isinstance(node, dict):
                return None
            node = node.get(part)
        return node

    @property
    def sync_tokens(self) -> bool:
        """Whether TWCManager's own TeslaMate token sync is on; it then refuses every other token.

        Source: TWCManager lib/TWCManager/Vehicle/TeslaMateVehicle.py; a module with enabled=false is unloaded.
        """
        return bool(self.get("vehicle.TeslaMate.syncTokens")) and self.get("vehicle.TeslaMate.enabled") is not False


def read_twc_config(path: Path) -> TwcConfig:
    """Read and parse `path`.

    Raises: ConfigError (unreadable-file, bad-syntax).
    """
    try:
        raw, status = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(
            problem(
                Cause.UNREADABLE_FILE,
                f"TWCManager's {path} cannot be read: {error.strerror}",
                variant="twcmanager",
                user="the user TWCManager runs as" if isinstance(error, PermissionError) else None,
            )
        ) from None
    if len(raw) > MAX_BYTES:
        raise _wrong_file(path, "is larger than 256 KiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong_file(path, "is not UTF-8 text") from None
    stripped, cuts, slashes = _strip_comments(text)
    data = _parse(path, stripped, cuts, slashes)
    warnings = [problem(Cause.CUT_BY_COMMENT, f"{path}, line {line}: {CUT}") for line in cuts]
    warnings += [problem(Cause.CUT_BY_COMMENT, f"{path}, line {line}: {LATE}", variant="slashes") for line in slashes]
    return TwcConfig(path, data, tuple(warnings), status.st_mode)


def _wrong_file(path: Path, what: str) -> ConfigError:
    return ConfigError(problem(Cause.BAD_SYNTAX, f"TWCManager's {path} {what}", variant="twcmanager"))


def _strip_comments(text: str) -> tuple[str, list[int], list[int]]:
    """The text as TWCManager's parser gets it; the lines whose `#` stands in quotes, and those with a late `//`."""
    kept: list[str] = []
    cuts: list[int] = []
    slashes: list[int] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        bare = line.lstrip()
        if bare.startswith(("#", "//")):
            kept.append("")
            continue
        before, mark, _ = line.replace("\t", " ").partition("#")
        if mark and before.replace('\\"', "").count('"') % 2:
            cuts.append(number)
        if _LATE_SLASHES.search(_QUOTED.sub('""', before)):
            slashes.append(number)
        kept.append(before)
    return "\n".join(kept), cuts, slashes


def _parse(path: Path, text: str, cuts: list[int], slashes: list[int]) -> dict[str, Any]:
    try:
        # Nearly always what is left is plain JSON, which YAML reads alike; the JSON parser starts 40 ms faster.
        data = json.loads(text, parse_float=_yaml_float)
    except (ValueError, RecursionError):
        data = _parse_yaml(path, text, cuts, slashes)
    if not isinstance(data, dict):
        raise _wrong_file(path, "holds no JSON object")
    return data


def _yaml_float(literal: str) -> float:
    if "e" in literal.lower():
        raise ValueError("YAML 1.1 reads some of these as text")
    return float(literal)


def _bounded_loader() -> "type[yaml.SafeLoader]":
    """YAML's safe loader, for a file that may want to fill the memory: see the limits above."""
    import yaml

    class Bounded(yaml.SafeLoader):
        aliases = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            self.aliases += self.check_event(yaml.AliasEvent)
            if self.aliases > MAX_ALIASES:
                raise yaml.YAMLError
            return super().compose_node(parent, index)

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            super().flatten_mapping(node)
            if len(node.value) > MAX_MERGED:
                raise yaml.YAMLError

        def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
            if len(node.value) > MAX_INTEGER_CHARS:
                raise yaml.YAMLError
            return super().construct_yaml_int(node)

    Bounded.add_constructor("tag:yaml.org,2002:int", Bounded.construct_yaml_int)
    return Bounded


def _parse_yaml(path: Path, text: str, cuts: list[int], slashes: list[int]) -> Any:
    import yaml

    try:
        return yaml.load(text, _bounded_loader())  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = without_quotations(error.problem or "syntax error")
        what = COMMA if what.startswith(_EXPECTS_COMMA) else what
    except Exception:  # noqa: BLE001 - PyYAML lets through what int(), a look-up or a failed match raise
        line, what = 1, "not readable as YAML"
    variant = "twcmanager-line"
    if cuts:
        line, what, variant = cuts[0], CUT, "twcmanager-cut"
    elif slashes:
        line, what, variant = slashes[0], LATE, "twcmanager-slashes"
    raise ConfigError(problem(Cause.BAD_SYNTAX, f"TWCManager's {path}, line {line}: {what}", variant=variant))
