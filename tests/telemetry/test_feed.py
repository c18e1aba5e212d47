"""Reading ahead for paho: the same bytes, the same end, the same errors."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmsync.core.telemetry.connection import _Buffer


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_a_buffer_gives_what_the_socket_gives_in_order_and_then_its_end(chunks: list[bytes], sizes: list[int]) -> None:
    coming = iter([*chunks, *[b""] * 100])
    buffer = _Buffer(lambda _: next(coming))
    wanted, taken = b"".join(chunks), b""
    for size in [*sizes, *[40] * 20]:
        got = buffer.take(size)
        assert len(got) <= size
        assert got or taken == wanted
        taken += got
    assert taken == wanted[: len(taken)]


def test_a_socket_that_has_nothing_now_is_asked_again() -> None:
    def coming() -> Iterator[bytes]:
        yield b"ab"
        yield b"c"

    answers = coming()
    silent = True

    def receive(_: int) -> bytes:
        if silent:
            raise BlockingIOError
        return next(answers)

    buffer = _Buffer(receive)
    with pytest.raises(BlockingIOError):
        buffer.take(1)
    silent = False
    assert (buffer.take(1), bool(buffer)) == (b"a", True)
    assert (buffer.take(1), bool(buffer)) == (b"b", False)
    silent = True
    with pytest.raises(BlockingIOError):
        buffer.take(1)
    silent = False
    assert buffer.take(5) == b"c"
