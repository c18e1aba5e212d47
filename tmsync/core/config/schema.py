"""Every setting tmsync knows: name, type, default, and where else it may come from.

One row per setting; the loader walks the table, so a default or a name stands here and nowhere else.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tmsync.core.config.kinds import CHECKS, LISTS, READERS, TYPED, Kind
from tmsync.core.files.paths import expanded
from tmsync.core.secret import Secret

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PREFERENCES: Final = ("disable", "prefer", "require")
VEHICLE_STATES: Final = (
    "online", "charging", "driving", "asleep", "offline", "suspended", "updating", "start", "unavailable",
)  # fmt: skip
LATE_AFTER_S: Final = {"online": 140, "charging": 100, "driving": 95, "asleep": 110, "offline": 110}
STALE_AFTER_S: Final = {"online": 360, "charging": 360, "driving": 960, "asleep": 360, "offline": 360}
BLIND_AFTER_S: Final[Mapping[str, float]] = {"charging": 900, "driving": 900, "online": 1800}
"""The states in which something of a vehicle changes all the time."""
HEALTH_GROUPS: Final[Mapping[str, Mapping[str, int]]] = {"late_after": LATE_AFTER_S, "stale_after": STALE_AFTER_S}
"""Tables within [health]: seconds by state."""
SYSTEM_TWC_CONFIG: Final = "/etc/twcmanager/config.json"
SYSTEM_TWC_SETTINGS_PATH: Final = "/etc/twcmanager"
ENV_PREFIX: Final = "TMSYNC_"
FILE_SUFFIX: Final = "_file"
"""Added to the name of a secret: the file that holds it."""


class BadValue(ValueError):
    """A value of the right type that is not allowed; the message says what is."""


class Setting(NamedTuple):
    """One setting. Its flag, help, check, variable, documentation and completion all come from here."""

    section: str
    key: str
    kind: Kind
    help: str
    """What it is, for the help of its flag and for the documentation; without a full stop."""
    default: Any = None
    otherwise: str = ""
    """The default in words, where it is worked out from something else."""
    flag: str = ""
    metavar: str = ""
    no_flag: str = ""
    """Why there is no flag."""
    twc: str = ""
    """Dotted path in TWCManager's config.json."""
    libpq: str = ""
    """libpq's environment variable."""
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`section.key`, as in TOML."""
        return f"{self.section}.{self.key}"

    @property
    def env(self) -> str:
        """The environment variable, `TMSYNC_<SECTION>_<KEY>`."""
        return ENV_PREFIX + self.name.replace(".", "_").upper()

    @property
    def secret(self) -> bool:
        """Whether the value is never shown, and may come from a file named by `<key>_file`."""
        return self.kind is Kind.SECRET

    @property
    def described(self) -> str:
        """Help, choices and default as one sentence."""
        default = self.otherwise or self.default
        words = "" if default is None else "no" if default is False else str(default) or "none"
        choices = f": {', '.join(self.choices)}" if self.choices else ""
        return f"{self.help}{choices}{f' (default {words})' if words else ''}."


SECRET: Final = "other users can see what a command is given"
STANDING: Final = "part of an installation, the same at every run"

TITLES: Final[Mapping[str, str]] = {
    "database": "TeslaMate's database",
    "teslamate": "TeslaMate",
    "mqtt": "MQTT broker",
    "twcmanager": "TWCManager",
    "serve": "The service",
    "publish": "What the service publishes by MQTT",
    "health": "When telemetry is late or stale",
}
"""Section -> what it is about, the head of its flags in the help."""


def _health() -> tuple[Setting, ...]:
    words = {"late_after": "late", "stale_after": "stale"}
    rows = [
        Setting(
            "health",
            f"{group}.{state}",
            Kind.SECONDS,
            f"Seconds of silence after which a vehicle in that state is {words[group]}; 0: silence proves nothing",
            table.get(state, 0),
            no_flag=STANDING,
        )
        for group, table in HEALTH_GROUPS.items()
        for state in VEHICLE_STATES
    ]
    recover = "Seconds a vehicle must be healthy again before TeslaMate is trusted"
    blind = "Seconds without a newer record and without a changed value after which TeslaMate sees nothing; 0: never"
    by_state = "900 while charging or driving, 1800 online"
    return (
        *rows,
        Setting("health", "blind_after", Kind.SECONDS, blind, otherwise=by_state, no_flag=STANDING),
        Setting("health", "recover_after", Kind.SECONDS, recover, 120, no_flag=STANDING),
    )


TWC_SECTION: Final = "vehicle.TeslaMate."
_TM: Final = TWC_SECTION

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("database", "host", Kind.HOST, "Name, address or socket folder",
            flag="--db-host", metavar="HOST", twc=_TM + "db_host"),
    Setting("database", "port", Kind.PORT, "TCP port", 5432, flag="--db-port", metavar="PORT"),
    Setting("database", "name", Kind.NAME, "TeslaMate's DATABASE_NAME", "teslamate",
            flag="--db-name", metavar="NAME", twc=_TM + "db_name"),
    Setting("database", "user", Kind.NAME, "TeslaMate's DATABASE_USER", "teslamate",
            flag="--db-user", metavar="USER", twc=_TM + "db_user"),
    Setting("database", "password", Kind.SECRET, "TeslaMate's DATABASE_PASS", otherwise="libpq's password file",
            no_flag=SECRET, twc=_TM + "db_pass", libpq="PGPASSWORD"),
    Setting("database", "sslmode", Kind.TEXT, "Use of TLS", "prefer",
            flag="--sslmode", metavar="MODE", libpq="PGSSLMODE", choices=SSL_MODES),
    Setting("database", "sslrootcert", Kind.FILE, "Certificates of the authorities that are trusted, or system",
            otherwise="~/.postgresql/root.crt", no_flag=STANDING, libpq="PGSSLROOTCERT"),
    Setting("database", "sslcrl", Kind.FILE, "Certificates that are revoked",
            otherwise="~/.postgresql/root.crl", no_flag=STANDING, libpq="PGSSLCRL"),
    Setting("database", "sslcert", Kind.FILE, "Certificate of this client",
            otherwise="~/.postgresql/postgresql.crt", no_flag=STANDING, libpq="PGSSLCERT"),
    Setting("database", "sslkey", Kind.FILE, "Its private key, without a passphrase",
            otherwise="~/.postgresql/postgresql.key", no_flag=STANDING, libpq="PGSSLKEY"),
    Setting("database", "require_auth", Kind.TEXT, "Authentication methods that the server may ask for",
            otherwise="any", no_flag=STANDING, libpq="PGREQUIREAUTH"),
    Setting("database", "channel_binding", Kind.TEXT, "Use of channel binding", otherwise="prefer",
            no_flag=STANDING, libpq="PGCHANNELBINDING", choices=PREFERENCES),
    Setting("database", "gssencmode", Kind.TEXT, "Use of GSSAPI encryption", otherwise="libpq's own",
            no_flag=STANDING, libpq="PGGSSENCMODE", choices=PREFERENCES),
    Setting("database", "connect_timeout", Kind.TIMEOUT, "Seconds to wait for an answer", 5,
            flag="--timeout", metavar="S"),
    Setting("teslamate", "encryption_key", Kind.SECRET, "TeslaMate's ENCRYPTION_KEY",
            no_flag=SECRET, twc=_TM + "encryption_key"),
    Setting("teslamate", "url", Kind.URL, "TeslaMate's web page, such as http://host:4000", no_flag=STANDING),
    Setting("mqtt", "host", Kind.BROKER, "Name or address", flag="--mqtt-host", metavar="HOST", twc=_TM + "mqtt_host"),
    Setting("mqtt", "port", Kind.PORT, "TCP port", otherwise="1883, with TLS 8883", flag="--mqtt-port", metavar="PORT"),
    Setting("mqtt", "username", Kind.ACCOUNT, "User name", flag="--mqtt-user", metavar="USER", twc=_TM + "mqtt_user"),
    Setting("mqtt", "password", Kind.SECRET, "Password of the user", no_flag=SECRET, twc=_TM + "mqtt_pass"),
    Setting("mqtt", "namespace", Kind.NAMESPACE, "TeslaMate's MQTT_NAMESPACE", "",
            flag="--namespace", metavar="NS", twc=_TM + "mqtt_prefix"),
    Setting("mqtt", "tls", Kind.FLAG, "Use TLS", False, flag="--mqtt-tls"),
    Setting("mqtt", "ca_file", Kind.FILE, "Certificates of the authorities that are trusted",
            otherwise="the system's", no_flag=STANDING),
    Setting("mqtt", "cert_file", Kind.FILE, "Certificate of this client", no_flag=STANDING),
    Setting("mqtt", "key_file", Kind.FILE, "Its private key", no_flag=STANDING),
    Setting("mqtt", "insecure", Kind.FLAG, "Leave the broker's certificate unverified", False,
            no_flag="nothing to get used to on the command line"),
    Setting("twcmanager", "config_file", Kind.FILE, "TWCManager's config.json",
            otherwise=f"{SYSTEM_TWC_CONFIG}, if it exists", flag="--twc-config", metavar="FILE"),
    Setting("twcmanager", "settings_file", Kind.FILE, "TWCManager's settings.json", otherwise="in its settingsPath",
            flag="--twc-settings", metavar="FILE", twc="config.settingsPath"),
    Setting("twcmanager", "url", Kind.URL, "TWCManager's web control", otherwise="http://127.0.0.1:8080",
            flag="--twc-url", metavar="URL", twc="control.HTTP.listenPort"),
    Setting("twcmanager", "deliver", Kind.TEXT, "Way of delivery", "auto",
            otherwise="auto, which is http if the web control runs, else file",
            flag="--via", metavar="WAY", choices=("auto", "file", "http")),
    Setting("twcmanager", "refresh_token", Kind.TEXT, "What becomes of the refresh token", "withhold",
            no_flag=STANDING, choices=("withhold", "share")),
    Setting("twcmanager", "restart_command", Kind.ARGUMENTS, "Command that restarts TWCManager, run without a shell",
            no_flag=STANDING),
    Setting("twcmanager", "token", Kind.TEXT, "Which token it gets: TeslaMate's, or one of tmsync serve's own", "tesla",
            no_flag=STANDING, choices=("tesla", "local")),
    Setting("serve", "listen", Kind.LISTEN, "Where Tesla's API is served to TWCManager, such as 127.0.0.1:8089",
            flag="--listen", metavar="ADDR:PORT"),
    Setting("serve", "names", Kind.NAMES, "Names TWCManager calls it by, besides loopback ones and the certificate's",
            (), otherwise="none", no_flag=STANDING),
    Setting("serve", "upstream", Kind.UPSTREAM, "Where requests go that TeslaMate cannot answer",
            otherwise="the Tesla host that fits the token", flag="--upstream", metavar="URL"),
    Setting("serve", "upstream_ca_file", Kind.FILE, "Certificates of the authorities that are trusted there",
            otherwise="the system's", no_flag=STANDING),
    Setting("serve", "upstream_token", Kind.SECRET, "TeslaMate's TOKEN, where it has one (MyTeslaMate, Teslemetry)",
            otherwise="the token in TeslaMate's database", no_flag=SECRET),
    Setting("serve", "allow", Kind.PATHS, "Further paths to forward; {vehicle} is a VIN or an id, {digits} a number",
            (), otherwise="none", no_flag=STANDING),
    Setting("serve", "tls_cert", Kind.FILE, "Certificate to serve https with", no_flag=STANDING),
    Setting("serve", "tls_key", Kind.FILE, "Its private key", no_flag=STANDING),
    Setting("serve", "insecure", Kind.FLAG, "Serve other hosts without TLS", False, no_flag=STANDING),
    Setting("serve", "deliver_tokens", Kind.FLAG, "Deliver TeslaMate's token to TWCManager whenever it changes", True,
            no_flag=STANDING),
    Setting("serve", "state_dir", Kind.FILE, "Folder for what outlives a restart",
            otherwise="$STATE_DIRECTORY, else /var/lib/tmsync if it can be written, else $XDG_STATE_HOME/tmsync",
            no_flag=STANDING),
    Setting("publish", "enabled", Kind.FLAG, "Publish verdicts and problems by MQTT", False, no_flag=STANDING),
    Setting("publish", "prefix", Kind.TOPIC, "First level of its topics", "tmsync", no_flag=STANDING),
    Setting("publish", "discovery_prefix", Kind.TOPIC, "Home Assistant's discovery prefix", "homeassistant",
            no_flag=STANDING),
    Setting("publish", "values", Kind.FLAG, "Publish every trusted value again with each heartbeat", False,
            no_flag=STANDING),
    *_health(),
)  # fmt: skip
BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SETTINGS}
SECTIONS: Final = tuple(dict.fromkeys(setting.section for setting in SETTINGS))


def allowed(setting: Setting) -> str:
    """What the setting takes, for an error message."""
    return "one of " + ", ".join(setting.choices) if setting.choices else setting.kind.value


def from_toml(setting: Setting, value: object) -> Any:
    """A value as TOML (or YAML) typed it.

    Raises: TypeError when the type is wrong, BadValue when the value is not allowed.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match setting.kind:
        case Kind.PORT if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError
        case Kind.TIMEOUT | Kind.SECONDS if not number:
            raise TypeError
        case Kind.FLAG if not isinstance(value, bool):
            raise TypeError
        case kind if kind in LISTS and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise TypeError
        case kind if kind in TYPED or kind in LISTS:
            return _checked(setting, value)
        case _ if not isinstance(value, str):
            raise TypeError
        case _:
            return _checked(setting, value)


