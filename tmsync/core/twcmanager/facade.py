"""Whether TWCManager sends its requests to tmsync serve, and what else of its configuration stands against that.

Source: TWCManager lib/TWCManager/Vehicle/TeslaAPI.py (teslaProxy, to which "/api/1/vehicles" is appended),
Vehicle/TeslaMateVehicle.py, Vehicle/FleetTelemetryMQTT.py; lib/TWCManager/EMS/TeslaPowerwall2.py of 1.3.2, which sends
the same bearer to owner-api.teslamotors.com itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from tmsync.core.causes import Cause
from tmsync.core.config.kinds import is_loopback
from tmsync.core.config.settings import ANY_ADDRESS, ServeSettings
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.secret import redacted

PORTS: Final = {"http": 80, "https": 443}


class TwcFacts(NamedTuple):
    """What counts of TWCManager's configuration; None where that is not told."""

    proxy: str | None = None
    """config.teslaProxy; empty where it is not set."""
    own_telemetry: str | None = None
    """The module through which it takes TeslaMate's telemetry by itself; empty for none."""
    powerwall: bool | None = None
    """Whether it asks Tesla for a Powerwall."""


def facts_of(config: Mapping[str, Any]) -> TwcFacts:
    """What counts of `config`, its config.json as parsed."""
    proxy = _get(config, "config.teslaProxy")
    modules = [name for name in ("TeslaMate", "teslaFleetTelemetryMQTT") if _takes_telemetry(config, name)]
    powerwall = _get(config, "sources.Powerwall2.enabled") and _get(config, "sources.Powerwall2.serverIP")
    return TwcFacts(
        proxy if isinstance(proxy, str) else "",
        modules[0] if modules else "",
        bool(powerwall),
    )


def not_sent_here(facts: TwcFacts, serve: ServeSettings) -> Problem | None:
    """Why TWCManager's requests do not come to `serve`."""
    line = f'"teslaProxy": "{serve.url}",'
    certificate = f'"teslaProxyCert": "{serve.tls_cert}",' if serve.tls_cert else None
    if facts.proxy is None:
        message = "TWCManager's configuration cannot be seen, so nothing tells whether it sends its requests here"
        return problem(Cause.FACADE_NOT_CONFIGURED, message, variant="unseen")
    proxy, variant = facts.proxy, ""
    if not proxy:
        message = "TWCManager sends its requests to Tesla itself: config.teslaProxy is not set in its config.json"
    elif _is(proxy.rstrip("/"), serve):
        if not proxy.endswith("/"):
            return None
        message = "TWCManager's config.teslaProxy ends in a slash, so every path it asks for begins with two"
        variant = "slash"
    else:
        message = f"TWCManager's config.teslaProxy is {redacted(proxy)}, and tmsync serve is at {serve.url}"
    return problem(Cause.FACADE_NOT_CONFIGURED, message, variant=variant, line=line, certificate=certificate)


def own_telemetry(facts: TwcFacts) -> Problem | None:
    """That it takes TeslaMate's telemetry past serve, and goes on believing it when TeslaMate dies."""
    if not facts.own_telemetry:
        return None
    where = f"vehicle.{facts.own_telemetry}"
    message = f"TWCManager takes telemetry by itself ({where}.syncTelemetry): it believes that when TeslaMate has died"
    return problem(Cause.OWN_TELEMETRY, message, where=where)


def powerwall(facts: TwcFacts, settings_file: Path) -> Problem | None:
    """That a TWCManager 1.3.2 would send the local token to Tesla, which knows nothing of it."""
    from tmsync.core.twcmanager.presence import PID_FILE

    if not facts.powerwall or (settings_file.parent / PID_FILE).exists():
        return None
    message = (
        "TWCManager 1.3.2 asks Tesla itself for its Powerwall, with the token it holds: a local one is no use there"
    )
    return problem(Cause.POWERWALL, message)


def _is(proxy: str, serve: ServeSettings) -> bool:
    """Whether an address is that of `serve`, which may listen on all addresses of its host."""
    try:
        parts = urlsplit(proxy)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return False
    if (parts.scheme, port, parts.path) != (urlsplit(serve.url).scheme, serve.port, ""):
        return False
    host = parts.hostname or ""
    return (
        host in (serve.host, *serve.names)
        or serve.host in ANY_ADDRESS
        or (is_loopback(host) and is_loopback(serve.host))
    )


def _takes_telemetry(config: Mapping[str, Any], name: str) -> bool:
    section = _get(config, f"vehicle.{name}")
    return isinstance(section, dict) and bool(section.get("syncTelemetry")) and section.get("enabled") is not False


def _get(config: Mapping[str, Any], dotted: str) -> Any:
    node: Any = config
    for part in dotted.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
