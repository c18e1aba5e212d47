"""Options shared by several commands, and how they reach the settings."""

from enum import StrEnum
from typing import Annotated

import typer

DB_PANEL = "TeslaMate's database"
TWC_PANEL = "TWCManager"
MQTT_PANEL = "MQTT broker"


class SslMode(StrEnum):
    """libpq's sslmode."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


DbHost = Annotated[
    str | None,
    typer.Option("--db-host", metavar="HOST", help="Name, address or socket folder.", rich_help_panel=DB_PANEL),
]
DbPort = Annotated[
    int | None,
    typer.Option("--db-port", metavar="PORT", help="TCP port (default 5432).", rich_help_panel=DB_PANEL),
]
DbName = Annotated[
    str | None,
    typer.Option("--db-name", metavar="NAME", help="Database (default teslamate).", rich_help_panel=DB_PANEL),
]
DbUser = Annotated[
    str | None,
    typer.Option("--db-user", metavar="ROLE", help="Role (default teslamate).", rich_help_panel=DB_PANEL),
]
Ssl = Annotated[
    SslMode | None,
    typer.Option(
        "--sslmode",
        metavar="MODE",
        help="Use of TLS: disable, allow, prefer (default), require, verify-ca or verify-full.",
        rich_help_panel=DB_PANEL,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="S", help="Seconds to wait for an answer (default 5).", rich_help_panel=DB_PANEL),
]
TwcConfigFile = Annotated[
    str | None,
    typer.Option(
        "--twc-config",
        metavar="FILE",
        help="TWCManager's config.json (default /etc/twcmanager/config.json, if it exists).",
        rich_help_panel=TWC_PANEL,
    ),
]
TwcSettingsFile = Annotated[
    str | None,
    typer.Option(
        "--twc-settings",
        metavar="FILE",
        help="TWCManager's settings.json (default in its settingsPath).",
        rich_help_panel=TWC_PANEL,
    ),
]
TwcUrl = Annotated[
    str | None,
    typer.Option(
        "--twc-url",
        metavar="URL",
        help="TWCManager's web control (default http://127.0.0.1:8080).",
        rich_help_panel=TWC_PANEL,
    ),
]
MqttHost = Annotated[
    str | None, typer.Option("--mqtt-host", metavar="HOST", help="Name or address.", rich_help_panel=MQTT_PANEL)
]
MqttPort = Annotated[
    int | None,
    typer.Option("--mqtt-port", metavar="PORT", help="TCP port (default 1883, with TLS 8883).",
                 rich_help_panel=MQTT_PANEL),
]  # fmt: skip
MqttUser = Annotated[
    str | None, typer.Option("--mqtt-user", metavar="USER", help="User name.", rich_help_panel=MQTT_PANEL)
]
MqttTls = Annotated[
    bool | None, typer.Option("--mqtt-tls/--no-mqtt-tls", help="Use TLS (default no).", rich_help_panel=MQTT_PANEL)
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        metavar="NS",
        help="TeslaMate's MQTT_NAMESPACE (default none).",
        rich_help_panel=MQTT_PANEL,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Same as --format json.")]


def database_flags(
    *,
    host: str | None,
    port: int | None,
    name: str | None,
    user: str | None,
    ssl: SslMode | None,
    timeout: float | None,
) -> dict[str, object]:
    """The flags as settings; None where one was not given."""
    return {
        "database.host": host,
        "database.port": port,
        "database.name": name,
        "database.user": user,
        "database.sslmode": ssl.value if ssl else None,
        "database.connect_timeout": timeout,
    }


def twc_flags(config: str | None, settings: str | None, url: str | None) -> dict[str, object]:
    """The flags as settings; None where one was not given."""
    return {"twcmanager.config_file": config, "twcmanager.settings_file": settings, "twcmanager.url": url}


def mqtt_flags(
    *, host: str | None, port: int | None, user: str | None, tls: bool | None, namespace: str | None
) -> dict[str, object]:
    """The flags as settings; None where one was not given."""
    return {
        "mqtt.host": host,
        "mqtt.port": port,
        "mqtt.username": user,
        "mqtt.tls": tls,
        "mqtt.namespace": namespace,
    }
