"""TLS as libpq sets it up under each sslmode, so that its verdict can be told before the real login.

Source: PostgreSQL documentation, "SSL Support"; src/interfaces/libpq/fe-secure-openssl.c.
"""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Cause
from tmsync.core.files.paths import expanded, is_there

if TYPE_CHECKING:
    import ssl

SYSTEM_ROOTS: Final = "system"
"""sslrootcert=system stands for the operating system's certificate store (PostgreSQL 16+)."""
NAME_MISMATCH: Final = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


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

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    root = target.sslrootcert or (str(default_root()) if is_there(default_root()) else None)
    verifies = target.sslmode in ("verify-ca", "verify-full") or (target.sslmode == "require" and root is not None)
    context.check_hostname = target.sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    if verifies:
        _trust(context, root)
    _identify(context)
    try:
        return context.wrap_socket(sock, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        mismatch = error.verify_code in NAME_MISMATCH
        raise TlsFailed(Cause.TLS_NAME_MISMATCH if mismatch else Cause.TLS_UNTRUSTED, error.verify_message) from None
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "handshake failed"
        raise TlsFailed(Cause.TLS_FAILED, str(reason)) from None


def _trust(context: "ssl.SSLContext", root: str | None) -> None:
    if root is None:
        raise TlsFailed(Cause.TLS_UNTRUSTED, "no root certificate: database.sslrootcert is not set")
    if root == SYSTEM_ROOTS:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(cafile=root)
    except OSError as error:
        raise TlsFailed(Cause.TLS_UNTRUSTED, f"{root} is no readable root certificate: {error.strerror}") from None


def _identify(context: "ssl.SSLContext") -> None:
    """Present libpq's default client certificate, where there is one: pg_hba.conf may ask for it."""
    certificate = expanded("~/.postgresql/postgresql.crt")
    if is_there(certificate):
        try:
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        except OSError:
            return
