"""What is configured: every setting with its value and origin, and what each command still lacks."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tmsync.core.config.kinds import Kind
from tmsync.core.config.schema import SETTINGS, Setting
from tmsync.core.config.settings import Layer, Settings
from tmsync.core.errors import Problem
from tmsync.core.secret import MASK, Secret

LAYER_WORDS: Final = {
    Layer.DEFAULT: "default",
    Layer.LIBPQ: "libpq",
    Layer.TWCMANAGER: "TWCManager's config.json",
    Layer.TOML: "configuration file",
    Layer.ENVIRONMENT: "environment",
    Layer.FLAG: "flag",
}
LAYER_NAMES: Final = {
    Layer.DEFAULT: "default",
    Layer.LIBPQ: "libpq",
    Layer.TWCMANAGER: "twcmanager",
    Layer.TOML: "toml",
    Layer.ENVIRONMENT: "environment",
    Layer.FLAG: "flag",
}
DATABASE: Final = ("database.host", "database.password", "teslamate.encryption_key")
NEEDS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "check-db": (DATABASE,),
    "sync-tokens": (DATABASE,),
    "watch-mqtt": (("mqtt.host",),),
    "status": (DATABASE, ("mqtt.host",)),
    "serve": (("serve.listen",), DATABASE, ("mqtt.host",)),
}
"""Command -> its parts, each with the settings it needs, the indispensable one first: a server that trusts this host
wants no password, and the first checks want no key. A command can run when one of its parts can."""


class Row(NamedTuple):
    """One setting. A secret's `value` is a mask, None where it is not set."""

    setting: Setting
    value: Any
    layer: Layer
    origin: str

    def as_json(self) -> dict[str, Any]:
        """The document's entry.

        Fields:
            name (text): section and key
            value (any): the value, a mask for a secret, null where it is not set
            set (boolean): whether there is a value
            secret (boolean): whether the value is never shown
            layer (Layer): the layer it came from
            origin (text): the file and key, the variable or the flag
        """
        return {
            "name": self.setting.name,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "set": self.value is not None,
            "secret": self.setting.secret,
            "layer": LAYER_NAMES[self.layer],
            "origin": self.origin,
        }


class Readiness(NamedTuple):
    """Whether a command can run, and which of the settings it is usually given are not there."""

    ready: bool
    missing: tuple[str, ...]


class Survey(NamedTuple):
    """The whole configuration."""

    config_path: Path | None
    twc_path: Path | None
    rows: tuple[Row, ...]
    commands: Mapping[str, Readiness]
    with_defaults: bool
    """Whether the rows hold the settings that nobody set, too."""
    warnings: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        """The document's fields, without command and version.

        Fields:
            ok (boolean): whether the configuration can be read
            config_file (text or null): the TOML file in use
            twcmanager_config_file (text or null): TWCManager's config.json in use
            settings (list of Setting): every setting that is no default; with --all every one
            commands (object): command -> whether it can run
            commands.* (object): one command
            commands.*.ready (boolean): whether it can run
            commands.*.missing (list of text): settings it is usually given, and lacks
            warnings (list of Error): what is suspicious, such as a file with secrets that others can read
            error (Error or null): why the configuration cannot be read
        """
        return {
            "ok": True,
            "config_file": str(self.config_path) if self.config_path else None,
            "twcmanager_config_file": str(self.twc_path) if self.twc_path else None,
            "settings": [row.as_json() for row in self.rows],
            "commands": {
                name: {"ready": found.ready, "missing": list(found.missing)} for name, found in self.commands.items()
            },
            "warnings": [warning.as_json() for warning in self.warnings],
            "error": None,
        }


def survey(settings: Settings, *, with_defaults: bool = True) -> Survey:
    """Look at everything; contacts nothing."""
    every = tuple(_row(setting, settings) for setting in SETTINGS)
    rows = tuple(row for row in every if with_defaults or row.layer is not Layer.DEFAULT)
    given = {row.setting.name for row in every if row.value is not None}
    commands = {name: _readiness(parts, given) for name, parts in NEEDS.items()}
    twc_path = settings.twc_config.path if settings.twc_config else None
    return Survey(_absolute(settings.config_path), twc_path, rows, commands, with_defaults, settings.warnings)


def _row(setting: Setting, settings: Settings) -> Row:
    value, layer, origin = settings.values[setting.name]
    return Row(setting, masked(setting, value), layer, origin)


def masked(setting: Setting, value: Any) -> Any:
    """The value with a mask for what is secret, or may be."""
    if setting.kind is Kind.ARGUMENTS and value and not _shows_nothing(value):
        return (value[0], *(MASK for _ in value[1:]))
    return MASK if isinstance(value, Secret) else value


_HARMLESS: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,30}|/[\w./-]{1,80}|--?[A-Za-z-]{1,30}")
_LOGIN_OPTIONS: Final = frozenset({"-p", "-u", "-H"})


def _shows_nothing(arguments: tuple[str, ...]) -> bool:
    """Whether no argument may be a password or a token; without certainty, none is shown."""
    words = " ".join(arguments)
    return all(map(_HARMLESS.fullmatch, arguments)) and not (
        _LOGIN_OPTIONS.intersection(arguments) or re.search("pass|secret|token|key|auth|user", words, re.IGNORECASE)
    )


def _readiness(parts: tuple[tuple[str, ...], ...], given: set[str]) -> Readiness:
    missing = tuple(name for part in parts for name in part if name not in given)
    return Readiness(any(part[0] in given for part in parts), missing)


def _absolute(path: Path | None) -> Path | None:
    return Path(os.path.abspath(path)) if path else None  # noqa: PTH100 - a symbolic link stays what it is
