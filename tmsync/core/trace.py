"""What happens inside, told to whoever listens (`--verbose`); silent and free of cost otherwise.

Nothing secret is ever handed in: callers pass host names, file names and outcomes only.
"""

from collections.abc import Callable

_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Send every later line to `listener`."""
    _listeners.append(listener)


def say(line: str) -> None:
    """Tell one line to the listeners."""
    for listener in _listeners:
        listener(line)
