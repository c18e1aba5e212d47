"""TLS as libpq sets it up under each sslmode, so that its result can be told before the real login.

Source: PostgreSQL documentation, "SSL Support"; src/interfaces/libpq/fe-secure-openssl.c (initialize_SSL,
pgtls_verify_peer_name_matches_certificate_guts), src/interfaces/libpq/fe-secure-common.c (the comparison of names).
"""

import ipaddress
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tmsync.core.causes import Cause
from tmsync.core.config.settings import DatabaseSettings

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
NOT_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
NOT_FOR_OTHERS_OF_ROOT: Final = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


class TlsFailed(Exception):
    """TLS could not be set up: cause tls-untrusted, tls-name-mismatch or tls-failed, and OpenSSL's words."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause = cause
        self.words = words


def secure(sock: socket.socket, target: DatabaseSettings, environ: Mapping[str, str]) -> "ssl.SSLSocket":
    """Wrap `sock`, which the server has just answered SSLRequest with `S` on; verify what libpq would verify.

    Raises: TlsFailed, TimeoutError.
    """
    import ssl

    from tmsync.core.net.tls import mismatch_or_untrusted

    context = _context(target, environ)
    try:
        # Never an address: it is no SNI.
        wrapped = context.wrap_socket(sock, server_hostname=None if _address(target.host) else target.host)
    except ssl.SSLCertVerificationError as error:
        raise TlsFailed(mismatch_or_untrusted(error), error.verify_message) from None
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "handshake failed"
        raise TlsFailed(Cause.TLS_FAILED, str(reason)) from None
    if target.sslmode == "verify-full":
        certificate: Mapping[str, Any] = wrapped.getpeercert() or {}
        if not fits(certificate, target.host):
            wrapped.close()
            raise TlsFailed(Cause.TLS_NAME_MISMATCH, f"it is for {', '.join(_names(certificate)) or 'no name'}")
    return wrapped


def _context(target: DatabaseSettings, environ: Mapping[str, str]) -> "ssl.SSLContext":
    import ssl

    from tmsync.core.net.tls import UnusableFile, client_context

    home = Path(environ.get("HOME") or "~").expanduser() / ".postgresql"
    root = target.sslrootcert or str(home / "root.crt")
    system = root == SYSTEM_ROOTS
    if system and target.sslmode != "verify-full":
        raise TlsFailed(
            Cause.TLS_UNTRUSTED, f'sslrootcert "system" goes with sslmode verify-full, not {target.sslmode}'
        )
    # Where the file is, libpq verifies in every mode; where it is not, in none but these two.
    verifies = system or _exists(root)
    if not verifies and target.sslmode in ("verify-ca", "verify-full"):
        raise TlsFailed(Cause.TLS_UNTRUSTED, f"the root certificate {root} does not exist (database.sslrootcert)")
    try:
        context = client_context(verify=verifies, roots=None if system else root, check_name=False)
    except UnusableFile as error:
        raise TlsFailed(Cause.TLS_UNTRUSTED, f"the root certificate {root} cannot be read: {error}") from None
    if verifies and not system:
        revoked = target.sslcrl, environ.get("PGSSLCRLDIR") or None
        if revoked == (None, None):
            revoked = str(home / "root.crl"), None
        # As libpq: a list that is not there is no fault.
        with suppress(OSError):
            context.load_verify_locations(*revoked)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN
    _identify(context, target, home, environ)
    return context


def _identify(context: "ssl.SSLContext", target: DatabaseSettings, home: Path, environ: Mapping[str, str]) -> None:
    """Present the client certificate that libpq would present.

    Raises: TlsFailed where libpq would give up.
    """
    from tmsync.core.net.tls import UnusableFile, identify

    certificate = target.sslcert or str(home / "postgresql.crt")
    key = target.sslkey or str(home / "postgresql.key")
    if environ.get("PGSSLCERTMODE") == "disable" or not _exists(certificate):
        return
    try:
        found = Path(key).stat()
    except OSError as error:
        raise TlsFailed(Cause.TLS_FAILED, f"the client certificate's key {key}: {error.strerror}") from None
    if found.st_mode & (NOT_FOR_OTHERS_OF_ROOT if found.st_uid == 0 else NOT_FOR_OTHERS):
        raise TlsFailed(Cause.TLS_FAILED, f"the client certificate's key {key} can be read by others: chmod 600 {key}")
    try:
        identify(context, certificate, key)
    except UnusableFile as error:
        raise TlsFailed(Cause.TLS_FAILED, f"the client certificate {certificate}: {error}") from None


def _exists(path: str) -> bool:
    try:
        Path(path).stat()
    except (OSError, ValueError):
        return False
    return True


# -- names


def fits(certificate: Mapping[str, Any], host: str) -> bool:
    """Whether libpq takes `certificate` for `host`'s. certificate: as SSLSocket.getpeercert gives it.

    Alternative names of both kinds are compared; the common name only where there is none of the host's own kind.
    """
    address = _address(host)
    own_kind = "IP Address" if address else "DNS"
    names = certificate.get("subjectAltName", ())
    for kind, name in names:
        if kind == "DNS" and _same(name, host):
            return True
        if kind == "IP Address" and address and ipaddress.ip_address(name) == address:
            return True
    return own_kind not in {kind for kind, _ in names} and _same(_common_name(certificate), host)


def _names(certificate: Mapping[str, Any]) -> list[str]:
    """The names to tell."""
    return [str(name) for _, name in certificate.get("subjectAltName", ())] or [_common_name(certificate)]


def _common_name(certificate: Mapping[str, Any]) -> str:
    pairs = [pair for part in certificate.get("subject", ()) for pair in part]
    return next((str(value) for key, value in pairs if key == "commonName"), "")


def _same(pattern: str, host: str) -> bool:
    """Whether a name is the host's: alike but for case, or with a star for its first part."""
    pattern, host = pattern.lower(), host.lower()
    if "\0" in pattern or not pattern:
        return False
    first, dot, rest = host.partition(".")
    return pattern == host or (len(pattern) > 2 and bool(first and dot) and pattern == f"*.{rest}")


def _address(host: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    """The address that `host` spells, as inet_aton and inet_pton read it."""
    with suppress(OSError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    with suppress(OSError, ValueError):
        return ipaddress.IPv6Address(socket.inet_pton(socket.AF_INET6, host))
    return None
