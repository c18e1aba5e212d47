"""TWCManager's config.json, read the way TWCManager reads it: comments cut out, the rest parsed as YAML.

Source: TWCManager lib/TWCManager/TWCManager.py (config loading): a line whose first non-blank is `#` or `//` is
dropped, tabs become spaces, and everything after a `#` is cut, inside quotes too.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tmsync.core.errors import Cause, ConfigError, Problem

if TYPE_CHECKING:
    import yaml

MAX_BYTES: Final = 256 * 1024
"""A config.json beyond this is not one; bounds what a hostile file can cost."""
RIGHT_FILE: Final = "Set twcmanager.config_file to TWCManager's config.json."
MAX_ALIASES: Final = 100
MAX_MERGED: Final = 1000
"""Keys of one YAML mapping once others are merged into it. Both bound what a file can grow to in memory."""
MAX_INTEGER_CHARS: Final = 64


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
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            Cause.UNREADABLE_FILE,
            f"TWCManager's {path} cannot be read: {error.strerror}",
            f"{RIGHT_FILE} Or run tmsync as the user TWCManager runs as."
            if isinstance(error, PermissionError)
            else RIGHT_FILE,
        ) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(Cause.BAD_SYNTAX, f"TWCManager's {path} is larger than 256 KiB", RIGHT_FILE)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(Cause.BAD_SYNTAX, f"TWCManager's {path} is not UTF-8 text", RIGHT_FILE) from None
    stripped, cuts = _strip_comments(text)
    data = _parse(path, stripped, cuts)
    warnings = tuple(
        Problem(
            Cause.CUT_BY_COMMENT,
            f"{path}, line {line}: TWCManager cuts the line at its '#', although it stands inside quotes",
            "Choose a value without '#', or set it in tmsync's own configuration.",
        )
        for line in cuts
    )
    return TwcConfig(path, data, warnings, mode)


def _strip_comments(text: str) -> tuple[str, list[int]]:
    """The text as TWCManager's parser gets it, and the lines where a `#` inside quotes was cut."""
    kept: list[str] = []
    cuts: list[int] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        bare = line.lstrip()
        if bare.startswith(("#", "//")):
            kept.append("")
            continue
        before, mark, _ = line.replace("\t", " ").partition("#")
        if mark and before.replace('\\"', "").count('"') % 2:
            cuts.append(number)
        kept.append(before)
    return "\n".join(kept), cuts


def _parse(path: Path, text: str, cuts: list[int]) -> dict[str, Any]:
    try:
        # Nearly always what is left is plain JSON, which YAML reads alike; the JSON parser starts 40 ms faster.
        data = json.loads(text, parse_float=_yaml_float)
    except (ValueError, RecursionError):
        data = _parse_yaml(path, text, cuts)
    if not isinstance(data, dict):
        raise ConfigError(Cause.BAD_SYNTAX, f"TWCManager's {path} holds no JSON object", RIGHT_FILE)
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


def _parse_yaml(path: Path, text: str, cuts: list[int]) -> Any:
    import yaml

    try:
        return yaml.load(text, _bounded_loader())  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        what = error.problem or "syntax error"
    except Exception:  # noqa: BLE001 - PyYAML lets through what int(), a look-up or a failed match raise
        line, what = 1, "not readable as YAML"
    hint = "Mend the file; TWCManager cannot read it either."
    if cuts:
        line, what = cuts[0], "TWCManager cuts the line at its '#', although it stands inside quotes"
        hint = "Choose a value without '#'; TWCManager cannot read the file either."
    raise ConfigError(Cause.BAD_SYNTAX, f"TWCManager's {path}, line {line}: {what}", hint)
