"""Any topic and any payload, retained or not: nothing raises, and what else is known stays known."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.effort import NASTY, NOW, examples
from tests.telemetry.following import default_rules
from tmsync.core.clock import Instant
from tmsync.core.telemetry.fleet import Fleet
from tmsync.core.teslamate.topics import PARSERS, namespace_of, parse_topic
from tmsync.render.watch import json_line

RULES = default_rules()
KNOWN = {"display_name": b"Blue", "state": b"charging", "since": b"2026-11-24T16:00:00Z", "battery_level": b"63",
         "plugged_in": b"true", "odometer": b"1653.5"}  # fmt: skip
TYPED = {"display_name": "Blue", "state": "charging", "since": "2026-11-24T16:00:00Z", "battery_level": 63,
         "plugged_in": True, "odometer": 1653.5}  # fmt: skip
LEVELS = st.one_of(
    st.sampled_from(["teslamate", "cars", "1", "2", "01", "-1", "0", "2147483647", "99999999999", "\u0661", "", "+",
        "#"]),
    st.sampled_from(sorted(PARSERS)), NASTY,
)  # fmt: skip
OTHER_TOPICS = st.one_of(
    st.lists(LEVELS, max_size=6).map("/".join),
    st.builds("teslamate/cars/{}/{}".format, st.integers(0, 2**33), st.sampled_from(sorted(PARSERS))),
)
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    NASTY.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([
        b"", b"nil", b"null", b"true", b"TRUE", b"1e308", b"-1e308", b"1e309", b"1e-320", b"nan", b"-", b"+1", b"0x10",
        b"9" * 32, b"9" * 33, b"9" * 70_000, b"1_000", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59-23:59",
        b"0001-01-01T00:00:00+23:59", b"2026-02-30", b"20261124", b"x" * 70_000, b"\xff", b"\xc3\x28", b"-0",
    ]),
    st.integers().map(lambda number: str(number).encode()),
    st.floats().map(lambda number: repr(number).encode()),
    st.datetimes().map(lambda moment: moment.isoformat().encode()),
)  # fmt: skip
MESSAGES = st.lists(st.tuples(OTHER_TOPICS, PAYLOADS, st.booleans()), max_size=12)


def watching() -> Fleet:
    watch = Fleet("", RULES)
    watch.connected(0.0)
    for key, payload in KNOWN.items():
        watch.message(f"teslamate/cars/1/{key}", payload, 0.0, retained=True)
    return watch


@examples(300)
@given(MESSAGES)
def test_other_values_survive_and_every_line_is_json(messages: list[tuple[str, bytes, bool]]) -> None:
    watch = watching()
    touched = set()
    for at, (topic, payload, retained) in enumerate(messages):
        watch.message(topic, payload, float(at), retained=retained)
        found = parse_topic(topic, "")
        if found is not None and found.car_id == 1:
            touched.add(found.key)
        now = Instant(NOW, float(at))
        events = [json_line("vehicle", view.as_json()) for view in watch.lines(now, 0.0)]
        events += [json_line("source", change.as_json()) for change in watch.changes(now)]
        for line in events:
            assert line.count("\n") == 1
            assert line.isascii()
            json.loads(line, parse_constant=lambda _: 1 / 0)
    view = next(view for view in watch.views(Instant(NOW, 1e6)) if view.car_id == 1)
    telemetry = view.as_json()["telemetry"]
    untouched = {key: value for key, value in TYPED.items() if key not in touched}
    assert {key: telemetry[key] for key in untouched} == untouched


@examples(200)
@given(st.sampled_from(sorted(KNOWN)), PAYLOADS, st.booleans())
def test_what_cannot_be_read_keeps_the_old_value_and_is_counted(key: str, payload: bytes, retained: bool) -> None:
    watch = watching()
    before = watch.views(Instant(NOW, 1.0))[0]
    watch.message(f"teslamate/cars/1/{key}", payload, 1.0, retained=retained)
    after = watch.views(Instant(NOW, 1.0))[0]
    assert after.unparsable in (0, 1)
    if after.unparsable:
        assert after.telemetry == before.telemetry


@examples(300)
@given(OTHER_TOPICS, NASTY)
def test_no_topic_crashes_the_parser(topic: str, namespace: str) -> None:
    parse_topic(topic, namespace)
    found = namespace_of(topic)
    assert found is None or "/" not in found
