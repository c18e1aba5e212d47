"""Fixes for init, for a TeslaMate's docker-compose.yml, and for the demo."""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Step
from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {
    (Cause.UNREADABLE_FILE, "compose"): (Step("Name TeslaMate's docker-compose.yml itself."),),
    (Cause.UNREADABLE_FILE, "compose-denied"): (Step("Name a file that you can read."),),
    (Cause.BAD_SYNTAX, "compose"): (Step("Name the docker-compose.yml that starts TeslaMate."),),
    (Cause.BAD_SYNTAX, "compose-yaml"): (
        Step("Fix the file. Docker Compose itself says more:", "docker compose config"),
    ),
    (Cause.BAD_SYNTAX, "compose-value"): (Step("Correct it there, or give that value to tmsync yourself."),),
    (Cause.BAD_SYNTAX, "compose-include"): (
        Step("Let Docker Compose put everything into one file, and name that:", "docker compose config > all.yml"),
    ),
    (Cause.BAD_SYNTAX, "env-line"): (Step("Fix that line; Docker Compose cannot read the file either."),),
    (Cause.BAD_SYNTAX, "env-file"): (Step("Put it into {folder}, or give tmsync yourself what stands in it."),),
    (Cause.BAD_SYNTAX, "compose-no-teslamate"): (
        Step("Name the docker-compose.yml that starts TeslaMate, or say which service it is with --compose-service."),
        Step("Or leave the file out, and answer the questions."),
    ),
    (Cause.BAD_SYNTAX, "compose-service"): (Step("Name one that is there with --compose-service."),),
    (Cause.BAD_SYNTAX, "compose-two"): (
        Step("Say which one is meant, such as --compose-service {service}. In a terminal tmsync init asks."),
    ),
    (Cause.BAD_VALUE, "exists"): (
        Step("--force replaces it (the old one stays as a backup); --output FILE writes elsewhere."),
    ),
    (Cause.BAD_VALUE, "not-utf-8"): (Step("Put it into a file of its own and name that with {variable}_FILE."),),
    (Cause.UNREADABLE_FILE, "output"): (
        Step("Name another place with --output, or run tmsync init as a user who may write there."),
    ),
    (Cause.USAGE, "no-terminal"): (
        Step("Run it in a terminal, or with --non-interactive and flags.", "tmsync init --help"),
    ),
    (Cause.MISSING_SETTING, "neither"): (
        Step("Name one: --db-host for the tokens, --mqtt-host for the telemetry."),
    ),
    Cause.OUTPUT_UNWRITABLE: (Step("Free some space, or send the output elsewhere."),),
    (Cause.INTERNAL, "demo-postgres"): (
        Step("Install one:", "sudo apt-get install postgresql"),
        Step("Or bring one along with tmsync:", "pip install 'tmsync[demo]'"),
    ),
    (Cause.INTERNAL, "demo-broker"): (
        Step("Install one:", "sudo apt-get install mosquitto"),
        Step("Or bring one along with tmsync:", "pip install 'tmsync[demo]'"),
    ),
    (Cause.INTERNAL, "demo-root"): (Step("Run tmsync demo as another user."),),
    (Cause.INTERNAL, "demo"): (
        Step("Try again; if it happens again, please report this line and what stands above it."),
    ),
}  # fmt: skip
