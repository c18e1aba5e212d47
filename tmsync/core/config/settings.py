"""The merged settings: each value with its origin, and typed views of them for those who use them."""

import os
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from tmsync.core.causes import Cause
from tmsync.core.config.kinds import is_loopback, split_listen
from tmsync.core.config.schema import BY_NAME, SYSTEM_TWC_SETTINGS_PATH, Setting
from tmsync.core.config.twc_json import TwcConfig
from tmsync.core.errors import ConfigError, Problem
from tmsync.core.files.paths import expanded
from tmsync.core.fixes import problem
from tmsync.core.net.dial import is_socket_folder
from tmsync.core.secret import Secret

SYSTEM_STATE_DIR: Final = "/var/lib/tmsync"
ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


class Layer(IntEnum):
    """Where a value came from; a higher layer wins."""

    DEFAULT = 0
    LIBPQ = 1
    """libpq's own environment and password file."""
    TWCMANAGER = 2
    TOML = 3
    ENVIRONMENT = 4
    FLAG = 5


class Value(NamedTuple):
    """A setting's value and its origin: the layer, and the file, variable or flag in words."""

    value: Any
    layer: Layer
    origin: str


class DatabaseSettings(NamedTuple):
    """How to reach TeslaMate's database. `host` may be a folder: then it is a Unix socket, as for libpq.

    What is None is left to libpq, which has a default of its own. Files are PEM.
    """

    host: str
    port: int
    name: str
    user: str
    password: Secret | None
    sslmode: str
    sslrootcert: str | None
    connect_timeout: float
    """Seconds for one attempt."""
    sslcrl: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    require_auth: str | None = None
    channel_binding: str | None = None
    gssencmode: str | None = None
    ignored_passfile: Path | None = None
    """A password file that libpq refuses to use, as others can read it."""

    @property
    def place(self) -> str:
        """Where the server is, in words."""
        return self.host if is_socket_folder(self.host) else f"{self.host} port {self.port}"


class TwcSettings(NamedTuple):
    """Where TWCManager keeps its settings and how it is told."""

    settings_file: Path
    url: str
    urls: tuple[str, ...]
    """Where its web control may answer: `url`, and where nobody gave one, this machine's other loopback address."""
    url_given: bool
    """Whether somebody named that address, rather than TWCManager's own configuration or nobody."""
    settings_given: bool
    """Likewise for the settings file."""
    deliver: str
    share_refresh_token: bool
    restart_command: tuple[str, ...]
    config: TwcConfig | None
    local_token: bool = False
    """Whether it gets a token of tmsync serve's own rather than TeslaMate's."""

    @property
    def only_url_is_named(self) -> bool:
        """Whether somebody named its web control, and nobody a file of its."""
        return self.url_given and not self.settings_given and self.config is None


