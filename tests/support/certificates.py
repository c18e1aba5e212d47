"""A certificate authority of our own, for tests of TLS."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Issues server certificates; `root` is its own."""

    def __init__(self, folder: Path, name: str = "tmsync test authority") -> None:
        self.folder = folder
        self.issued = 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._build(self.name, self.key, is_authority=True)
        self.root = folder / f"{name.replace(' ', '-')}.crt"
        self.root.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.root.chmod(0o644)
        folder.chmod(0o755)

    def issue(self, host: str, names: Sequence[str] | None = None, *, passphrase: str = "") -> tuple[Path, Path]:
        """Certificate and key files; `host` is the common name and, unless `names` are given, the one other name.

        names: alternative names; those that are addresses are certified as such, unless "DNS:" stands in front.
        passphrase: encrypts the key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._build(subject, key, names=[host] if names is None else names)
        self.issued += 1
        stem = f"{host}-{self.issued}" if names is not None or passphrase else host
        paths = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        lock = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else None
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                lock or serialization.NoEncryption(),
            )
        )
        paths[1].chmod(0o600)
        return paths

    def revoke(self, *certificates: Path) -> Path:
        """A revocation list that names these certificates."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - timedelta(hours=1))
            .next_update(now + timedelta(days=1))
        )
        for file in certificates:
            serial = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(revoked)
        path = self.folder / f"revoked-{len(certificates)}.crl"
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: Sequence[str] = (),
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.removeprefix("DNS:"))
