"""What each sslmode makes libpq try.

Source: PostgreSQL documentation, "SSL Support" (table of sslmode).
"""

from typing import Final

NEEDS_TLS: Final = frozenset({"require", "verify-ca", "verify-full"})
# In order; True is with TLS.
ROUTES: Final = {
    "disable": (False,),
    "allow": (False, True),
    "prefer": (True, False),
    "require": (True,),
    "verify-ca": (True,),
    "verify-full": (True,),
}
