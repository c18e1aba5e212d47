"""Any text at all: nothing crashes, and printing loses nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hba.formatting import format_rule
from tests.hba.memory import MemoryReader
from tests.hba.wild import FILES, Wild
from tmsync.core.hba import (
    Client,
    Hba,
    Roles,
    evaluate,
    explain,
    insertion_for,
    lint_rules,
    near_misses,
    parse_hba,
)

_PIECES = [
    *'"",,@\\#/+ \t\r\n\n\n\0\v\u00a0\u00f6\udcff[({*$^.:%=', "host", "local", "hostssl", "all",
    "md5", "trust", "ident",
    "127.0.0.1", "/32", "::1/128", "0.0.0.0/0", "include ", "@inc.conf", "dbs.txt", " all all all ", "replication",
    "255.0.0.0", "samenet", "nas.lan", "map=x", "reject", "\\\n", "teslamate", '"a b"', "/^t", ", ", " ,", "samerole",
]  # fmt: skip
ANY_TEXT = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(_PIECES), max_size=40).map("".join),
    st.builds(lambda seed, broken: Wild(seed, 17).file(broken=broken), st.integers(0, 10**9), st.booleans()),
)
MAJORS = st.sampled_from([12, 13, 14, 15, 16, 17, 18])
NAMES = st.one_of(st.sampled_from(["teslamate", "all", "a,b", "replication", "/x", "+x", "@y"]), st.text(max_size=12))
CLIENTS = st.builds(
    Client,
    NAMES,
    NAMES,
    st.sampled_from(["127.0.0.1", "192.168.1.50", "::1", "::ffff:10.0.0.1", None]),
    tls=st.booleans(),
    replication=st.booleans(),
)


def _parse(text: str, major: int) -> Hba:
    return parse_hba(text, server_major=major, reader=MemoryReader(FILES))


@settings(max_examples=400, deadline=None)
@given(ANY_TEXT, MAJORS, CLIENTS)
def test_no_text_crashes_anything(text: str, major: int, client: Client) -> None:
    hba = _parse(text, major)
    result = evaluate(hba, client)
    misses = near_misses(hba, client)
    explain(hba, client, result, misses)
    lint_rules(hba, Roles({}, frozenset({"teslamate"})))
    if not {"\n", "\0"} & set(client.user + client.database):
        insertion_for(hba, client)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, MAJORS)
def test_printed_rules_read_back_the_same(text: str, major: int) -> None:
    rules = list(_parse(text, major).rules)
    again = _parse("".join(format_rule(rule) + "\n" for rule in rules), major)
    assert [error for error in again.errors if error.line] == []
    columns = ("type", "databases", "users", "address", "mask", "net", "method", "options")
    assert [[getattr(rule, name) for name in columns] for rule in again.rules] == [
        [getattr(rule, name) for name in columns] for rule in rules
    ]


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, MAJORS, CLIENTS)
def test_an_insertion_is_one_inserted_line_that_decides(text: str, major: int, client: Client) -> None:
    hba = _parse(text, major)
    if {"\n", "\0"} & set(client.user + client.database):
        return
    change = insertion_for(hba, client)
    before = evaluate(hba, client)
    refused = any(error.line for error in hba.errors) or "\0" in text
    if change is None:
        assert refused or before.outcome in ("scram-sha-256", "md5") or _unwritable(client)
        return
    assert evaluate(_parse(change.new_text, major), client) == change.result
    lines = change.new_text.split("\n")
    assert lines.pop(change.insert_before_line - 1).rstrip("\r") == change.line
    assert _filled(lines) == _filled(text.split("\n"))


def _filled(lines: list[str]) -> list[str]:
    """Lines that hold something: an empty one may have been added to end a continuation."""
    return [line.rstrip("\r") for line in lines if line.rstrip("\r")]


def _unwritable(client: Client) -> bool:
    """A carriage return at the end of a line, and names cut by the server, are beyond any entry."""
    return any(
        "\r" in name or len(name.encode("utf-8", "surrogateescape")) > 63 for name in (client.user, client.database)
    )
