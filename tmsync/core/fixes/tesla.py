"""Fixes for what Tesla's API answers to requests that tmsync serve forwards.

Source: Tesla Fleet API documentation, "Response Codes", "Partner Endpoints", "Vehicle Commands"; the README of
github.com/teslamotors/vehicle-command.
"""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Step
from tmsync.core.fixes import Fixes

FIXES: Final[Fixes] = {
    Cause.SIGNED_COMMANDS: (
        Step("Let Tesla's vehicle-command proxy sign them: run tesla-http-proxy, and name it under [serve].",
             '[serve]\nupstream = "https://localhost:4443"\nupstream_ca_file = "/etc/tmsync/tesla-proxy.pem"'),
        Step("Or let TWCManager command the car by Bluetooth, with its TeslaBLE module."),
    ),
    Cause.WRONG_REGION: (
        Step("Sign in again on TeslaMate's web page (port 4000), so that its token names your region."),
        Step("If serve.upstream is set, name the host of your region there, or remove it."),
    ),
    Cause.CLIENT_REFUSED: (
        Step("Register the Fleet API application, whose token TeslaMate uses, in this region (POST"
             " /api/1/partner_accounts), as its manual describes."),
    ),
    (Cause.CLIENT_REFUSED, "scopes"): (
        Step("Sign in again on TeslaMate's web page (port 4000) with a token that may also command: for the Fleet API"
             " with the scopes vehicle_cmds and vehicle_charging_cmds."),
        Step("See in Tesla's app (Profile, Third-Party Apps) that the application may still use the account."),
    ),
    (Cause.CLIENT_REFUSED, "energy"): (
        Step("Sign in again on TeslaMate's web page (port 4000) with a token that may also read energy products: for"
             " the Fleet API with the scope energy_device_data."),
        Step("Or switch TWCManager's Powerwall module off, if there is none."),
    ),
    Cause.TOKEN_REFUSED: (
        Step("Sign in again on TeslaMate's web page (port 4000). tmsync goes on by itself as soon as TeslaMate has"
             " another token."),
        Step("If serve.upstream_token is set, give it the token that TeslaMate runs with."),
    ),
    Cause.RATE_LIMITED: (
        Step("Wait; a charge is stopped all the same. If it comes again, see what else uses the account, and ask"
             " TWCManager to look less often (cloudUpdateInterval in its config.json)."),
    ),
    Cause.UPSTREAM_UNREACHABLE: (
        Step("See whether it can be reached from this machine:", "curl -sSI {url}"),
        Step("If serve.upstream is set, check it and serve.upstream_ca_file."),
    ),
    Cause.UPSTREAM_UNKNOWN: (
        Step("Name the host under [serve]:", '[serve]\nupstream = "https://fleet-api.prd.eu.vn.cloud.tesla.com"'),
    ),
    Cause.REQUEST_LOOP: (
        Step("Set serve.upstream to Tesla's host or to a proxy that does not send its requests back here."),
    ),
    (Cause.REQUEST_LOOP, "teslamate"): (
        Step("Remove TESLA_API_HOST from TeslaMate's environment, or set it to what it was: tmsync answers from"
             " TeslaMate, and TeslaMate cannot be answered from itself."),
    ),
}  # fmt: skip
