"""Fixes for vehicles and their telemetry."""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes

LOGS: Final = "docker compose logs --tail 50 teslamate"
NATIVE_LOGS: Final = "journalctl -u teslamate -n 50 --no-pager"
BROKER: Final = "docker compose exec teslamate printenv MQTT_HOST\ndocker compose logs teslamate | grep -i mqtt"
NATIVE_BROKER: Final = "systemctl cat teslamate | grep MQTT_\njournalctl -u teslamate --no-pager | grep -i mqtt"
RESTART: Final = "docker compose restart teslamate"
NATIVE_RESTART: Final = "sudo systemctl restart teslamate"
PUBLISH_AGAIN: Final = (
    Step("Restart TeslaMate, which then publishes every value again:", RESTART, Place.DOCKER),
    Step(
        "Let the broker keep them over its own restarts, in mosquitto.conf, with a volume for /mosquitto/data:",
        "persistence true\npersistence_location /mosquitto/data/",
        Place.DOCKER,
    ),
)
NATIVE_PUBLISH_AGAIN: Final = (
    Step("Restart TeslaMate, which then publishes every value again:", NATIVE_RESTART, Place.NATIVE),
    Step(
        "Let the broker keep them over its own restarts, in mosquitto.conf:",
        "persistence true\npersistence_location /var/lib/mosquitto/",
        Place.NATIVE,
    ),
)

FIXES: Final[Fixes] = {
    Cause.NO_VEHICLES: (
        Step(
            "See which broker TeslaMate publishes to, and whether it reaches it:",
            BROKER,
            Place.DOCKER,
        ),
        Step(
            "See which broker TeslaMate publishes to, and whether it reaches it:",
            NATIVE_BROKER,
            Place.NATIVE,
        ),
        Step(
            "The broker's access list must let this user read teslamate/#; Mosquitto leaves out silently what it"
            " does not allow."
        ),
    ),
    (Cause.NO_VEHICLES, "other-namespace"): (
        Step("Cars were seen {seen}: set mqtt.namespace (--namespace) to {named}."),
    ),
    (Cause.NO_VEHICLES, "other-cars"): (Step("Give --car one that is there ({known}), or no --car."),),
    Cause.STALE: (
        Step(
            "See whether TeslaMate runs and reaches the broker:", f"docker compose ps teslamate\n{LOGS}", Place.DOCKER
        ),
        Step(
            "See whether TeslaMate runs and reaches the broker:",
            f"systemctl status teslamate --no-pager\n{NATIVE_LOGS}",
            Place.NATIVE,
        ),
    ),
    Cause.UNHEALTHY: (
        Step("See what keeps TeslaMate from Tesla's API:", LOGS, Place.DOCKER),
        Step("See what keeps TeslaMate from Tesla's API:", NATIVE_LOGS, Place.NATIVE),
    ),
    Cause.BLIND: (
        Step("See on TeslaMate's web page (port 4000) whether it is signed in; if not, sign in again."),
        Step("See what keeps TeslaMate from Tesla's API:", LOGS, Place.DOCKER),
        Step("See what keeps TeslaMate from Tesla's API:", NATIVE_LOGS, Place.NATIVE),
    ),
    Cause.MQTT_LINK_LOST: (
        Step("See which broker TeslaMate publishes to, and why it lost the connection:", BROKER, Place.DOCKER),
        Step("Then restart it:", RESTART, Place.DOCKER),
        Step("See which broker TeslaMate publishes to, and why it lost the connection:", NATIVE_BROKER, Place.NATIVE),
        Step("Then restart it:", NATIVE_RESTART, Place.NATIVE),
    ),
    Cause.LEFT_OVER: (
        Step("If the car was sold, or is no longer logged, clear its topics (-h is the broker); tmsync does not:"),
        Step("", "mosquitto_sub -h localhost {topics} --retained-only --remove-retained -W 5"),
        Step("Otherwise switch its logging on, on TeslaMate's settings page, and restart TeslaMate."),
    ),
    Cause.NOT_PUBLISHED: (
        Step(
            "TeslaMate publishes a car that was added or enabled after its start only when it starts again:",
            RESTART,
            Place.DOCKER,
        ),
        Step(
            "TeslaMate publishes a car that was added or enabled after its start only when it starts again:",
            NATIVE_RESTART,
            Place.NATIVE,
        ),
    ),
    (Cause.NOT_PUBLISHED, "all"): (
        *PUBLISH_AGAIN,
        Step("If that does not help, see which broker TeslaMate publishes to:", BROKER, Place.DOCKER),
        *NATIVE_PUBLISH_AGAIN,
        Step("If that does not help, see which broker TeslaMate publishes to:", NATIVE_BROKER, Place.NATIVE),
    ),
    Cause.RETAINED_LOST: (*PUBLISH_AGAIN, *NATIVE_PUBLISH_AGAIN),
    Cause.DUPLICATE_NAME: (
        Step(
            "TWCManager matches vehicles by display name: give each its own in the Tesla app, and restart TWCManager."
        ),
    ),
    Cause.NAMELESS: (
        Step("TWCManager matches vehicles by display name: name each in the Tesla app, and restart TWCManager."),
    ),
    Cause.RENAMED: (
        Step("TWCManager matches vehicles by display name, and reads the names when it starts: restart TWCManager."),
    ),
}
