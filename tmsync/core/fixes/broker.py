"""Fixes for the MQTT broker.

Source: mosquitto.conf(5), "acl_file"; EMQX documentation, "Use ACL File".
"""

from typing import Final

from tmsync.core.errors import Cause, Step
from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {
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
}
