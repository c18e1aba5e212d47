"""Fixes for TeslaMate's tokens: their encryption, and what they say of themselves.

Source: TeslaMate lib/teslamate/vault.ex (where its key comes from), website/docs/configuration/api.md.
"""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes

KEY: Final = (
    Step("Set teslamate.encryption_key to TeslaMate's ENCRYPTION_KEY, byte for byte."),
    Step("It is here:", "docker compose exec teslamate printenv ENCRYPTION_KEY", Place.DOCKER),
    Step(
        "If that prints nothing, TeslaMate made a key itself and keeps it in /opt/app/import/tm_encryption.key, or in"
        " the temporary folder of its container.",
        place=Place.DOCKER,
    ),
    Step("It is here:", "systemctl cat teslamate | grep ENCRYPTION_KEY", Place.NATIVE),
    Step(
        "If that prints nothing, TeslaMate made a key itself and keeps it in tm_encryption.key, in its import folder or"
        " its temporary folder.",
        place=Place.NATIVE,
    ),
)
SIGN_IN: Final = Step("Sign in to your Tesla account on TeslaMate's web page (port 4000), then try again.")
LOG: Final = (
    Step(
        "TeslaMate's log says why it does not renew its tokens:",
        "docker compose logs --tail 50 teslamate",
        Place.DOCKER,
    ),
    Step(
        "TeslaMate's log says why it does not renew its tokens:",
        "journalctl -u teslamate -n 50 --no-pager",
        Place.NATIVE,
    ),
)

FIXES: Final[Fixes] = {
    Cause.NO_KEY: KEY,
    Cause.WRONG_KEY: (Step("Configure the key {how}."), *KEY),
    Cause.CORRUPT: (Step("Sign in again on TeslaMate's web page (port 4000), so that it stores new tokens."),),
    Cause.PLAIN_TEXT: (Step("Update TeslaMate: it encrypts its tokens since 1.27.0."),),
    Cause.EXPIRED: (
        SIGN_IN,
        Step("sync-tokens exports an expired token only with --force."),
        *LOG,
    ),
    Cause.EXPIRES_SOON: LOG,
    Cause.NOT_RENEWED: (
        Step("See on TeslaMate's web page (port 4000) whether it is signed in; if not, sign in again."),
        *LOG,
    ),
    Cause.NO_JWT: (Step("Sign in again on TeslaMate's web page (port 4000), if Tesla refuses the token."),),
    Cause.OWNER_API: (
        Step(
            "Send TWCManager's requests through tmsync serve (config.teslaProxy), which knows the host for this token."
        ),
        Step("Or give TeslaMate access to the Fleet API, as its manual describes, and sign in again."),
    ),
    Cause.NO_REFRESH_TOKEN: (
        Step(
            "Share none, under [twcmanager] in tmsync's configuration file:",
            'refresh_token = "withhold"',
        ),
        Step("Or sign in again on TeslaMate's web page (port 4000)."),
    ),
}
