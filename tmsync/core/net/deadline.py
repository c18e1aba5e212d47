"""A limit in time for what knows none of its own: name services, database logins, answers that drip."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


class Overdue(TimeoutError):
    """It did not end in time."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, run in a thread that is left to itself after `seconds`.

    Raises: Overdue, and whatever `work` raises.
    """
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise Overdue(f"no result within {seconds:g} s")
    return results[0]


@contextmanager
def cutting(fileno: int, seconds: float) -> Iterator[None]:
    """Shut the connection `fileno` down unless the block ends within `seconds`: whoever waits for it gives up.

    Raises: Overdue in place of whatever the block raised, or returned, once the connection is shut.
    """
    overdue = threading.Event()

    def cut() -> None:
        overdue.set()
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    # A duplicate: TLS takes the socket itself away, and a library may close its own.
    with socket.fromfd(fileno, socket.AF_UNIX, socket.SOCK_STREAM) as handle:
        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception as error:
            if overdue.is_set():
                raise Overdue("timed out") from error
            raise
        finally:
            timer.cancel()
            timer.join()
    if overdue.is_set():
        raise Overdue("timed out")
