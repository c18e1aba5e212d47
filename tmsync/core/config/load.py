"""Reads the layers, lowest to highest: defaults, libpq's own, TWCManager's config.json, TOML, environment, flags."""

import logging
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tmsync.core.causes import Cause
from tmsync.core.config.kinds import Kind
from tmsync.core.config.libpq import OTHER_TARGETS, password_from_file
from tmsync.core.config.mistakes import IN_QUOTES, bad_value, empty, how_written, unknown, unknown_section, wrong_type
from tmsync.core.config.schema import (
    BY_NAME,
    ENV_PREFIX,
    FILE_SUFFIX,
    HEALTH_GROUPS,
    SECTIONS,
    SETTINGS,
    SYSTEM_TWC_CONFIG,
    TWC_SECTION,
    BadValue,
    Setting,
    allowed,
    as_utf8,
    from_text,
    from_toml,
)
from tmsync.core.config.settings import Layer, Settings, Value, check_together, derived_defaults
from tmsync.core.config.twc_json import TwcConfig, read_twc_config
from tmsync.core.errors import ConfigError, Problem
from tmsync.core.files.paths import expanded, is_file, is_folder, is_hidden, is_there, read_regular
from tmsync.core.fixes import problem
from tmsync.core.process import user_name
from tmsync.core.secret import Secret

log = logging.getLogger(__name__)

MAX_SECRET_FILE_BYTES: Final = 64 * 1024
TESLAMATE_ROOT: Final = "teslamate"
"""As TWCManager's mqtt_prefix it is the root of TeslaMate's topics in 1.3.2, and a namespace in later versions."""
MAX_TOML_BYTES: Final = 32 * 1024
"""Ten times what all settings need; what a dotted key costs grows with the square of its length, and faster."""
PLACEHOLDER: Final = "chanegme"
"""TWCManager's sample, which spells it so."""
SAMPLE_HOST: Final = "192.168.1.1"
SAMPLE: Final = frozenset({SAMPLE_HOST, "teslamate", PLACEHOLDER, ""})
"""All that its sample of a TeslaMate section holds.

Source: TWCManager etc/twcmanager/config.json.
"""
# No settings: TMSYNC_CONFIG and other names without a section, and what Kubernetes sets for a service named tmsync.
_LEFT_ALONE: Final = re.compile(r"TMSYNC_(?:[^_]*|SERVICE_.*|PORT_.*)")


