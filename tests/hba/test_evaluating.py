"""Which rule decides, and what people are told about it."""

from __future__ import annotations

import pytest

from tests.hba.memory import MemoryReader
from tests.hba.recorded_results import FILES, RESULTS, Probe
from tmsync.core.hba import (
    Client,
    Method,
    Part,
    Roles,
    evaluate,
    explain,
    near_misses,
    parse_hba,
)

RECORDED_ROLES = Roles({"twc": ["readers"], "deep": ["mid", "admins"]}, frozenset({"grafana"}))
CLIENT = Client("teslamate", "teslamate", "192.168.1.50")


def _outcome(text: str, client: Client, roles: Roles | None = None, *, major: int = 17) -> str:
    hba = parse_hba(text, server_major=major)
    assert hba.errors == ()
    return evaluate(hba, client, roles).outcome


@pytest.mark.parametrize(("text", "users", "probes"), RESULTS)
def test_recorded_results_of_a_server(text: str, users: str, probes: list[Probe]) -> None:
    hba = parse_hba(text, server_major=15, reader=MemoryReader({**FILES, "users.txt": users}))
    clients = [Client(user, database, address, tls=tls) for user, database, address, tls, _ in probes]
    assert [evaluate(hba, client, RECORDED_ROLES).outcome for client in clients] == [probe[4] for probe in probes]


def test_reject_line_above_wins_over_our_entry() -> None:
    text = "# x\nhost all all 0.0.0.0/0 reject\nhost teslamate teslamate 192.168.1.50/32 scram-sha-256\n"
    hba = parse_hba(text)
    result = evaluate(hba, CLIENT)
    assert result.method is Method.REJECT
    assert not result.allowed
    assert result.rule is not None
    assert (result.rule.line, result.rule.text) == (2, "host all all 0.0.0.0/0 reject")
    assert explain(hba, CLIENT, result, near_misses(hba, CLIENT)) == [
        (
            "line 2 `host all all 0.0.0.0/0 reject` matches first and rejects "
            'user "teslamate", database "teslamate", address 192.168.1.50, without TLS'
        ),
        (
            "line 3 `host teslamate teslamate 192.168.1.50/32 scram-sha-256` would match, "
            "but line 2 `host all all 0.0.0.0/0 reject` comes first"
        ),
    ]


def test_near_misses_name_the_column_that_fails() -> None:
    text = """\
hostssl teslamate teslamate 192.168.1.0/24 md5
host teslamate teslamate 192.168.2.0/24 md5
host grafana teslamate all md5
host teslamate grafana all md5
local teslamate teslamate peer
host all all 10.0.0.0/8 md5
"""
    hba = parse_hba(text)
    assert evaluate(hba, CLIENT).method is None
    assert [(miss.rule.line, miss.failed) for miss in near_misses(hba, CLIENT)] == [
        (1, (Part.TYPE,)),
        (2, (Part.ADDRESS,)),
        (3, (Part.DATABASE,)),
        (4, (Part.USER,)),
        (5, (Part.TYPE,)),
    ]
    sentences = explain(hba, CLIENT, evaluate(hba, CLIENT), near_misses(hba, CLIENT))
    assert sentences[0].startswith("no line matches user")
    assert sentences[1].endswith("does not match: it wants TLS and the connection has none")


@pytest.mark.parametrize(
    ("kind", "tls", "gss", "matches"),
    [
        ("local", False, False, False),
        ("host", True, False, True),
        ("hostssl", False, False, False),
        ("hostssl", True, False, True),
        ("hostnossl", True, False, False),
        ("hostnossl", False, True, True),
        ("hostgssenc", True, False, False),
        ("hostgssenc", False, True, True),
        ("hostnogssenc", False, True, False),
        ("hostnogssenc", True, False, True),
    ],
)
def test_connection_type_follows_the_encryption(kind: str, tls: bool, gss: bool, matches: bool) -> None:
    address = "" if kind == "local" else "all "
    client = Client("u", "d", "10.0.0.1", tls=tls, gss=gss)
    assert _outcome(f"{kind} all all {address}trust", client) == ("trust" if matches else "no-entry")


def test_local_client_meets_local_lines_only() -> None:
    text = "host all all all reject\nlocal all all peer\n"
    assert _outcome(text, Client("u")) == "peer"


@pytest.mark.parametrize(
    ("database", "client", "matches"),
    [
        ("all", Client("u", "d", "::1"), True),
        ("all", Client("u", "d", "::1", replication=True), False),
        ("d", Client("u", "d", "::1", replication=True), False),
        ("replication", Client("u", "d", "::1", replication=True), True),
        ("replication", Client("u", "replication", "::1"), False),
        ('"replication"', Client("u", "replication", "::1"), True),
        ('"replication"', Client("u", "d", "::1", replication=True), False),
        ("sameuser", Client("u", "", "::1"), True),
        ("sameuser", Client("u", "d", "::1"), False),
        ("samerole", Client("deep", "admins", "::1"), True),
        ("samegroup", Client("deep", "readers", "::1"), False),
        ("samerole", Client("u", "u", "::1"), True),
        ('"sameuser"', Client("u", "u", "::1"), False),
        ('"all"', Client("u", "all", "::1"), True),
        ("/^d", Client("u", "x", "::1"), False),
        ("/^d", Client("u", "db", "::1"), True),
        ('"/^(a|b)$"', Client("u", "b", "::1"), True),
    ],
)
def test_database_column(database: str, client: Client, matches: bool) -> None:
    roles = Roles({"deep": ["mid"], "mid": ["admins"]})
    assert _outcome(f"host {database} all all trust", client, roles) == ("trust" if matches else "no-entry")


