"""TLS as a client: the parts that PostgreSQL, MQTT and web connections share."""

import ssl
from typing import Final

from tmsync.core.causes import Cause

NAME_MISMATCH: Final = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class UnusableFile(Exception):
    """A certificate or key file cannot be used. `file` is its path, the text why."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(why)
        self.file = file


def client_context(*, verify: bool, roots: str | None, check_name: bool = True) -> ssl.SSLContext:
    """TLS 1.2 or newer.

    roots: a PEM file of trusted authorities; None is the system's certificate store. Unread unless `verify`.
    Raises: UnusableFile.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verify and check_name
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if not verify:
        return context
    try:
        if roots is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=roots)
    except OSError as error:
        raise UnusableFile(roots or "", _about_file(error)) from None
    return context


def identify(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Present a client certificate. A key that wants a passphrase is unusable: nobody is ever asked for one.

    Raises: UnusableFile.
    """
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise UnusableFile(certificate, _about_file(error)) from None


def mismatch_or_untrusted(error: ssl.SSLCertVerificationError) -> Cause:
    """What a verification that failed comes to."""
    return Cause.TLS_NAME_MISMATCH if error.verify_code in NAME_MISMATCH else Cause.TLS_UNTRUSTED


def _about_file(error: Exception) -> str:
    if not isinstance(error, ssl.SSLError):
        return getattr(error, "strerror", None) or type(error).__name__
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "it holds no PEM certificate or key, or the key has a passphrase"
