"""Text for a screen: foreign text made harmless, long text broken into lines."""


def printable(text: str) -> str:
    """`text` on one line, with everything that could move a cursor or break a line shown as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """`text` in lines of `width` columns at most, broken between words; a word too long stands on a line of its own."""
    # Most runs have nothing to wrap, and need not pay for this when they start.
    import textwrap

    return textwrap.fill(
        text,
        max(width, 1),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
