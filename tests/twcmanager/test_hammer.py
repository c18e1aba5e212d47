"""A bounded part of what `make hammer` does for 10,000 rounds and 500 kills."""

from pathlib import Path

import pytest

from tests.twcmanager.hammer import SAVES, killed, together

ROUNDS = {"by-rename": 200, "in-place": 60}


@pytest.mark.parametrize("save", SAVES)
def test_no_save_is_lost_and_the_last_token_wins(tmp_path: Path, save: str) -> None:
    saves, writes = together(tmp_path, save, ROUNDS[save])
    assert saves > 0
    assert writes == ROUNDS[save]


@pytest.mark.parametrize("save", SAVES)
def test_killed_at_any_moment_costs_no_setting(tmp_path: Path, save: str) -> None:
    assert killed(tmp_path, save, kills=8) == 8
