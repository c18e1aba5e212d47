"""The line that lets a client in, and its place."""

from __future__ import annotations

import pytest

from tests.hba.memory import MemoryReader
from tmsync.core.hba import Client, Method, Roles, entry_for, evaluate, insertion_for, parse_hba, quote_name

CLIENT = Client("teslamate", "teslamate", "192.168.1.50")
LINE = "host teslamate teslamate 192.168.1.50/32 scram-sha-256"


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("host all all all scram-sha-256\n", CLIENT),  # gets it already
        ("bad\nhost all all all reject\n", CLIENT),  # refused whatever we add
        ("host all all all reject\0\n", CLIENT),  # lines no longer count as they look
    ],
)
def test_no_cure_where_it_would_not_help(text: str, client: Client) -> None:
    assert insertion_for(parse_hba(text), client) is None


@pytest.mark.parametrize("line", ["host grafana all all md5", "host all all all reject", "bad", "# x", "a\nb"])
def test_a_line_that_does_not_let_the_client_in_is_no_insertion(line: str) -> None:
    assert insertion_for(parse_hba("host all all 10.0.0.0/8 md5\n"), CLIENT, line) is None


@pytest.mark.parametrize(
    ("text", "number", "new_text"),
    [
        ("# x\nhost all all all reject\n", 2, f"# x\n{LINE}\nhost all all all reject\n"),
        ("# x\r\nhost all all all reject\r\n", 2, f"# x\r\n{LINE}\r\nhost all all all reject\r\n"),
        ("local all all peer\n", 2, f"local all all peer\n{LINE}\n"),
        ("local all all peer", 2, f"local all all peer\n{LINE}\n"),
        ("local all all peer\r\n# y", 3, f"local all all peer\r\n# y\r\n{LINE}\r\n"),
        ("", 1, f"{LINE}\n"),
        ("local all all peer\\", 3, f"local all all peer\\\n\n{LINE}\n"),
        ("local all all peer\\\n", 3, f"local all all peer\\\n\n{LINE}\n"),
        (
            "local all \\\n all peer\nhost all \\\n all all \\\n reject\n",
            3,
            f"local all \\\n all peer\n{LINE}\nhost all \\\n all all \\\n reject\n",
        ),
        ("host all all all reject", 1, f"{LINE}\nhost all all all reject"),
    ],
)
def test_the_line_goes_ahead_of_what_shadows_it_or_to_the_end(text: str, number: int, new_text: str) -> None:
    change = insertion_for(parse_hba(text), CLIENT)
    assert change is not None
    assert (change.line, change.insert_before_line, change.new_text) == (LINE, number, new_text)
    assert change.result == evaluate(parse_hba(new_text), CLIENT)
    assert change.result.method is Method.SCRAM


def test_a_rule_of_an_included_file_is_overtaken_in_the_main_file() -> None:
    reader = MemoryReader({"/d/sub.conf": "# 1\n\nhost all all all reject\n"})
    hba = parse_hba("# x\ninclude sub.conf\n", path="/d/pg_hba.conf", reader=reader)
    change = insertion_for(hba, CLIENT)
    assert change is not None
    assert change.ahead_of is not None
    assert (change.insert_before_line, change.ahead_of.file, change.ahead_of.line) == (2, "/d/sub.conf", 3)
    assert change.new_text == f"# x\n{LINE}\ninclude sub.conf\n"


def test_a_rule_only_the_server_can_decide_is_overtaken_too() -> None:
    change = insertion_for(parse_hba("host all all samenet reject\nhost all all all md5\n"), CLIENT)
    assert change is not None
    assert change.insert_before_line == 1


@pytest.mark.parametrize(
    ("client", "roles", "line"),
    [
        (Client("teslamate"), None, "local teslamate teslamate scram-sha-256"),
        (Client("all", "replication", "::1"), None, 'host "replication" "all" ::1/128 scram-sha-256'),
        (Client("u", "d", "::ffff:10.0.0.1"), None, "host d u 10.0.0.1/32 scram-sha-256"),
        (Client("u", "d", "fe80:0::1%eth0"), None, "host d u fe80::1/128 scram-sha-256"),
        (Client("u", "d", "10.0.0.1", replication=True), None, "host replication u 10.0.0.1/32 scram-sha-256"),
        (Client('a"b', "x y", "10.0.0.1"), None, 'host "x y" "a""b" 10.0.0.1/32 scram-sha-256'),
        (Client("old", "d", "10.0.0.1"), Roles({}, frozenset({"old"})), "host d old 10.0.0.1/32 md5"),
    ],
)
def test_the_entry_is_as_narrow_as_can_be(client: Client, roles: Roles | None, line: str) -> None:
    assert entry_for(client, roles) == line
    assert insertion_for(parse_hba("local x x peer\nhost x x all md5\n"), client, roles=roles) is not None


@pytest.mark.parametrize("major", [15, 17])
@pytest.mark.parametrize(
    "name", ["all", "sameuser", "a b", "a,b", 'q"', "#x", "+g", "@f", "/r.*", "x\\", "\u00f6", "\udcff"]
)
def test_names_are_quoted_so_that_they_mean_themselves_only(name: str, major: int) -> None:
    client = Client(name, name, "10.0.0.1")
    hba = parse_hba(entry_for(client, server_major=major), server_major=major)
    assert hba.errors == ()
    assert evaluate(hba, client).method is Method.SCRAM
    others = [Client(other, other, "10.0.0.1") for other in ("x", "/r", "rrr", "g", "f", "")]
    assert {evaluate(hba, other).method for other in others} == {None}


def test_a_name_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(ValueError, match="line feed"):
        quote_name("a\nb", database=True)
    with pytest.raises(ValueError, match="not a numeric IP address"):
        entry_for(Client("u", "d", "host.name"))
