"""What is to be read is broken between words, and a command to paste never."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.support.surroundings import tmsync
from tests.support.terminal import terminal
from tmsync.core.errors import Step
from tmsync.render.problems import Line, step_lines
from tmsync.render.text import wrapped


def test_an_error_is_broken_between_words() -> None:
    arguments = ["watch-mqtt", "--mqtt-host", "127.0.0.1", "--mqtt-port", "1"]
    whole = tmsync(*arguments).err
    with terminal(arguments, {}, 60, 24) as screen:
        assert screen.process.wait(30) == 1
        lines = screen.wait_for(lambda lines: sum(map(bool, lines)) > 16)
    lines = [line for line in lines if line]
    assert len(lines) > len(whole.splitlines())
    assert " ".join(lines).split() == whole.split()
    assert any(re.search(r"docker compose up -d mosquitto", line) for line in lines)


def test_a_command_to_paste_stays_whole_however_narrow_the_screen() -> None:
    step = Step("See what keeps TeslaMate from Tesla's API:", "docker compose logs --tail 50 teslamate")
    assert list(step_lines([step], 30)) == [
        Line("  1. See what keeps TeslaMate"),
        Line("     from Tesla's API:"),
        Line("       docker compose logs --tail 50 teslamate", to_paste=True),
    ]


@given(st.lists(st.sampled_from(["a", "word", "sudo", "tmsync", "x;", "status.", "(-"])), st.integers(1, 40))
def test_wrapping_loses_nothing_and_breaks_no_word(words: list[str], width: int) -> None:
    lines = wrapped(" ".join(words), width).split("\n")
    assert " ".join(lines).split() == words
    assert all(len(line) <= width or " " not in line for line in lines)
