"""Which way a token goes: every situation, pure."""

import itertools
import os

import pytest

from tmsync.core.twcmanager.plan import Action, Plan, Situation, SyncOptions, Via, decide
from tmsync.core.twcmanager.presence import Presence, Sighting
from tmsync.core.twcmanager.settings_content import Snapshot, TokenFields

WANTED = TokenFields("new-token", "", 2_000_000_000)
STAT = os.stat_result((0o100644, 1, 1, 1, 0, 0, 10, 0, 0, 0))
RIGHT = Snapshot(b"{}", WANTED.as_settings(), STAT)
OLD = Snapshot(b"{}", {**WANTED.as_settings(), "carApiBearerToken": "old-token"}, STAT)
MISSING = Snapshot(b"", {}, None)
URL = "http://127.0.0.1:8080"
ANSWERS = Sighting(Presence.RUNNING, "its web control answers", URL)
SILENT = Sighting(Presence.RUNNING, "a process", process=7)
STOPPED = Sighting(Presence.STOPPED, "no process")
UNKNOWN = Sighting(Presence.UNKNOWN, "it cannot be told")

FILE_KEEP, FILE_WRITE = Plan(Action.KEEP, Via.FILE), Plan(Action.WRITE, Via.FILE)
LOOK, PUSH = Plan(Action.LOOK, Via.FILE), Plan(Action.PUSH, Via.HTTP)

CASES = [
    # what is known, how it was asked, and the plan
    ("held, so nobody looks", Situation(RIGHT), Via.AUTO, FILE_KEEP),
    ("held, by file", Situation(RIGHT), Via.FILE, FILE_KEEP),
    ("held because we wrote it, by file", Situation(RIGHT, ours=True), Via.FILE, LOOK),
    ("held because we wrote it: is it in use?", Situation(RIGHT, ours=True), Via.AUTO, LOOK),
    ("another token", Situation(OLD), Via.AUTO, LOOK),
    ("another token, by file", Situation(OLD), Via.FILE, LOOK),
    ("no file", Situation(MISSING), Via.AUTO, LOOK),
    ("unreadable", Situation(None), Via.AUTO, LOOK),
    ("by http, whatever the file holds", Situation(None), Via.HTTP, LOOK),
    ("far away", Situation(None, far=True), Via.AUTO, LOOK),
    ("running and reachable", Situation(OLD, seen=ANSWERS), Via.AUTO, PUSH),
    ("running and reachable, by file", Situation(OLD, seen=ANSWERS), Via.FILE, FILE_WRITE),
    ("running, not reachable", Situation(OLD, seen=SILENT), Via.AUTO, FILE_WRITE),
    ("stopped", Situation(OLD, seen=STOPPED), Via.AUTO, FILE_WRITE),
    ("cannot be told", Situation(OLD, seen=UNKNOWN), Via.AUTO, FILE_WRITE),
    ("no file, stopped", Situation(MISSING, seen=STOPPED), Via.AUTO, FILE_WRITE),
    ("written, and read since", Situation(RIGHT, True, SILENT, has_read=True), Via.AUTO, FILE_KEEP),
    ("written, not read", Situation(RIGHT, True, SILENT), Via.AUTO, Plan(Action.TAKE_UP, Via.FILE)),
    ("written, not read, reachable", Situation(RIGHT, True, ANSWERS), Via.AUTO, Plan(Action.PUSH_AGAIN, Via.HTTP)),
    ("written, not read, by file", Situation(RIGHT, True, SILENT), Via.FILE, Plan(Action.TAKE_UP, Via.FILE)),
    ("written, by file, no process in sight", Situation(RIGHT, True, ANSWERS), Via.FILE, FILE_KEEP),
    ("written, stopped", Situation(RIGHT, True, STOPPED), Via.AUTO, FILE_KEEP),
    ("unreadable, reachable", Situation(None, seen=ANSWERS), Via.AUTO, PUSH),
    ("unreadable, not reachable", Situation(None, seen=SILENT), Via.AUTO, Plan(Action.GIVE_UP, Via.FILE)),
    ("unreadable, by file", Situation(None, seen=ANSWERS), Via.FILE, Plan(Action.GIVE_UP, Via.FILE)),
    ("by http, reachable", Situation(None, seen=ANSWERS), Via.HTTP, PUSH),
    ("by http, not reachable", Situation(None, seen=STOPPED), Via.HTTP, Plan(Action.GIVE_UP, Via.HTTP)),
    ("far away, reachable", Situation(None, seen=ANSWERS, far=True), Via.AUTO, PUSH),
    ("far away, not reachable", Situation(None, seen=UNKNOWN, far=True), Via.AUTO, Plan(Action.GIVE_UP, Via.HTTP)),
]


@pytest.mark.parametrize(("situation", "via", "plan"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_plan(situation: Situation, via: Via, plan: Plan) -> None:
    assert decide(situation, WANTED, SyncOptions(via)) == plan


def test_whatever_is_known_the_second_look_decides_and_a_file_is_never_written_behind_a_reachable_twcmanager() -> None:
    snapshots, sightings = (RIGHT, OLD, MISSING, None), (ANSWERS, SILENT, STOPPED, UNKNOWN)
    for held, seen, ours, read, far, via in itertools.product(
        snapshots, sightings, (True, False), (True, False), (True, False), Via
    ):
        plan = decide(Situation(held, ours, seen, read, far), WANTED, SyncOptions(via))
        assert plan.action is not Action.LOOK
        if plan.action in (Action.PUSH, Action.PUSH_AGAIN):
            assert (plan.via, seen.url) == (Via.HTTP, URL)
        if plan.action is Action.WRITE:
            assert held is not None
            assert not held.holds(WANTED)
            assert via is Via.FILE or (via is Via.AUTO and seen.url is None)
        if plan.action is Action.KEEP:
            assert held is RIGHT
