"""What is typed or pasted becomes what is meant; what is left to do names these paths and this user."""

from dataclasses import replace
from pathlib import Path

import pytest

from tmsync.core.config.schema import BY_NAME
from tmsync.core.setup.answers import as_answer, host_and_port
from tmsync.core.setup.schedule import Place, schedule


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("twcmanager.url", "192.168.1.50", "http://192.168.1.50:8080"),
        ("twcmanager.url", "twc.local/", "http://twc.local:8080"),
        ("twcmanager.url", "twc:8081", "http://twc:8081"),
        ("twcmanager.url", "fd00::5", "http://[fd00::5]:8080"),
        ("twcmanager.url", "[fd00::5]:81", "http://[fd00::5]:81"),
        ("twcmanager.url", "https://twc/x", "https://twc/x"),
        ("twcmanager.url", "http://twc", "http://twc"),
        ("teslamate.url", "192.168.1.5:4000", "http://192.168.1.5:4000"),
        ("teslamate.encryption_key", "ENCRYPTION_KEY=abc", "abc"),
        ("teslamate.encryption_key", "      - ENCRYPTION_KEY=a=b", "a=b"),
        ("teslamate.encryption_key", '- "ENCRYPTION_KEY=abc"', "abc"),
        ("teslamate.encryption_key", '- ENCRYPTION_KEY="abc"', '"abc"'),
        ("teslamate.encryption_key", "ENCRYPTION_KEY: abc", "abc"),
        ("teslamate.encryption_key", 'export ENCRYPTION_KEY="a b"', "a b"),
        ("teslamate.encryption_key", "ENCRYPTION_KEY='", "'"),
        ("teslamate.encryption_key", "MY_ENCRYPTION_KEY=abc", "MY_ENCRYPTION_KEY=abc"),
        ("teslamate.encryption_key", " abc ", " abc "),
        ("database.password", "DATABASE_PASS=#x", "#x"),
        ("database.password", "ENCRYPTION_KEY=x", "ENCRYPTION_KEY=x"),
        ("database.host", "http://192.168.1.5:4000/cars", "192.168.1.5"),
        ("database.host", "postgres://192.168.1.5:5433", "192.168.1.5:5433"),
        ("database.host", "[fd00::5]", "fd00::5"),
        ("database.host", "/run/postgresql", "/run/postgresql"),
        ("mqtt.host", "mqtt://pi", "pi"),
        ("mqtt.host", "MQTT_HOST=pi", "pi"),
    ],
)
def test_answer_is_freed_of_what_was_pasted_around_it(name: str, text: str, expected: str) -> None:
    assert as_answer(BY_NAME[name], text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pi:1884", ("pi", "1884")), ("[fd00::5]:1884", ("fd00::5", "1884")), ("fd00::5", ("fd00::5", "")),
        ("pi", ("pi", "")), ("me:secret@pi", ("me:secret@pi", "")),
    ],
)  # fmt: skip
def test_port_may_be_given_with_the_host(text: str, expected: tuple[str, str]) -> None:
    assert host_and_port(text) == expected


HERE = Place(Path("/home/me/a b.toml"), me="me", runner="me", program="/usr/local/bin/tmsync")


def test_own_settings_are_synced_from_the_own_crontab() -> None:
    [step] = schedule(HERE)
    assert step.command == (
        "(crontab -l 2>/dev/null; echo '*/5 * * * * /usr/local/bin/tmsync --config '\"'\"'/home/me/a b.toml'\"'\"'"
        " sync-tokens') | crontab -"
    )


def test_another_users_settings_want_the_configuration_with_that_user() -> None:
    give, run = schedule(replace(HERE, runner="twcmanager"))
    assert give.command == (
        "sudo install -D -m 0600 -o twcmanager -g $(id -gn twcmanager) '/home/me/a b.toml' /etc/tmsync/config.toml"
    )
    assert run.command == (
        "echo '*/5 * * * * twcmanager /usr/local/bin/tmsync --config /etc/tmsync/config.toml sync-tokens'"
        " | sudo tee /etc/cron.d/tmsync"
    )


def test_program_that_the_other_user_cannot_run_is_told_first() -> None:
    first, _, run = schedule(replace(HERE, runner="twcmanager", program="/home/me/.venv/bin/tmsync", reachable=False))
    assert first.words.startswith("twcmanager cannot run /home/me/.venv/bin/tmsync")
    assert "/opt/tmsync/bin/tmsync --config /etc/tmsync/config.toml" in run.command


def test_machine_without_cron_gets_a_timer() -> None:
    [step] = schedule(replace(HERE, has_cron=False, config=Path("/home/me/100%.toml")))
    assert "User=me" in step.command
    assert "100%%.toml" in step.command
    assert "systemctl enable --now tmsync-sync.timer" in step.command
    assert r"100\%.toml" in schedule(replace(HERE, config=Path("/home/me/100%.toml")))[0].command