class _Loader:
    def __init__(self, environ: Mapping[str, str], flags: Mapping[str, object]) -> None:
        self.environ = environ
        self.flags = {name: value for name, value in flags.items() if value is not None}
        self.warnings: list[Problem] = []
        self.values = {setting.name: Value(setting.default, Layer.DEFAULT, "default") for setting in SETTINGS}

    def put(self, setting: Setting, value: Any, layer: Layer, origin: str) -> None:
        self.values[setting.name] = Value(value, layer, origin)

    def load(self, config_file: str | None, found: Sequence[tuple[Setting, str, str]] | None) -> Settings:
        toml_path = self._toml_path(config_file) if found is None else None
        toml_values = list(self._toml(toml_path)) if toml_path else []
        toml_values += [(setting, self._text(setting, text, origin), origin) for setting, text, origin in found or ()]
        env_values = list(self._environment())
        flag_values = [
            (BY_NAME[name], self._flag(BY_NAME[name], value), BY_NAME[name].flag) for name, value in self.flags.items()
        ]
        later = ((Layer.TOML, toml_values), (Layer.ENVIRONMENT, env_values), (Layer.FLAG, flag_values))
        given = {setting.name: (value, origin) for _, layer in later for setting, value, origin in layer}
        self._libpq(given)
        twc = self._twc(*given.get("twcmanager.config_file", (None, "")), given)
        for layer, values in later:
            for setting, value, origin in values:
                self.put(setting, value, layer, origin)
        self.values.update(derived_defaults(self.values, twc, self.environ))
        ignored = self._password_file()
        for name, value in self.values.items():
            if value.layer is not Layer.DEFAULT:
                log.info(f"{name} from {value.origin}")
        settings = Settings(self.values, tuple(self.warnings), toml_path, twc, ignored)
        check_together(settings)
        return settings

    # -- libpq

    def _libpq(self, given: Collection[str]) -> None:
        for setting in SETTINGS:
            if text := self.environ.get(setting.libpq, ""):
                self._foreign(setting, text, setting.libpq, Layer.LIBPQ, given)
        for variable in OTHER_TARGETS:
            if self.environ.get(variable):
                log.info(f"{variable} is set, and ignored: [database] says which database is meant")

    def _password_file(self) -> Path | None:
        """Libpq's password file, where no other layer has a password; the file, where libpq ignores it."""
        if self.values["database.password"].value is not None or self.values["database.host"].value is None:
            return None
        host, port, name, user = (self.values[f"database.{key}"].value for key in ("host", "port", "name", "user"))
        found = password_from_file(host, port, name, user, self.environ)
        if found.password:
            self.put(BY_NAME["database.password"], Secret(found.password), Layer.LIBPQ, found.origin)
        if found.ignored:
            message = f"libpq ignores {found.ignored}, as other users can read it"
            self.warnings.append(problem(Cause.LOOSE_PERMISSIONS, message, variant="ignored", path=found.ignored))
        return found.ignored

    def _foreign(self, setting: Setting, text: str, origin: str, layer: Layer, given: Collection[str]) -> None:
        """A value that is another program's. given: what higher layers set, so that a bad value does no harm."""
        try:
            self.put(setting, self._text(setting, text, origin), layer, origin)
        except ConfigError as error:
            if setting.name not in given:
                raise
            found = error.problem
            self.warnings.append(problem(found.cause, found.message, variant="overridden"))

    # -- TWCManager's config.json

    def _twc(self, named: str | None, by: str, given: Collection[str]) -> TwcConfig | None:
        path = Path(named or SYSTEM_TWC_CONFIG)
        if not named and not (is_there(path) or is_hidden(path)):
            return None
        try:
            twc = read_twc_config(path)
        except ConfigError as error:
            if named:
                found = error.problem
                message = f"{found.message} (named by {_named_by(by)})"
                raise ConfigError(Problem(found.cause, message, found.fix, found.details)) from None
            # Nobody asked for this file: it is told, but tmsync's own configuration may well suffice.
            self.warnings.append(error.problem)
            return None
        self.warnings.extend(twc.warnings)
        self.put(BY_NAME["twcmanager.config_file"], str(path), Layer.DEFAULT, "found there")
        holds_secret = False
        for setting, text in _answers(twc):
            value, origin = text, f"{path} ({setting.twc})"
            if (setting.name, text) == ("mqtt.namespace", TESLAMATE_ROOT):
                value, origin = "", f'{path} ({setting.twc} "{text}": TeslaMate\'s root)'
            self._foreign(setting, value, origin, Layer.TWCMANAGER, given)
            holds_secret |= setting.secret
        if holds_secret:
            self._check_mode(path, twc.mode)
        return twc

    # -- TOML

    def _toml_path(self, config_file: str | None) -> Path | None:
        for given, origin in ((config_file, "--config"), (self.environ.get(f"{ENV_PREFIX}CONFIG"), "TMSYNC_CONFIG")):
            if given:
                path = expanded(given)
                if not (is_there(path) or is_hidden(path)):
                    message = f"{path}, named by {origin}, does not exist"
                    raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant="absent"))
                return path
        home = self.environ.get("HOME") or expanded("~")
        base = self.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
        for folder in (base, "/etc"):
            path = Path(folder) / "tmsync" / "config.toml"
            if is_file(path):
                return path
        return None

    def _toml(self, path: Path) -> Iterator[tuple[Setting, Any, str]]:
        import tomllib

        raw, mode = _read(path, MAX_TOML_BYTES, "the configuration file")
        try:
            # Some editors put an invisible mark at the beginning.
            data = tomllib.loads(raw.decode("utf-8-sig"))
        except UnicodeDecodeError:
            message = f"{path} is not UTF-8 text"
            raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="encoding")) from None
        except (ValueError, RecursionError) as error:
            # Beyond its own error: of int(), whose limit is 4300 digits, and of too deep a nesting.
            raise ConfigError(problem(Cause.BAD_SYNTAX, f"{path} is not valid TOML: {error}")) from None
        log.info(f"configuration file {path}")
        holds_secret = False
        for name, value in _flatten(path, data):
            setting, from_file = _lookup(name, str(path))
            if from_file:
                if not isinstance(value, str):
                    raise wrong_type(name, str(path), Kind.FILE.value, IN_QUOTES)
                if not value:
                    raise empty(f"{path}: {name}", Kind.FILE.value)
                secret = self._secret_file(setting, f"{name} in {path}", value, path.parent)
                yield setting, secret, f"{path} ({name})"
                continue
            holds_secret |= setting.secret
            try:
                yield setting, from_toml(setting, value), str(path)
            except TypeError:
                raise wrong_type(name, str(path), allowed(setting), how_written(setting, value)) from None
            except BadValue as error:
                raise bad_value(setting, str(path), value, str(error)) from None
        if holds_secret:
            self._check_mode(path, mode)

    # -- environment and flags

    def _environment(self) -> Iterator[tuple[Setting, Any, str]]:
        known = {setting.env: (setting, False) for setting in SETTINGS}
        known |= {setting.env + FILE_SUFFIX.upper(): (setting, True) for setting in SETTINGS if setting.secret}
        sections = tuple(f"{ENV_PREFIX}{section.upper()}_" for section in SECTIONS)
        seen: dict[str, str] = {}
        for variable in sorted(self.environ):
            if not variable.startswith(ENV_PREFIX) or _LEFT_ALONE.fullmatch(variable):
                continue
            if variable not in known:
                same = [name for name in known if any(name.startswith(s) and variable.startswith(s) for s in sections)]
                raise unknown(variable, "the environment", same or list(known), "variable")
            setting, from_file = known[variable]
            text = self.environ[variable]
            # An empty variable is how compose files and shells say "not set"; only the namespace may really be empty.
            if not text and setting.kind is not Kind.NAMESPACE:
                continue
            _only_once(seen, setting.name, variable, "the environment")
            if from_file:
                yield setting, self._secret_file(setting, variable, text), variable
            else:
                yield setting, self._text(setting, text, variable), variable

    def _flag(self, setting: Setting, value: object) -> Any:
        return self._text(setting, value, setting.flag) if isinstance(value, str) else self._typed(setting, value)

    def _typed(self, setting: Setting, value: object) -> Any:
        try:
            return from_toml(setting, value)
        except BadValue as error:
            raise bad_value(setting, setting.flag, value, str(error)) from None

    def _text(self, setting: Setting, text: str, origin: str) -> Any:
        try:
            return from_text(setting, text)
        except BadValue as error:
            raise bad_value(setting, origin, text, str(error)) from None

    # -- secrets in files

    def _secret_file(self, setting: Setting, name: str, written: str, folder: Path = Path()) -> Secret:
        """written: the file's name, seen from `folder`."""
        path = folder / expanded(written)
        # Some write the secret itself where the name of its file belongs.
        shown = expanded(written).is_absolute() and len(path.parts) > 2 and is_folder(path.parent)
        raw, mode = _read(path, MAX_SECRET_FILE_BYTES, f"named by {name}", shown=shown)
        try:
            text = as_utf8(setting, raw.decode("utf-8", "surrogateescape"))
        except BadValue as error:
            raise bad_value(setting, f"{path}, named by {name}", raw, str(error)) from None
        trimmed = text.removesuffix("\n").removesuffix("\r")
        if not trimmed or "\0" in trimmed:
            what = "holds NUL bytes" if trimmed else "is empty"
            message = f"{path}, named by {name}, {what}"
            raise ConfigError(problem(Cause.BAD_VALUE, message, variant="no-secret"))
        self._check_mode(path, mode)
        return Secret(trimmed, (text,) if text != trimmed else ())

    def _check_mode(self, path: Path, mode: int) -> None:
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            reason = f"every user of this machine can read it (mode {stat.S_IMODE(mode):04o})"
            message = f"{path} holds secrets and {reason}"
            self.warnings.append(problem(Cause.LOOSE_PERMISSIONS, message, path=path))


