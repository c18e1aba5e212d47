"""Answers an authentication request by hand, to see the SQLSTATE that a client library hides when a login fails.

Used only after the real login (psycopg2's) has failed, and sends no more than libpq itself sent.

Source: RFC 5802, RFC 7677, RFC 4013; PostgreSQL documentation, "SASL Authentication" and "Message Formats".
"""

import base64
import hashlib
import hmac
import os
from typing import Final

from tmsync.core.postgres.wire import Answer, Demand, Garbage, Method, ServerError, Wire

SASL_CONTINUE: Final = 11
SASL_FINAL: Final = 12
MAX_ITERATIONS: Final = 1_000_000
"""More would be a hostile server's attempt to keep this machine busy."""


def authenticate(wire: Wire, demand: Demand, user: str, password: str) -> ServerError | None:
    """Log in; None once the session is ready, or the error that ended it.

    Raises: Garbage, Closed, TimeoutError, OSError; Garbage also for a method that takes no password.
    """
    match demand.method:
        case Method.TRUST:
            return wire.until_ready()
        case Method.PASSWORD:
            answer = wire.reply(_text(password) + b"\0")
        case Method.MD5:
            inner = hashlib.md5(_text(password) + _text(user), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + demand.data[4:8], usedforsecurity=False).hexdigest()
            answer = wire.reply(b"md5" + outer.encode() + b"\0")
        case Method.SCRAM:
            answer = _scram(wire, password)
        case _:
            raise Garbage
    if isinstance(answer, ServerError):
        return answer
    if answer.method is not Method.TRUST:
        raise Garbage
    return wire.until_ready()


def _scram(wire: Wire, password: str) -> Answer:
    nonce = base64.b64encode(os.urandom(18)).decode()
    first_bare = f"n=,r={nonce}"
    first = f"n,,{first_bare}".encode()
    answer = wire.reply(b"SCRAM-SHA-256\0" + len(first).to_bytes(4, "big") + first)
    if isinstance(answer, ServerError):
        return answer
    server_first = _sasl(answer, SASL_CONTINUE)
    fields = dict(part.split("=", 1) for part in server_first.split(",") if "=" in part)
    try:
        salt, rounds, combined = base64.b64decode(fields["s"]), int(fields["i"]), fields["r"]
    except (KeyError, ValueError):
        raise Garbage from None
    if not combined.startswith(nonce) or not 1 <= rounds <= MAX_ITERATIONS:
        raise Garbage
    salted = hashlib.pbkdf2_hmac("sha256", _text(saslprep(password)), salt, rounds)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final_bare = f"c=biws,r={combined}"
    signed = f"{first_bare},{server_first},{final_bare}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    answer = wire.reply(f"{final_bare},p={base64.b64encode(proof).decode()}".encode())
    if isinstance(answer, Demand) and answer.data[:4] == SASL_FINAL.to_bytes(4, "big"):
        return wire.next_answer()
    return answer


def _sasl(answer: Demand, code: int) -> str:
    if int.from_bytes(answer.data[:4], "big") != code:
        raise Garbage
    return answer.data[4:].decode("utf-8", "replace")


def saslprep(password: str) -> str:
    """The password as SCRAM hashes it; unchanged where it holds what SASLprep prohibits, as PostgreSQL does it."""
    if password.isascii():
        return password
    import stringprep
    import unicodedata

    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c))
    prepared = unicodedata.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if not prepared or any(test(char) for char in prepared for test in prohibited):
        return password
    return prepared


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
