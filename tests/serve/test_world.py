"""Whatever happens, in whatever order: no answer from TeslaMate is older than its last summary, or than a command."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.serve.world import World, as_told
from tmsync.core.serve.commands import ASLEEP_AFTER_S
from tmsync.core.serve.decide import Answer, Origin
from tmsync.core.serve.request import COMMANDS, Kind

AWAKE = [("online", "Complete"), ("online", "Stopped"), ("online", "Disconnected"), ("charging", "Charging"),
         ("driving", "Disconnected"), ("suspended", "Complete")]  # fmt: skip


SPANS = st.sampled_from([0.5, 1.0, 3.0, 6.0, 20.0, 35.0, 65.0, 130.0, 400.0])


class Anything(RuleBasedStateMachine):
    """The world, and whoever acts in it."""

    @initialize(pace=st.sampled_from([5.0, 15.0, 30.0]), latency=st.sampled_from([0.0, 4.0, 20.0]))
    def begin(self, pace: float, latency: float) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tmsync-world-"))
        self.world = World(self.folder)
        self.world.pace_s, self.world.latency_s = pace, latency

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.loop.close()
            shutil.rmtree(self.folder)

    @rule(seconds=SPANS)
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(
        state=st.sampled_from([*AWAKE, ("asleep", "Complete"), ("offline", "Complete")]),
        level=st.integers(20, 99),
        limit=st.integers(50, 90),
        seconds=SPANS,
    )
    def somebody_uses_the_car(self, state: tuple[str, str], level: int, limit: int, seconds: float) -> None:
        self.world.truth |= {
            "state": state[0], "charging_state": state[1], "battery_level": str(level), "charge_limit_soc": str(limit),
            "latitude": f"{level}.5", "shift_state": "D" if state[0] == "driving" else None,
        }  # fmt: skip
        self.world.pass_time(seconds)

    @rule(alive=st.sampled_from([True, True, False]), seconds=SPANS)
    def teslamate_dies_or_comes_back(self, alive: bool, seconds: float) -> None:
        if alive and not self.world.alive:
            self.world.next_sample = self.world.running + 10
            self.world.published.clear()
        self.world.alive = alive
        self.world.on_its_way.clear()
        self.world.pass_time(seconds)

    @rule()
    def the_broker_saves(self) -> None:
        self.world.save_broker()

    @rule(keeps=st.sampled_from(["all", "nothing", "what it saved"]), alone=st.sampled_from([0.0, 40.0]), down=SPANS)
    def the_broker_is_restarted(self, keeps: str, alone: float, down: float) -> None:
        self.world.restart_broker(keeps, alone_s=alone, down_s=down)

    @rule(up=st.sampled_from([True, True, False]))
    def the_database_goes_or_comes(self, up: bool) -> None:
        self.world.database_up = up

    @rule(mood=st.sampled_from(["answers", "answers", "answers", "out of reach", "limits", "breaks off"]))
    def tesla_is_in_another_mood(self, mood: str) -> None:
        self.world.tesla = mood

    @rule()
    def the_facade_is_killed_and_started_again(self) -> None:
        self.world.start_facade()

    @rule(name=st.sampled_from([*COMMANDS, "wake_up"]), percent=st.integers(50, 90), seconds=SPANS)
    def twcmanager_commands(self, name: str, percent: int, seconds: float) -> None:
        self.world.commands(name if name == "wake_up" else f"command/{name}", b'{"percent": %d}' % percent)
        self.check(self.world.asks(Kind.DATA))
        self.world.pass_time(seconds)

    @rule(kind=st.sampled_from([Kind.STATE, Kind.DATA, Kind.DATA]))
    def twcmanager_asks(self, kind: Kind) -> None:
        self.check(self.world.asks(kind))

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def it_may_be_asked_at_any_time(self) -> None:
        self.check(self.world.asks(Kind.DATA))

    def check(self, answer: Answer) -> None:
        world = self.world
        if answer.origin is not Origin.TESLAMATE:
            return
        told = _facts(answer)
        fitting = [one for one in world.may_be_told() if told.items() <= as_told(one).items()]
        assert fitting, ("older than TeslaMate's last summary", told, world.may_be_told())
        for commanded_at in world.commanded_at:
            newer = [one for one in fitting if one.sampled_at >= commanded_at]
            asleep = told.get("is_asleep") or told.get("state") in ("asleep", "offline")
            waited = [one for one in fitting if asleep and one.published_at >= commanded_at + ASLEEP_AFTER_S]
            assert newer or waited, ("older than a command", told, commanded_at, fitting, world.running)


def _facts(answer: Answer) -> dict[str, Any]:
    """What an answer says that can be held against a summary."""
    if answer.status == 408:
        return {"is_asleep": True}
    car = json.loads(answer.body)["response"]
    charge, drive = car.get("charge_state", {}), car.get("drive_state", {})
    return {key: value for part in (car, charge, drive) for key, value in part.items() if key in CHECKED}


CHECKED = frozenset({"state", "charging_state", "charge_limit_soc", "battery_level", "latitude"})

TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.mark.slow
class TestAnythingAtLength(Anything.TestCase):
    settings = settings(max_examples=500, stateful_step_count=50, deadline=None)