def load_settings(
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
    config_file: str | None = None,
    found: Sequence[tuple[Setting, str, str]] | None = None,
) -> Settings:
    """Merge all layers.

    flags: `section.key` -> value, None where the flag was not given.
    found: (setting, text, origin) in place of a TOML file, which is not looked for then.
    Raises: ConfigError naming file, key and what is allowed.
    """
    return _Loader(environ, flags or {}).load(config_file, found)


def _answers(twc: TwcConfig) -> Iterator[tuple[Setting, str]]:
    """What TWCManager's TeslaMate section says, as text; nothing where it is still the sample."""
    said = {
        setting: str(value)
        for setting in SETTINGS
        if setting.twc.startswith(TWC_SECTION)
        and not isinstance(value := twc.get(setting.twc), dict | list | None)
        and value not in ("", PLACEHOLDER)
    }
    host = said.get(BY_NAME["database.host"], SAMPLE_HOST)
    if twc.get(f"{TWC_SECTION}enabled") is False and host == SAMPLE_HOST and SAMPLE.issuperset(said.values()):
        return
    yield from said.items()


def _read(path: Path, limit: int, what: str, *, shown: bool = True) -> tuple[bytes, int]:
    """shown: whether `path` may be told; else it may be a secret in place of a file's name."""
    try:
        raw, status = read_regular(path, limit)
    except (OSError, ValueError) as error:
        told = f"{path} ({what})" if shown else f"the file {what}"
        variant, reason = "", getattr(error, "strerror", None) or "no file's name"
        if isinstance(error, PermissionError):
            variant = "hidden" if is_hidden(path) else "permission"
        message = f"{told} cannot be read: {reason}"
        raise ConfigError(problem(Cause.UNREADABLE_FILE, message, variant=variant, user=_user(), path=path)) from None
    if len(raw) > limit:
        message = f"{path} ({what}) is larger than {limit} bytes"
        raise ConfigError(problem(Cause.BAD_SYNTAX, message, variant="size"))
    return raw, status.st_mode


