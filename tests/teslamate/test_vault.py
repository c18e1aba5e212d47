"""Decryption of what TeslaMate stores."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.teslamate.vectors import DAMAGED, GENUINE, Vector
from tmsync.core.causes import Cause
from tmsync.core.errors import DecryptionFailed
from tmsync.core.secret import Secret
from tmsync.core.teslamate.token_store import open_token
from tmsync.core.teslamate.vault import HEADER, decrypt, encrypt


@pytest.mark.parametrize("vector", DAMAGED, ids=lambda vector: vector.name)
def test_damaged_ciphertext_fails_with_its_cause(vector: Vector) -> None:
    with pytest.raises(DecryptionFailed) as caught:
        decrypt(bytes.fromhex(vector.ciphertext), vector.key)
    assert caught.value.cause == vector.expected
    assert vector.key not in f"{caught.value} {caught.value.problem.hint}"


@pytest.mark.parametrize("vector", GENUINE, ids=lambda vector: vector.name)
def test_genuine_ciphertext_decrypts(vector: Vector) -> None:
    assert decrypt(bytes.fromhex(vector.ciphertext), vector.key) == vector.expected


@pytest.mark.parametrize("vector", GENUINE, ids=lambda vector: vector.name)
def test_every_changed_byte_behind_the_header_is_noticed(vector: Vector) -> None:
    data = bytearray.fromhex(vector.ciphertext)
    for at in range(len(HEADER), min(len(data), 60)):
        data[at] ^= 0x20
        with pytest.raises(DecryptionFailed):
            decrypt(bytes(data), vector.key)
        data[at] ^= 0x20


def test_key_file_with_and_without_its_line_break_both_open() -> None:
    for vector in GENUINE:
        if vector.name in ("key_trailing_newline", "docs_placeholder_key"):
            trimmed = vector.key.removesuffix("\n")
            read_from_file = Secret(trimmed, (trimmed + "\n",))
            assert open_token(bytes.fromhex(vector.ciphertext), read_from_file).reveal() == vector.expected


def test_hint_when_only_a_line_break_is_missing() -> None:
    vector = next(vector for vector in GENUINE if vector.name == "key_trailing_newline")
    with pytest.raises(DecryptionFailed, match="with a line break at its end") as caught:
        open_token(bytes.fromhex(vector.ciphertext), Secret(vector.key.strip()))
    assert caught.value.cause is Cause.WRONG_KEY


@given(st.binary(max_size=200), st.text(max_size=20))
def test_no_bytes_whatever_do_more_than_fail(data: bytes, key: str) -> None:
    with pytest.raises(DecryptionFailed):
        decrypt(data, key)


@given(st.binary(max_size=120), st.text(max_size=20))
def test_no_bytes_behind_a_good_header_do_more_than_fail(data: bytes, key: str) -> None:
    with pytest.raises(DecryptionFailed):
        decrypt(HEADER + data, key)


@given(st.text(max_size=300), st.text(min_size=1, max_size=50), st.sampled_from([12, 16]))
def test_what_is_encrypted_decrypts(token: str, key: str, iv_bytes: int) -> None:
    assert decrypt(encrypt(token, key, os.urandom(iv_bytes)), key) == token
