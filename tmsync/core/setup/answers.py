"""What people type or paste, made into what a setting takes."""

import re
from typing import Final

from tmsync.core.config.kinds import Kind
from tmsync.core.config.schema import Setting
from tmsync.core.setup.variables import BadLine, read_variables

TWC_PORT: Final = 8080
"""Of TWCManager's web control. Source: TWCManager etc/twcmanager/config.json (control.HTTP.listenPort)."""
VARIABLES: Final = {
    "database.host": "DATABASE_HOST",
    "database.port": "DATABASE_PORT",
    "database.user": "DATABASE_USER",
    "database.name": "DATABASE_NAME",
    "database.password": "DATABASE_PASS",
    "teslamate.encryption_key": "ENCRYPTION_KEY",
    "mqtt.host": "MQTT_HOST",
    "mqtt.port": "MQTT_PORT",
    "mqtt.username": "MQTT_USERNAME",
    "mqtt.password": "MQTT_PASSWORD",
    "mqtt.namespace": "MQTT_NAMESPACE",
}
"""Setting -> TeslaMate's variable, as whole lines of its files are pasted."""
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s/@]+):([0-9]{1,5})")


def as_answer(setting: Setting, text: str) -> str:
    """The text without what was pasted around it: a variable's name, a list's dash, an address's scheme and path."""
    text = _without_name(setting.name, text)
    if setting.kind is Kind.URL:
        return _as_url(text)
    if setting.kind in (Kind.HOST, Kind.BROKER) and not text.startswith(("/", "@")):
        scheme = _SCHEME.match(text)
        bare = text[scheme.end() if scheme else 0 :].partition("/")[0]
        if scheme and scheme[0].lower().startswith("http"):
            # TeslaMate's web page: its port is not the server's.
            bare = host_and_port(bare)[0]
        return bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare
    return text


def host_and_port(text: str) -> tuple[str, str]:
    """`192.168.1.5:5433` as host and port; the port is empty where there is none."""
    found = _HOST_AND_PORT.fullmatch(text)
    return (found[1].strip("[]"), found[2]) if found else (text, "")


def _without_name(name: str, text: str) -> str:
    variable = VARIABLES.get(name)
    if variable is None:
        return text
    # In a list of a compose file the whole item may stand in quotes, and quotes within it belong to the value.
    item = re.fullmatch(rf"""\s*-\s+(["']?)({variable}=.*)\1\s*""", text, re.DOTALL)
    if item:
        return item[2].partition("=")[2]
    if re.match(rf"\s*(export\s+)?{variable}\s*[=:]", text) is None:
        return text
    try:
        return read_variables(text).get(variable, "")
    except BadLine:
        return re.split("[=:]", text, maxsplit=1)[1].strip()


def _as_url(text: str) -> str:
    if _SCHEME.match(text) or not text:
        return text
    address = text.rstrip("/")
    # More than one colon and no bracket: an IPv6 address by itself.
    if address.count(":") > 1 and not address.startswith("["):
        address = f"[{address}]"
    has_port = re.search(r":[0-9]+$", address.rpartition("]")[2] if "]" in address else address)
    return f"http://{address}" if has_port or "/" in address else f"http://{address}:{TWC_PORT}"
