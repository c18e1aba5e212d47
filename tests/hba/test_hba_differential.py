"""The parser and the evaluator against PostgreSQL itself, on random files."""

from __future__ import annotations

import random
import re
import socket
from typing import Any

import psycopg2
import pytest

from tests.hba import odd_texts
from tests.hba.pgserver import HbaServer
from tests.hba.wild import ADDRESSES, DATABASES, FILES, REGEX_NAMES, REGEX_PIECES, USERS, Wild
from tmsync.core.hba import Client, Hba, Method, Roles, Rule, evaluate, insertion_for, parse_hba
from tmsync.core.hba.addresses import parse_ip
from tmsync.core.hba.model import Family
from tmsync.core.hba.regexes import InvalidRegex, compile_regex, matches_regex

ROLES = Roles(
    {"twc": ["readers"], "deep": ["mid"], "mid": ["admins"]},
    frozenset({"grafana"}),
)
PROBES_PER_FILE = 12
FILES_TO_PROBE = 30
BROKEN_FILES = 120
PATTERNS = 3000
INSERTIONS = 25


@pytest.fixture(scope="module")
def unsupported(hba_server: HbaServer) -> frozenset[Method]:
    """Methods this build refuses."""
    hba_server.write("".join(f"host all all all {method}\n" for method in Method).encode(), {})
    errors = {row["line_number"]: row["error"] or "" for row in hba_server.rules()}
    return frozenset(m for number, m in enumerate(Method, 1) if "not supported by this build" in errors[number])


def _parse(server: HbaServer, text: str, unsupported: frozenset[Method]) -> Hba:
    path = str(server.data / "pg_hba.conf")
    return parse_hba(text, path=path, server_major=server.major, unsupported=unsupported)


def _assert_read_alike(server: HbaServer, text: str, files: dict[str, str], unsupported: frozenset[Method]) -> None:
    """The parser names the lines, messages and columns that pg_hba_file_rules shows."""
    server.write(text.encode(), {name: content.encode() for name, content in files.items()})
    hba = _parse(server, text, unsupported)
    rows = server.rules()
    refused = [row for row in rows if row["type"] is None]
    assert [error.line for error in hba.errors if error.line] == [row["line_number"] for row in refused], text
    for error, row in zip(hba.errors, refused, strict=False):
        if row["error"] is not None and "record cannot match" not in row["error"]:  # elsewhere it keeps its reason
            assert error.message == row["error"], text
            assert error.file == row.get("file_name", error.file)
    assert list(map(_columns, hba.rules)) == [_row_columns(row) for row in rows if row["type"] is not None], text


def test_errors_and_columns_are_those_of_the_server(hba_server: HbaServer, unsupported: frozenset[Method]) -> None:
    wild = Wild(20, hba_server.major)
    for number in range(BROKEN_FILES):
        _assert_read_alike(hba_server, wild.file(broken=number % 4 != 0), FILES, unsupported)


def test_odd_lines_are_read_like_the_server_reads_them(hba_server: HbaServer, unsupported: frozenset[Method]) -> None:
    for text in filter(_is_decided, odd_texts.TEXTS):
        _assert_read_alike(hba_server, text, odd_texts.FILES, unsupported)


def _is_decided(text: str) -> bool:
    """Whether its regular expressions are simple ones; whether others are valid only the server can tell."""
    for found in re.finditer(r'(?<=[ ,"])/([^" ,]*)(?=[" ,])', text):
        try:
            if compile_regex(found[1]) is None:
                return False
        except InvalidRegex:
            continue
    return True


def _columns(rule: Rule) -> tuple[Any, ...]:
    family, number, mask, name = rule.net
    where: Any = (
        (number, mask) if family in (Family.IPV4, Family.IPV6) else name or (rule.address and rule.address.text)
    )
    databases, users = ([token.text for token in field] for field in (rule.databases, rule.users))
    return rule.line, rule.type.value, databases, users, where, rule.method.value


def _row_columns(row: dict[str, Any]) -> tuple[Any, ...]:
    where: Any = row["address"]
    if row["netmask"] is not None:
        address, mask = parse_ip(row["address"]), parse_ip(row["netmask"])
        assert address is not None
        assert mask is not None
        where = (address[1] & mask[1], mask[1])
    return row["line_number"], row["type"], row["database"], row["user_name"], where, row["auth_method"]