class MqttSettings(NamedTuple):
    """How to reach the broker. Files are PEM; without ca_file the system's certificate store is used."""

    host: str
    port: int
    username: str | None
    password: Secret | None
    namespace: str
    tls: bool
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    insecure: bool
    """Whether the broker's certificate goes unverified."""
    may_be_root: bool = False
    """Whether it comes from TWCManager's mqtt_prefix "teslamate" that the namespace is empty: so it is, unless cars are
    seen below teslamate/teslamate/."""

    @property
    def place(self) -> str:
        """Where the broker is, in words."""
        return f"{self.host} port {self.port}"

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is unwise about it; for every command that connects."""
        if not (self.tls and self.insecure):
            return ()
        return (
            problem(
                Cause.TLS_NOT_VERIFIED,
                "mqtt.insecure is on: the broker's certificate is not verified, anyone could pose as it",
            ),
        )


class ServeSettings(NamedTuple):
    """How Tesla's API is served to TWCManager. Files are PEM."""

    host: str
    port: int
    names: tuple[str, ...]
    upstream: str | None
    """None: the Tesla host that fits the token."""
    upstream_ca_file: str | None
    upstream_token: Secret | None
    """None: TeslaMate's."""
    allow: tuple[str, ...]
    tls_cert: str | None
    tls_key: str | None
    insecure: bool

    @property
    def url(self) -> str:
        """What TWCManager's `teslaProxy` must be; by the first name, where it listens at all addresses or with TLS."""
        host = self.names[0] if self.names and (self.host in ANY_ADDRESS or self.tls_cert) else self.host
        return f"http{'s' if self.tls_cert else ''}://{self._replace(host=host).address}"

    @property
    def address(self) -> str:
        """Host and port as one word."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PublishSettings(NamedTuple):
    """What is published by MQTT, and where."""

    enabled: bool
    prefix: str
    discovery_prefix: str
    values: bool


class Settings(NamedTuple):
    """All settings, merged."""

    values: Mapping[str, Value]
    warnings: tuple[Problem, ...]
    config_path: Path | None
    """The TOML file that was read."""
    twc_config: TwcConfig | None
    ignored_passfile: Path | None = None

    def get(self, name: str) -> Any:
        """The value of `section.key`, None when it has none."""
        return self.values[name].value

    def require(self, name: str) -> Any:
        """The value of `section.key`.

        Raises: ConfigError (missing-setting) when it has none.
        """
        value = self.get(name)
        if value is None:
            raise missing(BY_NAME[name], self.config_path)
        return value

    def database(self) -> DatabaseSettings:
        """Raises: ConfigError (missing-setting) without database.host."""
        self.require("database.host")
        given = {name: self.get(f"database.{name}") for name in DatabaseSettings._fields if name != "ignored_passfile"}
        return DatabaseSettings(**given, ignored_passfile=self.ignored_passfile)

    def mqtt(self) -> MqttSettings:
        """Raises: ConfigError (missing-setting) without mqtt.host."""
        self.require("mqtt.host")
        may_be_root = self.values["mqtt.namespace"].layer is Layer.TWCMANAGER and not self.get("mqtt.namespace")
        given = {name: self.get(f"mqtt.{name}") for name in MqttSettings._fields if name != "may_be_root"}
        if given["username"] == "":
            # None is wanted, whatever TWCManager's file says; a password without a user would be sent, too.
            given |= {"username": None, "password": None}
        return MqttSettings(**given, may_be_root=may_be_root)

    @property
    def encryption_key(self) -> Secret | None:
        """TeslaMate's ENCRYPTION_KEY."""
        return cast("Secret | None", self.get("teslamate.encryption_key"))

    def twcmanager(self) -> TwcSettings:
        """TWCManager's place, with what its own configuration says filled in."""
        url: str = self.get("twcmanager.url")
        guessed = self.values["twcmanager.url"].layer <= Layer.TWCMANAGER
        return TwcSettings(
            settings_file=Path(self.get("twcmanager.settings_file")),
            url=url,
            urls=(url, url.replace("127.0.0.1", "[::1]")) if guessed else (url,),
            url_given=not guessed,
            settings_given=self.values["twcmanager.settings_file"].layer > Layer.TWCMANAGER,
            deliver=self.get("twcmanager.deliver"),
            share_refresh_token=self.get("twcmanager.refresh_token") == "share",
            restart_command=self.get("twcmanager.restart_command") or (),
            config=self.twc_config,
            local_token=self.get("twcmanager.token") == "local",
        )

    def serve(self) -> ServeSettings | None:
        """None without serve.listen: TWCManager asks Tesla itself."""
        if self.get("serve.listen") is None:
            return None
        host, port = split_listen(self.get("serve.listen"))
        names = [name for name in ServeSettings._fields if name not in ("host", "port")]
        return ServeSettings(host, port, *(self.get(f"serve.{name}") for name in names))

    def publish(self) -> PublishSettings:
        """What is published by MQTT."""
        return PublishSettings(*(self.get(f"publish.{name}") for name in PublishSettings._fields))

    @property
    def state_dir(self) -> Path:
        """The folder for what outlives a restart."""
        return Path(self.get("serve.state_dir"))


def missing(setting: Setting, config_path: Path | None) -> ConfigError:
    """The error for a setting nobody gave."""
    return ConfigError(
        problem(
            Cause.MISSING_SETTING,
            f"{setting.name} is not set",
            places=" or ".join(filter(None, (setting.flag, setting.env))),
            key=setting.key,
            section=setting.section,
            file=config_path or "~/.config/tmsync/config.toml",
            init=None if config_path else "tmsync init",
        )
    )


