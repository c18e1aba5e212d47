"""A configuration file with every setting, none of them set."""

from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from tests.reference.pages import ROOT
from tmsync.core.config.kinds import Kind
from tmsync.core.config.schema import SECTIONS, SETTINGS, TITLES, Setting

PATH: Final = ROOT / "packaging" / "config.toml"
HEAD: Final = "# Every setting of tmsync, with its default or an example. tmsync.toml(5) tells more of each.\n"
EXAMPLES: Final[Mapping[Kind, Any]] = {
    Kind.HOST: "192.168.1.5",
    Kind.BROKER: "192.168.1.5",
    Kind.PORT: 1883,
    Kind.SECONDS: 900,
    Kind.ACCOUNT: "tmsync",
    Kind.SECRET: "it may stand in a file instead: {key}_file",
    Kind.FILE: "/etc/tmsync/{key}",
    Kind.URL: "http://192.168.1.5:4000",
    Kind.UPSTREAM: "https://fleet-api.prd.eu.vn.cloud.tesla.com",
    Kind.LISTEN: "127.0.0.1:8089",
    Kind.ARGUMENTS: ["sudo", "-n", "systemctl", "restart", "twcmanager"],
    Kind.PATHS: ["/api/1/vehicles/{vehicle}/command/honk_horn"],
    Kind.NAMES: ["tmsync"],
    Kind.TEXT: "scram-sha-256",
}


def sample() -> str:
    """Comments and settings, each commented out; where the sign is taken away before one, it is valid."""
    parts = [HEAD]
    for section in SECTIONS:
        parts.append(f"\n# {TITLES[section]}\n[{section}]\n")
        for setting in SETTINGS:
            if setting.section == section:
                line = f"{setting.key} {tomli_w.dumps({'': value_of(setting)}, multiline_strings=False)[3:]}"
                parts.append(f"# {setting.described}\n#" + " ".join(line.split()) + "\n")
    return "".join(parts)


def value_of(setting: Setting) -> Any:
    """Its default, else an example."""
    if setting.default not in (None, ()):
        return setting.default
    told = setting.otherwise.partition(",")[0]
    if told in setting.choices or told.startswith("/"):
        return told
    if setting.choices:
        return setting.choices[-1]
    example = EXAMPLES[setting.kind]
    return example.replace("{key}", setting.key) if isinstance(example, str) else example
