"""TLS as libpq sets it up under each sslmode, so that its verdict can be told before the real login.

Source: PostgreSQL documentation, "SSL Support"; src/interfaces/libpq/fe-secure-openssl.c.
"""

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Cause
from tmsync.core.files.paths import expanded, is_there

if TYPE_CHECKING:
    import ssl

SYSTEM_ROOTS: Final = "system"
"""sslrootcert=system stands for the operating system's certificate store (PostgreSQL 16+)."""
NEEDS_TLS: Final = frozenset({"require", "verify-ca", "verify-full"})
ROUTES: Final = {
    "disable": (False,),
    "allow": (False, True),
    "prefer": (True, False),
    "require": (True,),
    "verify-ca": (True,),
    "verify-full": (True,),
}
"""What each sslmode makes libpq try, in order; True is with TLS."""


class TlsFailed(Exception):
    """TLS could not be set up: cause tls-untrusted, tls-name-mismatch or tls-failed, and OpenSSL's words."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause
        self.words = words


def default_root() -> Path:
    """Where libpq looks for certificates when sslrootcert is not set."""
    return expanded("~/.postgresql/root.crt")


def secure(sock: socket.socket, target: DatabaseSettings) -> "ssl.SSLSocket":
    """Wrap `sock`, which the server has just answered SSLRequest with `S` on; verify what the sslmode asks for.

    Raises: TlsFailed, TimeoutError.
    """
    import ssl

    from tmsync.core.net.tls import UnusableFile, client_context, identify, mismatch_or_untrusted

    root = target.sslrootcert or (str(default_root()) if is_there(default_root()) else None)
    verifies = target.sslmode in ("verify-ca", "verify-full") or (target.sslmode == "require" and root is not None)
    if verifies and root is None:
        raise TlsFailed(Cause.TLS_UNTRUSTED, "no root certificate: database.sslrootcert is not set")
    try:
        context = client_context(
            verify=verifies, roots=None if root == SYSTEM_ROOTS else root, check_name=target.sslmode == "verify-full"
        )
    except UnusableFile as error:
        raise TlsFailed(Cause.TLS_UNTRUSTED, f"{root} is no readable root certificate: {error}") from None
    certificate = expanded("~/.postgresql/postgresql.crt")
    if is_there(certificate):
        with suppress(UnusableFile):
            identify(context, str(certificate), str(certificate.with_suffix(".key")))
    try:
        return context.wrap_socket(sock, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        raise TlsFailed(mismatch_or_untrusted(error), error.verify_message) from None
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "handshake failed"
        raise TlsFailed(Cause.TLS_FAILED, str(reason)) from None