def check_together(settings: Settings) -> None:
    """What single values cannot show.

    Raises: ConfigError.
    """
    _check_topics(settings)
    serve, listen = settings.serve(), BY_NAME["serve.listen"]
    if serve is None:
        if settings.get("twcmanager.token") == "local":
            raise missing(listen, settings.config_path)
        return
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if settings.get(f"serve.{one}") and not settings.get(f"serve.{other}"):
            raise missing(BY_NAME[f"serve.{other}"], settings.config_path)
    origin = settings.values["serve.listen"].origin
    if not (is_loopback(serve.host) or serve.tls_cert or serve.insecure):
        message = f"{origin}: serve.listen {serve.address} can be reached by other hosts, and has no TLS"
        raise ConfigError(problem(Cause.BAD_VALUE, message, variant="open-listen"))
    if serve.upstream and _same_place(serve, serve.upstream):
        message = f"{settings.values['serve.upstream'].origin}: serve.upstream is serve.listen, {serve.address}"
        raise ConfigError(problem(Cause.BAD_VALUE, message, variant="loop"))


def _check_topics(settings: Settings) -> None:
    """What is published below publish.prefix may be cleared there, whoever published it."""
    prefix, discovery = settings.get("publish.prefix"), settings.get("publish.discovery_prefix")
    if f"{prefix}/".startswith(f"{discovery}/") or f"{discovery}/".startswith(f"{prefix}/"):
        origin = settings.values["publish.prefix"].origin
        message = f"{origin}: publish.prefix {prefix} and publish.discovery_prefix {discovery} lie one in the other"
        raise ConfigError(problem(Cause.BAD_VALUE, message, variant="same-topics"))


def _same_place(serve: ServeSettings, url: str) -> bool:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    here = is_loopback(serve.host) or serve.host in ANY_ADDRESS
    return port == serve.port and (host == serve.host or (here and is_loopback(host)))


def derived_defaults(
    values: Mapping[str, Value], twc: TwcConfig | None, environ: Mapping[str, str]
) -> dict[str, Value]:
    """Defaults that hang on other settings: the broker's port on TLS, TWCManager's files and address."""
    tls = values["mqtt.tls"].value
    found = {"mqtt.port": Value(8883 if tls else 1883, Layer.DEFAULT, "default, with TLS" if tls else "default")}
    folder, layer, origin = SYSTEM_TWC_SETTINGS_PATH, Layer.DEFAULT, "default"
    port: Any = 8080
    url_layer, url_origin = Layer.DEFAULT, "default"
    if twc is not None:
        settings_path = twc.get("config.settingsPath")
        if isinstance(settings_path, str) and settings_path:
            folder, layer, origin = settings_path, Layer.TWCMANAGER, f"{twc.path} (config.settingsPath)"
        listen = twc.get("control.HTTP.listenPort")
        if isinstance(listen, int) and 1 <= listen <= 65535:
            port, url_layer, url_origin = listen, Layer.TWCMANAGER, f"{twc.path} (control.HTTP.listenPort)"
    found["serve.state_dir"] = _state_dir(environ)
    found["twcmanager.settings_file"] = Value(str(Path(folder) / "settings.json"), layer, origin)
    found["twcmanager.url"] = Value(f"http://127.0.0.1:{port}", url_layer, url_origin)
    return {name: value for name, value in found.items() if values[name].value is None}


def _state_dir(environ: Mapping[str, str]) -> Value:
    # systemd's StateDirectory= may name several, separated by colons.
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Value(given, Layer.DEFAULT, "STATE_DIRECTORY")
    if os.access(SYSTEM_STATE_DIR, os.W_OK):
        return Value(SYSTEM_STATE_DIR, Layer.DEFAULT, "default")
    base = environ.get("XDG_STATE_HOME") or expanded("~/.local/state")
    return Value(str(Path(base) / "tmsync"), Layer.DEFAULT, "default")
