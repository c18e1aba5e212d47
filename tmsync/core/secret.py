"""A value that never shows itself by accident."""

import re
from typing import Final

MASK: Final = "********"
_QUOTATION: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_LOGIN: Final = re.compile(r"\S*:\S*@|\S*://.*@")
_NAMED: Final = re.compile(r"((?:pass|pwd|secret|token|key)[a-z_]*[\"']?\s*[=:]).+", re.IGNORECASE | re.DOTALL)


class Secret:
    """A password, key or token. Printing, formatting or logging it yields a mask; `reveal` is the only way in.

    `candidates` are further readings of the same secret, tried in order by those who can prove one right: a secret
    file usually ends in a newline that is not part of the secret, but an encryption key may really hold one.
    """

    __slots__ = ("_alternatives", "_value")

    def __init__(self, value: str, alternatives: tuple[str, ...] = ()) -> None:
        self._value = value
        self._alternatives = alternatives

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def candidates(self) -> tuple[str, ...]:
        """The secret first, then its other readings."""
        return (self._value, *self._alternatives)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.candidates() == self.candidates()

    def __hash__(self) -> int:
        return hash(self.candidates())

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not serialised")


def redacted(text: str) -> str:
    """`text` without what looks like a secret: the login in `mqtt://user:password@host`, what follows `password=`."""
    return _NAMED.sub(r"\1...", _LOGIN.sub("...@", text))


def holds_secret(text: str) -> bool:
    """Whether something in `text` looks like a secret."""
    return redacted(text) != text


def without_quotations(words: str) -> str:
    """A parser's message without what it quotes of the text, but for single characters and names of its own (`<...>`).

    What stands where no YAML can stand may well be half a password: `found undefined alias 'hunter2'`.
    """
    return _QUOTATION.sub(lambda found: found[0] if len(found[0]) <= 3 or found[0][1] == "<" else "...", words)
