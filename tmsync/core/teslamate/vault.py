"""Decrypts what TeslaMate stored with Cloak's AES.GCM cipher.

Layout: byte 0 is 0x01, byte 1 the length of the key tag, the key tag `AES.GCM.V1`, a 12-byte IV, the 16-byte GCM tag,
the ciphertext. AES-256-GCM; the key is the SHA-256 of the raw ENCRYPTION_KEY bytes, never trimmed. The additional
authenticated data is `AES256GCM`; the header is not authenticated.

Source: Cloak lib/cloak/ciphers/aes_gcm.ex and lib/cloak/tags/decoder.ex, TeslaMate lib/teslamate/vault.ex.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import DecryptionFailed, Problem
from tmsync.core.fixes import problem

HEADER: Final = b"\x01\x0aAES.GCM.V1"
AAD: Final = b"AES256GCM"
GCM_TAG_BYTES: Final = 16
IV_BYTES: Final = (12, 16)
"""TeslaMate's 12 first; Cloak's older default of 16 is not told apart by the data, so both are tried."""


def is_plain_text(data: bytes) -> bool:
    """Whether `data` is a token in the clear, as TeslaMate < 1.27.0 stored it."""
    return bool(data) and data[0] != HEADER[0] and data.isascii() and data.decode("ascii").isprintable()


def decrypt(data: bytes, key: str) -> str:
    """The token in `data`, decrypted with the ENCRYPTION_KEY `key` (surrogate escapes stand for raw bytes).

    Raises: DecryptionFailed with cause plain-text (not encrypted at all), corrupt (no intact Cloak ciphertext) or
    wrong-key (the GCM tag does not verify).
    """
    if is_plain_text(data):
        raise DecryptionFailed(problem(Cause.PLAIN_TEXT, "the token is stored in plain text"))
    body = data[len(HEADER) :]
    if not data.startswith(HEADER) or len(body) < IV_BYTES[0] + GCM_TAG_BYTES:
        message = f"the stored token is not a Cloak AES.GCM.V1 ciphertext ({len(data)} bytes)"
        raise DecryptionFailed(problem(Cause.CORRUPT, message))
    plain = _open(body, hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        raise DecryptionFailed(problem(Cause.CORRUPT, "the token decrypts to bytes that are no text")) from None


def find_key(data: bytes, candidates: Sequence[str]) -> str | None:
    """The first of `candidates` that decrypts `data`; None when none does."""
    for key in candidates:
        try:
            decrypt(data, key)
        except DecryptionFailed as error:
            if error.cause is not Cause.WRONG_KEY:
                return None
        else:
            return key
    return None


def _open(body: bytes, key: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(key)
    for length in IV_BYTES:
        iv, rest = body[:length], body[length:]
        if len(rest) < GCM_TAG_BYTES:
            break
        try:
            return cipher.decrypt(iv, rest[GCM_TAG_BYTES:] + rest[:GCM_TAG_BYTES], AAD)
        except InvalidTag:
            continue
    raise DecryptionFailed(wrong_key())


def wrong_key(how: str | None = None) -> Problem:
    """how: what to change of the key, where a key changed that way fits."""
    message = "the stored token does not decrypt with the configured encryption_key"
    return problem(Cause.WRONG_KEY, f"{message}; it does {how}" if how else message, how=how)


def encrypt(token: str, key: str, iv: bytes) -> bytes:
    """The bytes TeslaMate would store for `token`; for the demo and for tests, never used on a real database."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())
    sealed = cipher.encrypt(iv, token.encode("utf-8"), AAD)
    return HEADER + iv + sealed[-GCM_TAG_BYTES:] + sealed[:-GCM_TAG_BYTES]
