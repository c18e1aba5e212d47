"""Any name a car may be given, in every format: nothing moves a cursor, breaks a line or ends a label."""

import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tests.hostile.effort import NASTY, NOW, examples, is_clean
from tests.telemetry.following import default_rules
from tmsync.core.causes import Cause
from tmsync.core.clock import Instant
from tmsync.core.errors import Problem, Step
from tmsync.core.status.report import Broker, Database, Part, RatedProblem, Severity, Status
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.telemetry.health import Source, Verdict
from tmsync.core.telemetry.hooks import Hook
from tmsync.core.telemetry.views import SourceChange, VehicleView, source_message
from tmsync.core.twcmanager.held import Held
from tmsync.core.twcmanager.presence import Presence
from tmsync.render.document import document
from tmsync.render.monitoring import nagios, nagios_unknown, prometheus
from tmsync.render.status import render
from tmsync.render.watch import ScreenState, WatchScreen, json_line, log_line, once_table, verdict_line

RULES = default_rules()
LABEL = r'[a-z_]+="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"tmsync_[a-z_]+(\{{{LABEL}(?:,{LABEL})*\}})? (-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)")
COMMENT = re.compile(r"# (HELP|TYPE) tmsync_[a-z_]+ [ -~]+")


def seen(level: str = "63", limit: str = "80") -> VehicleView:
    watch = Fleet("", RULES)
    watch.connected(0.0)
    values = {"state": "charging", "since": "2026-11-24T16:00:00Z", "battery_level": level, "charge_limit_soc": limit,
              "charger_power": "11", "time_to_full_charge": "1.5", "healthy": "true"}  # fmt: skip
    for key, value in values.items():
        watch.message(f"teslamate/cars/1/{key}", value.encode(), 0.0, retained=False)
    return watch.views(Instant(NOW, 1.0))[0]


VIEW = seen()
NUMBERS = st.sampled_from(["0", "100", "-5", "1e308", "-1e308", "1e-300", "9" * 32, "12.5"])
VIEWS = st.builds(
    lambda view, name, state, reason, verdict: view._replace(
        name=name, names=(name,), state=state, judgement=view.judgement._replace(reason=reason, verdict=verdict)
    ),
    st.builds(seen, NUMBERS, NUMBERS), NASTY, NASTY, NASTY, st.sampled_from(Verdict),
)  # fmt: skip
FLEETS = st.lists(VIEWS, min_size=1, max_size=3).map(
    lambda views: [view._replace(car_id=index) for index, view in enumerate(views)]
)


def status_of(views: list[VehicleView], words: str) -> Status:
    problem = Problem(Cause.CONNECTION_LOST, words, (Step(words, words),), (words,))
    held = Held(Presence.RUNNING, words, words, words, problem=problem)
    broker = Broker(ok=True, where=words, namespace=words, vehicles=tuple(views))
    rated = (
        RatedProblem(Severity.CRITICAL, Part.DATABASE, problem),
        RatedProblem(Severity.WARNING, Part.BROKER, problem),
    )
    return Status(NOW, words, Database(ok=False, where=words, problem=problem), held, broker, rated)


def screen(width: int) -> Console:
    return Console(
        width=width, height=24, markup=False, emoji=False, highlight=False, force_terminal=False, color_system=None
    )


@examples(150)
@given(FLEETS, st.integers(1, 200))
def test_table_at_any_width_is_clean_and_no_wider(views: list[VehicleView], width: int) -> None:
    table = once_table(views, screen(width), NOW)
    assert is_clean(table)
    assert max(map(cell_len, table.split("\n"))) <= width
    picture = WatchScreen("nas port 1883")
    picture.add_source(
        SourceChange(NOW, 1, views[0].name, Source.TESLAMATE, Source.TESLA_API, Verdict.STALE, views[0].name)
    )
    console = screen(width)
    with console.capture() as capture:
        console.print(picture.draw(views, console, NOW, ScreenState("", 1.0)))
    assert is_clean(capture.get())
    assert max(map(cell_len, capture.get().split("\n"))) <= width
    assert is_clean(picture.last_words(console))