def from_text(setting: Setting, text: str) -> Any:
    """A value as it stands in the environment or in a flag.

    Raises: BadValue when it cannot be read or is not allowed.
    """
    try:
        return _checked(setting, READERS.get(setting.kind, str)(as_utf8(setting, text)))
    except BadValue:
        raise
    except ValueError:
        words = "a command, quoted as in a shell" if setting.kind in LISTS else allowed(setting)
        raise BadValue(words) from None


def as_utf8(setting: Setting, text: str) -> str:
    """Text of the environment, of a flag or of a file, read as UTF-8 whatever the locale says.

    Raises: BadValue where it is none; an encryption key may be any bytes, and a file name, too.
    """
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        if setting.kind is Kind.FILE or setting.name == "teslamate.encryption_key":
            return text
        raise BadValue(f"{allowed(setting)}, as UTF-8") from None


def _checked(setting: Setting, value: Any) -> Any:
    if setting.choices and value not in setting.choices:
        raise BadValue(allowed(setting))
    check = CHECKS.get(setting.kind)
    if check is not None and not check(value):
        raise BadValue(allowed(setting))
    if isinstance(value, str) and "\0" in value:
        raise BadValue(allowed(setting) + ", without NUL bytes")
    match setting.kind:
        case Kind.SECRET:
            return Secret(value)
        case kind if kind in LISTS:
            return tuple(value)
        case Kind.FILE:
            return str(expanded(value))
        case Kind.URL | Kind.UPSTREAM:
            return value.rstrip("/")
        case _:
            return value
