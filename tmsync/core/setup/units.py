"""systemd's units for `tmsync serve`, and TWCManager's lines for it.

Source: systemd.service(5), systemd.socket(5), systemd.exec(5) (sandboxing, LoadCredential, StateDirectory).
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tmsync.core.config.schema import BY_NAME, BadValue, from_text
from tmsync.core.config.settings import ServeSettings
from tmsync.core.config.twc_json import TwcConfig
from tmsync.core.errors import Step

SERVICE: Final = "tmsync.service"
SOCKET: Final = "tmsync.socket"
HOMES: Final = ("/home", "/root", "/run/user")
"""What ProtectHome hides."""
_SERVICE: Final = """\
[Unit]
Description=The link between TeslaMate and TWCManager
Wants=network-online.target
After=network-online.target{after}
Before=twcmanager.service{requires}

[Service]
Type=notify
User={user}
ExecStart={program} --config ${{CREDENTIALS_DIRECTORY}}/config.toml serve
LoadCredential=config.toml:{config}
WatchdogSec=60
Restart=always
RestartSec=5
StateDirectory=tmsync
StateDirectoryMode=0700
ReadWritePaths={settings}
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome={home}
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""
_SOCKET: Final = """\
[Unit]
Description=The port at which TWCManager asks tmsync in place of Tesla

[Socket]
ListenStream={address}

[Install]
WantedBy=sockets.target
"""


@dataclass(frozen=True, slots=True)
class UnitPlace:
    """What hangs on the machine. program, config, settings: absolute; settings: the folder of TWCManager's settings."""

    user: str
    program: str
    config: Path
    settings: Path
    serve: ServeSettings | None


def units(place: UnitPlace) -> dict[str, str]:
    """Name -> text. A socket only where something listens: nobody else can take its port while serve restarts."""
    listens = place.serve is not None
    file, arguments = _divided(place.program)
    found = {
        SERVICE: _SERVICE.format(
            user=place.user,
            program=_escaped(file) + arguments,
            config=_literal(str(place.config)),
            settings=_escaped(f"-{place.settings}"),
            home=_protect_home(place),
            after=f" {SOCKET}" if listens else "",
            requires=f"\nRequires={SOCKET}" if listens else "",
        )
    }
    if place.serve is not None:
        found[SOCKET] = _SOCKET.format(address=place.serve.address)
    return found


def _divided(program: str) -> tuple[str, str]:
    """The file, which may have blanks in its name, and the arguments of `python -m tmsync`."""
    file, module, rest = program.partition(" -m ")
    return file, module + rest


def _protect_home(place: UnitPlace) -> str:
    """As closed as can be: what must be written, or only run, may lie there."""
    program, _ = _divided(place.program)
    if str(place.settings).startswith(HOMES):
        return "no"
    return "read-only" if any(path.startswith(HOMES) for path in (program, os.path.realpath(program))) else "yes"


def _literal(text: str) -> str:
    """For what takes the rest of its line: % is systemd's own sign."""
    return text.replace("%", "%%")


def _escaped(text: str) -> str:
    """For a word among others, which blanks divide."""
    return f'"{_literal(text)}"' if " " in text else _literal(text)


def twcmanagers_lines(serve: ServeSettings) -> list[str]:
    """What its config.json must say, and the whole way back: without them it asks Tesla itself."""
    found = [f'"teslaProxy": {json.dumps(serve.url)},']
    if serve.tls_cert is not None:
        found.append(f'"teslaProxyCert": {json.dumps(serve.tls_cert)},')
    return found


def former_proxy(twc: TwcConfig | None, serve: ServeSettings) -> tuple[dict[str, Any], list[Step]]:
    """TWCManager's present teslaProxy as serve's upstream, and what cannot be taken over.

    It may be a proxy that signs commands, and what goes up to Tesla must go on going through it.
    """
    proxy = twc.get("config.teslaProxy") if twc is not None else None
    if twc is None or not isinstance(proxy, str) or not proxy or proxy.rstrip("/") == serve.url:
        return {}, []
    found: dict[str, Any] = {}
    certificate = twc.get("config.teslaProxyCert")
    notes = []
    try:
        found["serve.upstream"] = from_text(BY_NAME["serve.upstream"], proxy)
    except BadValue as error:
        notes.append(Step(f"TWCManager's teslaProxy is not taken over as serve.upstream, which takes: {error}."))
        return found, notes
    if isinstance(certificate, str) and certificate:
        found["serve.upstream_ca_file"] = certificate
    elif certificate is False:
        notes.append(Step("TWCManager does not verify its teslaProxy; tmsync does: set serve.upstream_ca_file."))
    return found, notes
