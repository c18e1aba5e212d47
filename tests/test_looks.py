"""What tmsync prints can be read on a dark and on a light background."""

import re

import pytest
from rich.color import Color
from rich.style import Style

from tests.support.brokers import BLUE, broker, needs_mosquitto
from tests.support.surroundings import tmsync
from tests.support.terminal import terminal
from tmsync.cli import COMMANDS
from tmsync.render import styles

ALLOWED = {"", "0", "1", "2", "32", "1;31", "30;43", "1;37;41"}
"""Select Graphic Rendition: what the styles come to, and back to plain."""
SCREENS = (["check-db"], ["status", "--wait", "1"], ["watch-mqtt", "--once"], ["config"])
COLOUR = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
Rgb = tuple[int, int, int]
# Background, foreground, then ANSI colours: 0 to 3, and 9 for terminals that show bold in the bright colour.
PALETTES: dict[str, tuple[Rgb, Rgb, dict[int, Rgb]]] = {
    "dark": (
        (30, 30, 30),
        (212, 212, 212),
        {
            0: (0, 0, 0),
            1: (205, 49, 49),
            2: (13, 188, 121),
            3: (229, 229, 16),
            7: (229, 229, 229),
            9: (241, 76, 76),
            15: (255, 255, 255),
        },
    ),
    "light": (
        (255, 255, 255),
        (0, 0, 0),
        {
            0: (46, 52, 54),
            1: (204, 0, 0),
            2: (78, 154, 6),
            3: (196, 160, 0),
            7: (211, 215, 207),
            9: (239, 41, 41),
            15: (238, 238, 236),
        },
    ),
}
LEAST_CONTRAST = 3.0
"""For large or bold text and for signs. Source: WCAG 2.1, success criteria 1.4.3 and 1.4.11."""


def luminance(colour: Rgb) -> float:
    """Source: WCAG 2.1, relative luminance."""
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def used() -> list[str]:
    everyone = [value for name, value in vars(styles).items() if name.isupper() and isinstance(value, str)]
    return sorted({*everyone, *styles.HELP.values()})


@pytest.mark.parametrize("background", PALETTES)
@pytest.mark.parametrize("name", used())
def test_every_style_can_be_read(name: str, background: str) -> None:
    behind, before, colours = PALETTES[background]
    style = Style.parse(name)

    def seen(colour: Color | None, otherwise: Rgb, *, bright: bool = False) -> Rgb:
        if colour is None or colour.number is None:
            return otherwise
        return colours[colour.number + (8 if bright else 0)]

    paper = seen(style.bgcolor, behind)
    ink = seen(style.color, before, bright=bool(style.bold))
    if style.dim:
        ink = tuple((one + other) // 2 for one, other in zip(ink, paper, strict=True))  # type: ignore[assignment]
    assert contrast(ink, paper) >= LEAST_CONTRAST


def rendition(told: str) -> set[str]:
    return set(re.findall(r"\x1b\[([\d;]*)m", told))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_keeps_to_the_styles(command: str) -> None:
    told = tmsync(*filter(None, [command]), "--help", environ=COLOUR).out
    assert "\x1b[1m" in told
    assert rendition(told) <= ALLOWED


@needs_mosquitto
def test_every_screen_keeps_to_the_styles() -> None:
    with broker() as mosquitto:
        for car_id, state in enumerate(("charging", "suspended", "updating", "online"), 2):
            mosquitto.publisher.car(car_id, display_name=state, state=state, battery_level=str(car_id * 5))
        mosquitto.publisher.car(1, **BLUE, healthy="false")
        environ = {**mosquitto.environ(), **COLOUR, "TMSYNC_DATABASE_HOST": "127.0.0.1", "TMSYNC_DATABASE_PORT": "1"}
        told = {command[0]: tmsync(*command, environ=environ).out for command in SCREENS}
        with terminal(["watch-mqtt"], {**environ, "TMSYNC_HEALTH_LATE_AFTER_ONLINE": "1"}) as screen:
            screen.wait_for(lambda lines: any("waiting" in line for line in lines))
            mosquitto.publisher.healthy(car_id=5)
            screen.wait_for(lambda lines: any("late" in line for line in lines))
            assert screen.end() == 0
        told["live"] = screen.raw.decode()
    for name, output in told.items():
        assert "\x1b[1m" in output, name
        assert rendition(output) <= ALLOWED, name
    assert "\x1b[1;37;41m" in told["status"]
    assert "\x1b[30;43m" in told["live"]
