"""What is wrong with a setting, in the words of the person who has to mend it: where, what, and what is allowed."""

from typing import Final

from tmsync.core.config.schema import (
    ENV_PREFIX,
    FILE_SUFFIX,
    SECTIONS,
    SETTINGS,
    VEHICLE_STATES,
    Kind,
    Setting,
)
from tmsync.core.errors import Cause, ConfigError
from tmsync.core.secret import without_login

TYPED: Final = frozenset({Kind.PORT, Kind.TIMEOUT, Kind.SECONDS, Kind.FLAG})
"""What stands in TOML without quotes."""
IN_QUOTES: Final = ", in quotes"
HUGE: Final = 10**18
"""Integers beyond are not spelt out: Python refuses to, from 4300 digits on."""
MANY_NAMES: Final = 25
"""More allowed names than this are told by their sections."""


def unknown_section(name: str, where: str, value: object) -> ConfigError:
    """For what stands at the top of a file and is no section; perhaps a setting that has lost its own."""
    keys = (name, name.removesuffix(FILE_SUFFIX))
    homes = [f"[{setting.section}]" for setting in SETTINGS if setting.key in keys]
    if isinstance(value, dict) or not homes:
        return unknown(name, where, list(SECTIONS), "section")
    hint = f"Put it below a line that says {' or '.join(homes)}."
    return ConfigError(Cause.UNKNOWN_KEY, f"{where}: {name} stands outside its section", hint)


def unknown(name: str, where: str, names: list[str], what: str = "key") -> ConfigError:
    """For a name that is none of `names`. what: what is so called."""
    near = _nearest(name, names)
    hint = f"Did you mean {near}? " if near else ""
    if len(names) > MANY_NAMES:
        names = [f"{ENV_PREFIX}{section.upper()}_*" for section in SECTIONS]
    parent = name.rpartition(".")[0]
    named = dict.fromkeys(one if one.rpartition(".")[0] == parent else _any_state(one) for one in names)
    return ConfigError(
        Cause.UNKNOWN_KEY, f"{where}: unknown {what} {_shown(name)}", f"{hint}Allowed: {', '.join(named)}."
    )


def _nearest(name: str, names: list[str]) -> str | None:
    """Compared without what all begin with, which would make any two look alike."""
    import difflib

    begin = next((at for at, chars in enumerate(zip(name, *names, strict=False)) if len(set(chars)) > 1), 0)
    near = difflib.get_close_matches(name[begin:], [one[begin:] for one in names], n=1)
    return name[:begin] + near[0] if near else None


def _any_state(name: str) -> str:
    group, _, state = name.rpartition(".")
    return f"{group}.<state>" if state in VEHICLE_STATES else name


def wrong_type(name: str, where: str, what: str, how: str = "") -> ConfigError:
    """what: what the setting takes; how: see `how_written`."""
    return ConfigError(Cause.WRONG_TYPE, f"{where}: {name} has the wrong type", f"It takes{how}: {what}.")


def how_written(setting: Setting, value: object) -> str:
    """How TOML wants the value written, where quotes are what is wrong."""
    if setting.kind in TYPED:
        return ", without quotes" if isinstance(value, str) else ""
    return "" if setting.kind is Kind.ARGUMENTS else IN_QUOTES


def bad_value(setting: Setting, where: str, value: object, what: str) -> ConfigError:
    """what: what the setting takes; a secret's value is not shown."""
    named = where if where in (setting.flag, setting.env) else f"{where}: {setting.name}"
    if value in ("", []):
        return empty(named, what)
    huge = isinstance(value, int) and abs(value) > HUGE
    shown = "a huge number" if huge else "the value (not shown)" if setting.secret else None
    shown = shown or _shown(str(value).removesuffix(".0") if isinstance(value, float) else str(value))
    return ConfigError(Cause.BAD_VALUE, f"{named}: {shown} is not allowed", f"It takes: {what}.")


def empty(named: str, what: str) -> ConfigError:
    """what: what the setting takes."""
    return ConfigError(Cause.BAD_VALUE, f"{named} is empty", f"It takes: {what}. Without any, leave it out.")


def _shown(text: str) -> str:
    """A short, quoted, printable form."""
    text = without_login(text)
    return ascii(text if len(text) <= 80 else text[:77] + "...")
