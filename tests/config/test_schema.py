"""The table of settings is whole: flag or reason, variable, help, and one name for one thing."""

import pytest

from tests.support.surroundings import tmsync
from tmsync.cli import COMMANDS
from tmsync.core.config.kinds import Kind
from tmsync.core.config.libpq import OTHER_TARGETS
from tmsync.core.config.schema import SECTIONS, SETTINGS, TITLES, Setting


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_setting_has_flag_or_reason_variable_and_help(setting: Setting) -> None:
    assert bool(setting.flag) is not bool(setting.no_flag), "a flag, or the reason why there is none"
    assert bool(setting.metavar) is (bool(setting.flag) and setting.kind is not Kind.FLAG)
    assert setting.env == f"TMSYNC_{setting.section}_{setting.key}".upper().replace(".", "_")
    assert setting.help
    assert setting.described.endswith(".")
    assert not (setting.secret and setting.flag)
    assert setting.section in TITLES


def test_names_flags_and_variables_are_unique() -> None:
    for names in (
        [setting.name for setting in SETTINGS],
        [setting.env for setting in SETTINGS],
        [setting.flag for setting in SETTINGS if setting.flag],
        [setting.libpq for setting in SETTINGS if setting.libpq],
    ):
        assert len(names) == len(set(names))
    assert set(TITLES) == set(SECTIONS)
    assert not {setting.libpq for setting in SETTINGS}.intersection(OTHER_TARGETS)


def test_every_flag_is_in_some_help_with_the_words_of_its_setting() -> None:
    told = " ".join("".join(tmsync(name, "--help", environ={"COLUMNS": "250"}).out for name in COMMANDS).split())
    for setting in SETTINGS:
        assert not setting.flag or f"{setting.flag} " in told
        assert not setting.flag or setting.described in told
