"""What every command takes: flags of whole sections of settings, the forms of its output, -v, -q and --config.

`@takes("database", formats=(Format.TABLE, Format.JSON))` adds them to a command, which gets a `Call` in their place. A
flag, its help, its check and its completion come from the setting's row in `core/config/schema.py`.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any

import typer

from tmsync import signals
from tmsync.commands.invocation import COMMON, Invocation, Option
from tmsync.commands.values import NotAllowed, converted
from tmsync.core.config.kinds import Kind
from tmsync.core.config.schema import SETTINGS, TITLES, BadValue, Setting, from_text
from tmsync.core.config.settings import Settings


class Format(StrEnum):
    """The forms of output; each command knows some of them."""

    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    LOG = "log"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"


@dataclass(frozen=True, slots=True)
class Call:
    """How a command was called. form: what was asked for, else the command's usual one.

    flags: setting -> value, of the flags that were given.
    """

    config_file: str | None = None
    verbose: bool = False
    quiet: bool = False
    form: Format | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> Settings:
        """All layers merged.

        Raises: ConfigError.
        """
        from tmsync.core.config.load import load_settings

        return load_settings(environ=os.environ, flags=self.flags, config_file=self.config_file)


def takes(
    *sections: str,
    formats: Sequence[Format] = (),
    usual: Format | None = None,
    ends_with: int | None = None,
    reloads: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the flags of `sections`, the forms of output and the options of every command to a command.

    A section may be one flag's setting, as `twcmanager.config_file`. usual: the form where none is asked for.
    ends_with: the exit code after Ctrl-C or SIGTERM, for a command that has something to put in order first.
    reloads: SIGHUP is no end of it.
    """
    chosen = [one for one in SETTINGS if one.flag and (one.section in sections or one.name in sections)]

    def add(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        added = {_identifier(setting): _flag(setting) for setting in chosen}
        added |= _forms(formats, usual) if formats else {}
        added |= COMMON

        @wraps(command)
        def called(ctx: typer.Context, **values: Any) -> None:
            given = {name: values.pop(name) for name in added}
            flags = {one.name: value for one in chosen if (value := given[_identifier(one)]) is not None}
            run: Invocation = ctx.obj
            run.add(*(given[name] for name in COMMON))
            form = Format.JSON if given.get("as_json") else given.get("form") or usual
            if ends_with is None:
                signals.die_at_once()
            else:
                signals.end_in_order(ends_with, reloads=reloads)
            command(Call(run.config_file, run.verbose, run.quiet, form, flags), **values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter("ctx", keyword, annotation=typer.Context)]
        parameters += [one.replace(kind=keyword) for one in own]
        parameters += [
            inspect.Parameter(name, keyword, default=default, annotation=annotation)
            for name, (annotation, default) in added.items()
        ]
        # Typer reads the signature, and the annotations of what is behind a decorator.
        del called.__wrapped__
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in parameters}
        return called

    return add


def _identifier(setting: Setting) -> str:
    return setting.name.replace(".", "_")


def _flag(setting: Setting) -> Option:
    panel = TITLES[setting.section]
    if setting.kind is Kind.FLAG:
        both = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return Annotated[bool | None, typer.Option(both, help=setting.described, rich_help_panel=panel)], None

    def checked(text: str) -> str:
        try:
            from_text(setting, text)
        except BadValue as error:
            raise NotAllowed(text, str(error)) from None
        return text

    option = typer.Option(
        setting.flag,
        metavar=setting.metavar,
        help=setting.described,
        rich_help_panel=panel,
        callback=converted(checked),
        autocompletion=(lambda: list(setting.choices)) if setting.choices else None,
    )
    return Annotated[str | None, option], None


def _forms(formats: Sequence[Format], usual: Format | None) -> dict[str, Option]:
    names = [form.value for form in formats]

    def parsed(text: str) -> Format:
        if text not in names:
            raise NotAllowed(text, f"one of {', '.join(names)}")
        return Format(text)

    option = typer.Option(
        "--format",
        metavar="|".join(names),
        help=f"How to print the result (default {usual or 'table; log where there is no terminal'}).",
        callback=converted(parsed),
        autocompletion=lambda: names,
    )
    return {
        "form": (Annotated[str | None, option], None),
        "as_json": (Annotated[bool, typer.Option("--json", help="Same as --format json.")], False),
    }
