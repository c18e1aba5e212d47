"""Foreign text made harmless for a screen."""


def printable(text: str) -> str:
    """`text` on one line, with everything that could move a cursor or break a line shown as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
