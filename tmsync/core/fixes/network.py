"""Fixes for the way to a server, whichever it is: name, port, TLS.

Their values: `section` of the settings, `host`, and a server's own from `DATABASE` or `BROKER`.

Source: TeslaMate docs/installation/docker.md (service names `database`, `mosquitto`, `teslamate`; nothing published but
4000); PostgreSQL documentation, "Connections and Authentication"; mosquitto.conf(5).
"""

from collections.abc import Mapping
from typing import Any, Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes

DATABASE: Final[Mapping[str, str | int | None]] = {
    "section": "database",
    "server": "PostgreSQL",
    "service": "database",
    "inner_port": 5432,
    "unit": "postgresql",
    "listen_file": "postgresql.conf",
    "listen": "listen_addresses = '*'",
    "add_on": "PostgreSQL",
    "roots": "sslrootcert",
    "issuer_only": 'sslmode = "verify-ca"',
    "unverified": 'sslmode = "require"',
}
BROKER: Final[Mapping[str, str | int | None]] = {
    "section": "mqtt",
    "server": "The broker",
    "service": "mosquitto",
    "inner_port": 1883,
    "unit": "mosquitto",
    "listen_file": "a file in /etc/mosquitto/conf.d",
    "listen": "listener 1883",
    "add_on": None,
    "roots": "ca_file",
    "issuer_only": None,
    "unverified": "insecure = true",
}


def where(server: Mapping[str, str | int | None], host: str, port: int) -> dict[str, Any]:
    """The values that these fixes need. server: DATABASE or BROKER."""
    usual = port == server["inner_port"]
    return {
        **server,
        "host": host,
        "port": port,
        "odd_port": None if usual else port,
        "usual_port": port if usual else None,
    }


FIXES: Final[Fixes] = {
    Cause.UNRESOLVABLE: (
        Step(
            "Names of containers, such as {service}, are known inside Docker only: set {section}.host to the name or"
            " address of the machine that runs Docker.",
            place=Place.DOCKER,
        ),
        Step("Set {section}.host to a name that this machine can look up, or to an IP address.", place=Place.NATIVE),
    ),
    Cause.REFUSED: (
        Step("{server} usually listens on {inner_port}: set {section}.port, unless {odd_port} is meant."),
        Step(
            "TeslaMate's own docker-compose.yml publishes no port of the service {service}. Add this to that service:",
            '    ports:\n      - "{port}:{inner_port}"',
            Place.DOCKER,
        ),
        Step("Then start it again, and see that it runs:", "docker compose up -d {service}", Place.DOCKER),
        Step("", "docker compose ps {service}", Place.DOCKER),
        Step("See whether the server runs:", "systemctl status {unit} --no-pager", Place.NATIVE),
        Step(
            "It listens on localhost only, unless told otherwise. In {listen_file}, then restart:",
            "{listen}\nsudo systemctl restart {unit}",
            Place.NATIVE,
        ),
        Step(
            "The {add_on} add-on of Home Assistant publishes its port only when one is entered on its Configuration"
            " page, under Network.",
            place=Place.NATIVE,
        ),
        Step("Set {section}.port, if the server does not use {usual_port}.", place=Place.NATIVE),
    ),
    Cause.TIMEOUT: (
        Step("See whether the machine is on and reachable from here:", "ping -c 3 {host}"),
        Step("A firewall may drop the packets. On the server, for ufw:", "sudo ufw allow {port}/tcp"),
        Step(
            "Addresses of containers (172.x) are known inside Docker only: set {section}.host to the address of the"
            " machine that runs Docker.",
            place=Place.DOCKER,
        ),
    ),
    Cause.UNREACHABLE: (
        Step("Check {section}.host, and this machine's network:", "ip route get {host}"),
        Step(
            "Addresses of containers (172.x) are known inside Docker only: set {section}.host to the address of the"
            " machine that runs Docker.",
            place=Place.DOCKER,
        ),
    ),
    Cause.TLS_UNTRUSTED: (
        Step(
            "Name the certificate of the authority that signed the server's, under [{section}] in tmsync's"
            " configuration file:",
            '{roots} = "/etc/tmsync/root.crt"',
        ),
        Step("Or encrypt without checking who the server is (remove {roots} from there, too):", "{unverified}"),
    ),
    Cause.TLS_NAME_MISMATCH: (
        Step("Set {section}.host to a name that the certificate holds; it does not hold {host}."),
        Step(
            "Or check the certificate's issuer only, under [{section}] in tmsync's configuration file:", "{issuer_only}"
        ),
    ),
}
