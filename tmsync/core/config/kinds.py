"""The kinds of value that settings hold: in words, read from text, and checked."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from tmsync.core.secret import holds_secret


class Kind(Enum):
    """What a setting holds."""

    TEXT = "text"
    NAME = "a name, and nothing else (no address, no password)"
    ACCOUNT = "a name, or nothing where none is wanted (no address, no password)"
    NAMESPACE = "TeslaMate's MQTT_NAMESPACE, a name without / + #, or nothing"
    SECRET = "text that is never shown"
    HOST = "a host name, an address or a socket's folder (without http:// and without a port, which is database.port)"
    BROKER = "a host name or an address (without mqtt:// and without a port, which is mqtt.port)"
    PORT = "a whole number from 1 to 65535"
    TIMEOUT = "seconds, above 0 and at most 3600"
    SECONDS = "seconds, 0 or more"
    FLAG = "true or false"
    FILE = "a file name"
    URL = "an address that begins with http:// or https:// and holds no password, such as http://192.168.1.5:8080"
    UPSTREAM = "an address that begins with https:// (on this machine, http:// will do) and holds no password"
    LISTEN = "an address of this machine and a port, such as 127.0.0.1:8089 or [::1]:8089"
    TOPIC = "an MQTT topic without + and #, not below teslamate, and not beginning with $"
    PATHS = 'a list of paths, such as ["/api/1/vehicles/{vehicle}/command/honk_horn"]'
    NAMES = 'a list of host names, such as ["tmsync", "pi.lan"]'
    ARGUMENTS = 'a list of arguments, such as ["sudo", "systemctl", "restart", "twcmanager"]'


TYPED: Final = frozenset({Kind.PORT, Kind.TIMEOUT, Kind.SECONDS, Kind.FLAG})
"""What stands in TOML without quotes."""
LISTS: Final = frozenset({Kind.ARGUMENTS, Kind.PATHS, Kind.NAMES})


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError from None


def _is_host(value: str) -> bool:
    if not value or any(char.isspace() or char == "," for char in value):
        return False
    return not holds_secret(value) and (value.startswith(("/", "@")) or not _NO_HOST.search(value))


def _is_broker(value: str) -> bool:
    return _is_host(value) and not value.startswith(("/", "@"))


# What is pasted instead of a host: an address for a browser, `[::1]`, `host:5432`, `user:password@host`.
_NO_HOST: Final = re.compile(r"[/\[\]@]|^[^:]*:[0-9]*$")


def _is_name(value: str) -> bool:
    return bool(value) and not holds_secret(value)


def _is_account(value: str) -> bool:
    return not holds_secret(value)


def _is_namespace(value: str) -> bool:
    return not any(char in "/+#" or not char.isprintable() for char in value)


def _is_url(value: str) -> bool:
    # A user and a password in it would be used by nobody, and be shown wherever the address is.
    if "@" in value or any(map(str.isspace, value)):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_upstream(value: str) -> bool:
    if not _is_url(value) or any(char in "?#" for char in value):
        return False
    parts = urlsplit(value)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def _is_listen(value: str) -> bool:
    try:
        host, port = split_listen(value)
        ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return 1 <= port <= 65535


def split_listen(value: str) -> tuple[str, int]:
    """`[::1]:8089` -> `::1`, 8089.

    Raises: ValueError.
    """
    host, _, port = value.rpartition(":")
    if (":" in host) != (host.startswith("[") and host.endswith("]")) or not port.isdecimal():
        raise ValueError
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, for connections from within it alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_topic(value: str) -> bool:
    levels = value.split("/")
    return all(map(_is_namespace, levels)) and all(levels) and levels[0] != "teslamate" and not value.startswith("$")


def _are_paths(values: Sequence[str]) -> bool:
    return bool(values) and all(map(_PATH.fullmatch, values))


# No escapes, no `..`: what is allowed is compared byte by byte.
_PATH: Final = re.compile(r"/api/1(?:/(?:[A-Za-z0-9_-]+|\{vehicle\}|\{digits\}))+")
MAX_SECONDS: Final = 10**9
"""Thirty years; sums of times and much larger integers are more than a number can hold."""


def _is_finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")  # noqa: PLR0124 - NaN is the one value unlike itself


READERS: Final[Mapping[Kind, Callable[[str], Any]]] = {
    Kind.PORT: int,
    Kind.TIMEOUT: float,
    Kind.SECONDS: float,
    Kind.FLAG: _flag,
    Kind.ARGUMENTS: shlex.split,
    Kind.PATHS: shlex.split,
    Kind.NAMES: shlex.split,
}
CHECKS: Final[Mapping[Kind, Callable[[Any], bool]]] = {
    Kind.TEXT: bool,
    Kind.NAME: _is_name,
    Kind.ACCOUNT: _is_account,
    Kind.SECRET: bool,
    Kind.FILE: bool,
    Kind.HOST: _is_host,
    Kind.BROKER: _is_broker,
    Kind.NAMESPACE: _is_namespace,
    Kind.PORT: lambda value: 1 <= value <= 65535,
    Kind.TIMEOUT: lambda value: _is_finite(value) and 0 < value <= 3600,
    Kind.SECONDS: lambda value: _is_finite(value) and 0 <= value <= MAX_SECONDS,
    Kind.URL: _is_url,
    Kind.UPSTREAM: _is_upstream,
    Kind.LISTEN: _is_listen,
    Kind.TOPIC: _is_topic,
    Kind.PATHS: _are_paths,
    Kind.NAMES: lambda values: bool(values) and all(map(_is_broker, values)),
    Kind.ARGUMENTS: bool,
}
