"""Mosquitto as the tests want it: with logins, access lists, TLS, and values that outlive it."""

import base64
import hashlib
import secrets
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tmsync.demo.broker import PrivateMosquitto, answers

HASH_ROUNDS: Final = 101
"""PBKDF2 rounds of mosquitto_passwd, which Mosquitto also demands as the least."""


def password_line(user: str, password: str) -> str:
    """A line of Mosquitto's password file ($7$: PBKDF2 with SHA-512).

    Made here and not by mosquitto_passwd, which takes the password as an argument that everybody can see.
    Source: Mosquitto apps/mosquitto_passwd/mosquitto_passwd.c, lib/password_mosq.c.
    """
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ROUNDS)
    parts = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{user}:$7${HASH_ROUNDS}${'$'.join(parts)}\n"


@dataclass
class Mosquitto(PrivateMosquitto):
    """A private Mosquitto with more to set.

    passwords: by user name; without any, everybody may come in.
    acl: text of an ACL file.
    tls: certificate and key file; client_ca: the authority whose client certificates are demanded.
    persistence: whether retained values outlive an orderly stop.
    extra: further lines of mosquitto.conf.
    """

    passwords: Mapping[str, str] | None = field(default=None, repr=False)
    acl: str | None = None
    tls: tuple[Path, Path] | None = None
    client_ca: Path | None = None
    persistence: bool = False
    extra: Sequence[str] = ()

    def _configuration(self) -> list[str]:
        lines = super()._configuration()
        if self.passwords:
            self._write_private("passwords", "".join(password_line(*login) for login in self.passwords.items()))
            lines[lines.index("allow_anonymous true")] = "allow_anonymous false"
            lines.append("password_file passwords")
        if self.acl is not None:
            self._write_private("acl", self.acl)
            lines.append("acl_file acl")
        if self.tls is not None:
            for name, source in zip(("certfile", "keyfile"), self.tls, strict=True):
                self._write_private(name, source.read_text())
                lines.append(f"{name} {name}")
            if self.client_ca is not None:
                self._write_private("cafile", self.client_ca.read_text())
                lines += ["cafile cafile", "require_certificate true"]
        if self.persistence:
            # persistence_location is put before file names as it is, hence the slash.
            lines += ["persistence true", "persistence_location ./"]
        return [*lines, *self.extra]

    def _answers(self) -> bool:
        if self.tls is None:
            return super()._answers()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            return answers(self.port, context.wrap_socket)
        except ssl.SSLError:
            # It wants a certificate that is not here: that is an answer.
            return True
