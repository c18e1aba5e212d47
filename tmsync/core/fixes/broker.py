"""Fixes for the MQTT broker.

Source: mosquitto.conf(5), "acl_file"; EMQX documentation, "Use ACL File".
"""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {
    Cause.NOT_MQTT: (
        Step("Set mqtt.port to the broker's: 1883 is usual, 8883 with TLS; 4000 is TeslaMate's web page."),
        Step(
            "A published port with nothing behind it closes the connection at once, too:",
            "docker compose ps mosquitto",
            Place.DOCKER,
        ),
    ),
    Cause.NOT_AUTHORISED: (
        Step("Set mqtt.username, and mqtt.password or mqtt.password_file, to an account of the broker."),
        Step("To create an account in Mosquitto:", "sudo mosquitto_passwd /etc/mosquitto/passwd tmsync"),
        Step("Or let Mosquitto accept everybody in your network, in its configuration:", "allow_anonymous true"),
    ),
    (Cause.REFUSED, "connack"): (
        Step("The broker's log says why:", "docker compose logs --tail 20 mosquitto", Place.DOCKER),
        Step("The broker's log says why:", "journalctl -u mosquitto -n 20 --no-pager", Place.NATIVE),
    ),
    (Cause.TIMEOUT, "silent"): (
        Step("Check mqtt.port: this may be another kind of server, or a broker that hangs."),
    ),
    (Cause.TIMEOUT, "subscription"): (Step("Try again; a broker or a network that hangs looks like this."),),
    (Cause.TIMEOUT, "no-connection"): (Step("Check mqtt.host; this machine's name service may hang."),),
    Cause.TLS_MISMATCH: (
        Step("Switch TLS on, and name the authority where it is your own, under [mqtt] in tmsync's configuration file:",
             'tls = true\nca_file = "/etc/tmsync/root.crt"'),
    ),
    (Cause.TLS_MISMATCH, "plain-broker"): (
        Step("Switch TLS off, under [mqtt] in tmsync's configuration file:", "tls = false"),
        Step("Or set mqtt.port to the broker's TLS port; 8883 is usual."),
    ),
    (Cause.TLS_UNTRUSTED, "wants-certificate"): (
        Step("If the broker wants a client certificate, set mqtt.cert_file and mqtt.key_file."),
    ),
    (Cause.TLS_UNTRUSTED, "refuses-certificate"): (
        Step("Check that the broker trusts the authority of mqtt.cert_file."),
    ),
    (Cause.UNREADABLE_FILE, "pem"): (Step("Name a PEM file that the user who runs tmsync can read."),),
    (Cause.CONNECTION_LOST, "broker"): (
        Step("Nothing to do if the broker was restarted: tmsync reconnects by itself."),
    ),
    (Cause.CONNECTION_LOST, "stood-still"): (
        Step("Nothing to do if the machine slept or was paused: tmsync reconnects by itself."),
    ),
    (Cause.CONNECTION_LOST, "values-missing"): (Step("Try again."),),
    Cause.COMMAND_FAILED: (Step("Try the command by hand; it runs again at the next change."),),
    (Cause.NOT_AUTHORISED, "subscription"): (
        Step(
            "Let it read TeslaMate's topics. In Mosquitto's acl_file (without a user, above all user lines), then"
            " restart Mosquitto:",
            "{user_line}topic read teslamate/#",
        ),
        Step(
            "In EMQX's acl.conf, above the rule that denies the rest:",
            '{{allow, {emqx_who}, subscribe, ["teslamate/#"]}}.',
        ),
    ),
    (Cause.NOT_AUTHORISED, "publishing"): (
        Step("Let it write there. In Mosquitto's acl_file, then restart Mosquitto:",
             "{user_line}{topic_lines}"),
        Step("In EMQX's acl.conf, above the rule that denies the rest:",
             "{{allow, {emqx_who}, all, {topics}}}."),
        Step("Or publish nothing, under [publish] in tmsync's configuration file:", "enabled = false"),
    ),
}  # fmt: skip
