"""Questions and answers on a terminal: on standard error, so that standard output keeps to results."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from tmsync.commands import output
from tmsync.render.text import printable

ANSWER_CELLS = 24
"""Such as an address."""


class EndOfAnswers(Exception):
    """Standard input has ended: nobody is there to answer."""


def say(text: str = "") -> None:
    """Tell something."""
    output.say(text)


def show(rendered: str) -> None:
    """Show what is in lines already."""
    output.message(rendered.rstrip("\n"))


def is_possible() -> bool:
    """Whether somebody sits there."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, default: str = "", *, shown: str = "", cells: int = ANSWER_CELLS) -> str:
    """A line of text, without the blanks around it; Enter alone takes the default.

    shown: the default in words. cells: room to leave beside the question for the answer.
    """
    offered = shown or default
    text = f"  {question} [{printable(offered)}]:" if offered else f"  {question}:"
    sys.stderr.write(f"{output.for_reading(sys.stderr, text, spare=cells + 1)} ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        _ended()
    return line.strip() or default


def ask_secret(question: str, *, known: bool = False) -> str:
    """A line that is not shown while it is typed; empty where Enter alone keeps what is known. Not trimmed."""
    import getpass

    text = f"  {question} (not shown{'; Enter keeps it' if known else ''}):"
    try:
        # The stream also takes the line break that ends the hidden line.
        return getpass.getpass(f"{output.for_reading(sys.stderr, text, spare=1)} ", sys.stderr)
    except EOFError:
        _ended()


def choose(question: str, choices: Sequence[tuple[str, str]]) -> str:
    """One of `choices`, (letter, words); Enter alone takes the first, and so does y where only n is offered, or n where
    only y is.
    """
    letters = [letter for letter, _ in choices[1:]]
    words = ", ".join(f"{letter} {what}" for letter, what in choices[1:])
    while True:
        answer = ask(f"{question} Enter {choices[0][1]}, {words}", cells=1).lower()
        answer = {"yes": "y", "no": "n"}.get(answer, answer)
        if not answer or letters == [{"y": "n", "n": "y"}.get(answer)]:
            return choices[0][0]
        if answer in letters:
            return answer
        say(f"  That is not one of the answers: Enter, {', '.join(letters)}.")


def _ended() -> NoReturn:
    say()
    raise EndOfAnswers