def test_outcomes_are_those_of_the_server(hba_server: HbaServer, unsupported: frozenset[Method]) -> None:
    files = {name: content.encode() for name, content in FILES.items()}
    wild, choose = Wild(7, hba_server.major), random.Random(7)
    addresses = [*ADDRESSES, *_ipv6(), None]
    probed = 0
    while probed < FILES_TO_PROBE * PROBES_PER_FILE:
        text = wild.file()
        hba = _parse(hba_server, text, unsupported)
        if hba.errors:
            continue
        hba_server.write(text.encode(), files)
        hba_server.reload()
        for _ in range(PROBES_PER_FILE):
            address = choose.choice(addresses)
            client = Client(
                user=choose.choice(USERS),
                database=choose.choice(DATABASES),
                address=address,
                tls=hba_server.has_tls and address is not None and choose.random() < 0.5,
                replication=choose.random() < 0.1,
            )
            answer = hba_server.probe(
                client.user, client.database, address, tls=client.tls, replication=client.replication
            )
            result = evaluate(hba, client, ROLES)
            if not result.doubts:
                assert result.outcome == answer, (client, text)
                probed += 1


def test_random_regular_expressions_match_what_they_match_for_the_server(hba_server: HbaServer) -> None:
    choose = random.Random(5)
    asked = 'SELECT array_agg(name COLLATE "C" ~ {} ORDER BY number) FROM unnest({}) WITH ORDINALITY n (name, number)'
    decided = 0
    names = "ARRAY[" + ", ".join(f"$n${name}$n$" for name in REGEX_NAMES) + "]"
    for _ in range(PATTERNS):
        pattern = "".join(choose.choices(REGEX_PIECES, k=choose.choice([1, 2, 2, 3, 4, 6])))
        try:
            answer = hba_server.query(asked.format(f"$p${pattern}$p$", names))[0][0]
        except psycopg2.errors.InvalidRegularExpression as error:
            answer = (error.diag.message_primary or "").replace(": ", f' "{pattern}": ', 1)
        try:
            if compile_regex(pattern) is None:
                continue
            told: Any = [matches_regex(pattern, name) for name in REGEX_NAMES]
        except InvalidRegex as invalid:
            told = f'invalid regular expression "{pattern}": {invalid}'
        assert told == answer, pattern
        decided += 1
    assert decided > PATTERNS / 10


def test_the_server_agrees_with_an_insertion(hba_server: HbaServer, unsupported: frozenset[Method]) -> None:
    files = {name: content.encode() for name, content in FILES.items()}
    wild, choose = Wild(11, hba_server.major), random.Random(11)
    inserted = 0
    while inserted < INSERTIONS:
        hba = _parse(hba_server, wild.file(), unsupported)
        client = Client(choose.choice(USERS), choose.choice(DATABASES), choose.choice(ADDRESSES))
        change = insertion_for(hba, client, roles=ROLES)
        if change is not None:
            hba_server.write(change.new_text.encode(), files)
            hba_server.reload()
            answer = hba_server.probe(client.user, client.database, client.address, tls=False)
            assert answer == change.result.outcome, (client, change)
            inserted += 1


def _ipv6() -> list[str]:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return []
    return ["::1"]


ODD_NAMES = ["/:", "/#x", "/a\\b", '/"q"', "/a b", "/[x]{2}", "/é", "/ü.x+", "/\N{BLUE HEART}", "/a\tb", "/~!@%&=<>;`'"]
ON_BYTES = ["/^.$", "/^..$", "/^é$", "/^é+$", "/^éé?$", "/é|x", "/^[^a]$", "/^\\w\\w$", "/^ü?é$", "/^(é)$", "/^.?.$"]
"""The server matches bytes: it has no database, and so no encoding, when it reads the rules."""


def test_name_behind_a_slash_gets_a_line_that_the_server_takes_for_it(hba_server: HbaServer) -> None:
    for name in ODD_NAMES:
        for client in (Client(name, "postgres", "127.0.0.1"), Client("postgres", name, "127.0.0.1")):
            change = insertion_for(parse_hba("", server_major=hba_server.major), client)
            assert change is not None, client
            hba_server.write(change.new_text.encode(), {})
            hba_server.reload()
            answer = hba_server.probe(client.user, client.database, client.address, tls=False)
            assert answer == change.result.outcome == "scram-sha-256", (client, change)


def test_expressions_match_the_bytes_of_a_name(hba_server: HbaServer) -> None:
    decided = 0
    for pattern in ON_BYTES:
        text = f'host all "{pattern}" 127.0.0.1/32 scram-sha-256\n'
        hba_server.write(text.encode(), {})
        hba_server.reload()
        for name in ("é", "a", "ü", "éé", "üé"):
            client = Client(name, "postgres", "127.0.0.1")
            result = evaluate(parse_hba(text, server_major=hba_server.major), client)
            answer = hba_server.probe(name, "postgres", "127.0.0.1", tls=False)
            if not result.doubts:
                assert result.outcome == answer, (pattern, name)
                decided += 1
    assert decided > len(ON_BYTES)
