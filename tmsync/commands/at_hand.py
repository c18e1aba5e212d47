"""What is at hand when init begins: TeslaMate's docker-compose.yml, and the configuration that is to be replaced."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmsync.commands import asking
from tmsync.core.config.load import load_settings
from tmsync.core.config.schema import BY_NAME, Setting
from tmsync.core.config.settings import Layer
from tmsync.core.errors import Step
from tmsync.core.setup.compose import ComposeFile, read_compose
from tmsync.core.setup.takeover import Taken, take_over, teslamates
from tmsync.render.text import printable


def read_taken(
    path: Path, environ: Mapping[str, str], service: str, choose: Callable[[list[str]], str] | None = None
) -> Taken:
    """What TeslaMate's docker-compose.yml says.

    service: which one is TeslaMate, empty where nobody said. choose: asks which of several is meant.
    Raises: ConfigError.
    """
    compose: ComposeFile = read_compose(path, environ)
    several = [one.name for one in teslamates(compose)]
    if choose and not service and len(several) > 1:
        service = choose(several)
    taken = take_over(compose, service)
    told = tuple(Step(f"{warning.message}. {warning.hint}", _command(warning.fix)) for warning in compose.warnings)
    return replace(taken, notes=taken.notes + told)


def _command(fix: Sequence[Step]) -> str:
    return fix[0].command if fix else ""


def which(names: list[str]) -> str:
    """Ask which of several services that are TeslaMate is meant."""
    asking.say(f"  {len(names)} services of this file are TeslaMate: {', '.join(map(printable, names))}.")
    while True:
        answer = asking.ask("Which one is meant?", names[0])
        if answer in names:
            return answer


def present_values(path: Path) -> tuple[tuple[Setting, str, str], ...]:
    """What the configuration at `path` says, as text with its origin; what it names a file for stays a file.

    Raises: ConfigError.
    """
    settings = load_settings(environ={}, config_file=str(path))
    return tuple(
        (BY_NAME[name], _as_text(value.value), value.origin)
        for name, value in settings.values.items()
        if value.layer is Layer.TOML
    )


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return shlex.join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return value.reveal() if hasattr(value, "reveal") else f"{value:g}" if isinstance(value, float) else str(value)