@examples(100)
@given(FLEETS, NASTY, st.integers(20, 200))
def test_status_for_people_is_clean(views: list[VehicleView], words: str, width: int) -> None:
    assert is_clean(render(status_of(views, words), screen(width)))


@examples(150)
@given(FLEETS, NASTY)
def test_json_is_one_document_and_keeps_the_name(views: list[VehicleView], words: str) -> None:
    for view in views:
        line = json_line("vehicle", view.as_json())
        assert line.isascii()
        assert line.index("\n") == len(line) - 1
        told = json.loads(line)
        assert (told["name"], told["state"]) == (as_json(view.name), as_json(view.state or ""))
    whole = document("status", status_of(views, words).as_json())
    assert whole.isascii()
    assert [vehicle["name"] for vehicle in json.loads(whole)["vehicles"]] == [as_json(view.name) for view in views]


def as_json(text: str) -> str:
    """JSON joins two lone surrogates that happen to be a pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@examples(150)
@given(VIEWS)
def test_log_is_one_clean_line(view: VehicleView) -> None:
    message = source_message(view.name, Source.TESLA_API, view.judgement.verdict, again=True)
    for line in (verdict_line(view), log_line(NOW, message)):
        assert is_clean(line)
        assert line.index("\n") == len(line) - 1
        assert line.startswith("2026-11-24T18:00:00Z ")


@examples(150)
@given(FLEETS, NASTY)
def test_nagios_has_one_bar_in_its_first_line_and_no_other(views: list[VehicleView], words: str) -> None:
    said, code = nagios(status_of(views, words))
    first, *others = said.removesuffix("\n").split("\n")
    assert (code, len(others)) == (2, 2)
    assert re.fullmatch(r"TMSYNC CRITICAL - [^|]* \| [a-z_]+=-?[0-9]+( [a-z_]+=-?[0-9]+)*", first)
    assert "|" not in "".join(others)
    assert is_clean(said)
    unknown, code = nagios_unknown(Problem(Cause.BAD_VALUE, words, (Step(words),)))
    assert (code, unknown.count("\n"), unknown.count("|")) == (3, 1, 0)
    assert is_clean(unknown)


@examples(150)
@given(FLEETS)
def test_prometheus_lines_match_its_grammar(views: list[VehicleView]) -> None:
    told = prometheus(status_of(views, ""))
    assert told.endswith("\n")
    assert is_clean(told)
    for line in told.removesuffix("\n").split("\n"):
        assert SAMPLE.fullmatch(line) or COMMENT.fullmatch(line), line
        found = SAMPLE.fullmatch(line)
        if found is not None:
            float(found[2])


@pytest.mark.parametrize("name", ["\x1b[31m\r\n'\"`id`$(id)", "\ud800|\u202e", "{}\\n\x00", "\U0001f697" * 50])
def test_a_command_gets_the_name_as_one_line_of_json_and_in_no_argument(tmp_path: Path, name: str) -> None:
    got = tmp_path / "got"
    program = "import sys; open(sys.argv[1], 'wb').write(repr(sys.argv[2:]).encode() + sys.stdin.buffer.read())"
    problems: list[Problem] = []
    hook = Hook([sys.executable, "-c", program, str(got)], problems.append)
    message = source_message(name, Source.TESLA_API, Verdict.STALE, again=False)
    change = SourceChange(NOW, 1, name, Source.TESLAMATE, Source.TESLA_API, Verdict.STALE, message)
    hook.run({"event": "source", **change.as_json()})
    hook.close()
    assert problems == []
    arguments, line = got.read_bytes()[:2], got.read_bytes()[2:]
    assert (arguments, line.count(b"\n"), line.isascii()) == (b"[]", 1, True)
    assert json.loads(line)["name"] == name


def test_a_name_wider_than_the_terminal_is_cut_between_characters() -> None:
    wide = VIEW._replace(name="\u8eca" * 40, names=("\u8eca" * 40,))
    for width in range(1, 60):
        assert max(map(cell_len, once_table([wide], screen(width), NOW).split("\n"))) <= width


def test_silence_of_any_length_is_drawn() -> None:
    old = VIEW._replace(silence_s=1e9, last_heartbeat_at=NOW - timedelta(seconds=1e9), since=NOW.replace(year=1))
    assert is_clean(once_table([old], screen(80), NOW))