def _flatten(path: Path, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`section.key` (or `health.late_after.<state>`) -> value; a secret may be given only once."""
    seen: dict[str, str] = {}
    for section, table in data.items():
        if section not in SECTIONS:
            raise unknown_section(section, str(path), table)
        if not isinstance(table, dict):
            raise wrong_type(section, str(path), f"a table, [{section}], with its settings below")
        for key, value in table.items():
            name = f"{section}.{key}"
            if section == "health" and key in HEALTH_GROUPS and not isinstance(value, dict):
                raise wrong_type(name, str(path), f"a table, [{name}], with seconds by state below")
            if section == "health" and isinstance(value, dict):
                yield from ((f"{name}.{state}", seconds) for state, seconds in value.items())
                continue
            if name.removesuffix(FILE_SUFFIX) in BY_NAME and BY_NAME[name.removesuffix(FILE_SUFFIX)].secret:
                _only_once(seen, name.removesuffix(FILE_SUFFIX), name, str(path))
            yield name, value


def _only_once(seen: dict[str, str], secret: str, name: str, where: str) -> None:
    if secret in seen:
        raise ConfigError(problem(Cause.BAD_VALUE, f"{where} sets both {seen[secret]} and {name}", variant="twice"))
    seen[secret] = name


def _lookup(name: str, where: str) -> tuple[Setting, bool]:
    """The setting, and whether `name` is its `_file` form."""
    if name in BY_NAME:
        return BY_NAME[name], False
    base = BY_NAME.get(name.removesuffix(FILE_SUFFIX))
    if name.endswith(FILE_SUFFIX) and base is not None and base.secret:
        return base, True
    section = name.partition(".")[0]
    names = [setting.name for setting in SETTINGS if setting.section == section]
    names += [setting.name + FILE_SUFFIX for setting in SETTINGS if setting.section == section and setting.secret]
    raise unknown(name, where, names)


def _named_by(origin: str) -> str:
    named = BY_NAME["twcmanager.config_file"]
    return origin if origin in (named.flag, named.env) else f"{named.name} in {origin}"


def _user() -> str:
    number = os.geteuid()
    return user_name(number) or str(number)