@pytest.mark.parametrize(
    ("users", "user", "matches"),
    [
        ("+admins", "deep", True),
        ("+admins", "boss", False),
        ("+deep", "deep", True),
        ('"+admins"', "deep", False),
        ('"+admins"', "+admins", True),
        ('"all"', "deep", False),
        ("all", "anyone", True),
        ("Deep", "deep", False),
        ("/ee", "deep", True),
        ("/^ee", "deep", False),
        ("x,+mid", "deep", True),
    ],
)
def test_user_column(users: str, user: str, matches: bool) -> None:
    roles = Roles({"deep": ["mid"], "mid": ["admins", "deep"]})
    client = Client(user, "d", "10.0.0.1")
    assert _outcome(f"host all {users} all trust", client, roles) == ("trust" if matches else "no-entry")


def test_a_slash_is_a_plain_name_before_16() -> None:
    assert _outcome("host all /x all trust", Client("/x", "d", "::1"), major=15) == "trust"
    assert _outcome("host all /x all trust", Client("x", "d", "::1"), major=15) == "no-entry"


@pytest.mark.parametrize(
    ("address", "client", "matches"),
    [
        ("10.1.2.3/32", "10.1.2.3", True),
        ("10.1.2.3/32", "10.1.2.4", False),
        ("10.1.2.3/8", "10.200.0.1", True),
        ("10.1.2.3/9", "10.200.0.1", False),
        ("10.1.2.3/0", "8.8.8.8", True),
        ("10.0.0.1 255.0.0.255", "10.9.9.1", True),
        ("10.0.0.1 255.0.0.255", "10.9.9.2", False),
        ("0xa.1/8", "10.9.9.1", True),
        ("::/0", "10.0.0.1", False),
        ("0.0.0.0/0", "::1", False),
        ("::ffff:10.0.0.0/104", "10.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("fe80::1%eth0/64", "fe80::99%wlan0", True),
        ("2001:db8::/32", "2001:db8:1::1", True),
        ("samenet", "127.9.9.9", True),
        ("samehost", "127.9.9.9", False),
        ("samehost", "::1", True),
    ],
)
def test_address_column(address: str, client: str, matches: bool) -> None:
    line = f"host all all {address} trust"
    assert _outcome(line, Client("u", "d", client)) == ("trust" if matches else "no-entry")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not a numeric IP address"):
        evaluate(parse_hba("host all all all md5"), Client("u", "d", "nas.local"))


def test_what_only_the_server_can_tell_is_a_doubt() -> None:
    hba = parse_hba("host all all nas.lan reject\nhost all all samenet reject\nhost all all all md5\n")
    result = evaluate(hba, CLIENT)
    assert (result.method, [rule.line for rule in result.doubts]) == (Method.SCRAM, [1, 2])
    assert any("only the server can tell" in line for line in explain(hba, CLIENT, result, []))


@pytest.mark.parametrize(
    ("md5_verifier", "major", "outcome"),
    [
        (frozenset({"teslamate"}), 17, "md5"),
        (frozenset({"grafana"}), 17, "scram-sha-256"),
        (None, 17, "scram-sha-256"),
        (None, 13, "md5"),
    ],
)
def test_md5_line_demands_what_the_stored_password_allows(
    md5_verifier: frozenset[str] | None, major: int, outcome: str
) -> None:
    assert _outcome("host all all all md5", CLIENT, Roles({}, md5_verifier), major=major) == outcome


def test_overlong_names_are_cut_as_in_the_startup_packet() -> None:
    long_name = "x" * 70
    assert _outcome(f"host all {'x' * 63} all trust", Client(long_name, "d", "::1")) == "trust"


def test_client_certificates_are_explained() -> None:
    hba = parse_hba("local all all peer\nhostssl all all all md5 clientcert=verify-ca\n")
    remote = Client("u", "d", "10.0.0.1", tls=True)
    assert "certificate" in explain(hba, remote, evaluate(hba, remote), [])[1]


def test_rules_of_included_files_take_part() -> None:
    reader = MemoryReader({"x.conf": "# c\nhost all teslamate 192.168.1.0/24 trust\n"})
    result = evaluate(parse_hba("include x.conf\nhost all all all reject\n", reader=reader), CLIENT)
    assert result.rule is not None
    assert (result.method, result.rule.file, result.rule.line) == (Method.TRUST, "x.conf", 2)


@pytest.mark.parametrize("pattern", ["(?i)DEEP$", "***=deep", r"\mdeep\M", "[[:lower:]]", "(?!x)", "d{2}{3}", r"\1"])
def test_what_only_the_server_can_tell_of_a_regular_expression_is_a_doubt(pattern: str) -> None:
    hba = parse_hba(f'host all "/{pattern}" all reject\nhost all all all md5\n')
    result = evaluate(hba, Client("deep", "teslamate", "192.168.1.50"))
    assert ([rule.line for rule in result.doubts], result.method) == ([1], Method.SCRAM)
