"""What the parser refuses, and what it reads out of what it accepts."""

from __future__ import annotations

import pytest

from tests.hba.formatting import format_rule
from tests.hba.memory import MemoryReader
from tests.hba.recorded_refusals import REFUSALS
from tests.hba.recorded_results import FILES
from tmsync.core.hba import (
    DiskReader,
    HbaError,
    Method,
    Rule,
    Token,
    parse_hba,
    read_hba,
)

HOST = "host all all all md5\n"


def _errors(text: str, server_major: int = 17, files: dict[str, str] | None = None) -> list[tuple[int, str]]:
    hba = parse_hba(text, server_major=server_major, reader=MemoryReader(files or {}))
    return [(error.line, error.message) for error in hba.errors]


def _rules(text: str, server_major: int = 17, files: dict[str, str] | None = None) -> list[Rule]:
    hba = parse_hba(text, server_major=server_major, reader=MemoryReader(files or {}))
    assert hba.errors == ()
    return list(hba.rules)


def _words(field: tuple[Token, ...]) -> list[str]:
    return [token.text for token in field]


@pytest.mark.parametrize(("text", "refusals"), REFUSALS)
def test_recorded_files_are_refused_at_the_lines_the_server_named(text: str, refusals: list[tuple[int, str]]) -> None:
    assert _errors(text, 15, {**FILES, "users.txt": "twc grafana"}) == refusals


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("host", "end-of-line before database specification"),
        ("host all", "end-of-line before role specification"),
        ("host all all", "end-of-line before IP address specification"),
        ("local all all", "end-of-line before authentication method"),
        ("host all all 127.0.0.1", "end-of-line before netmask specification"),
        ("host,local all all all md5", "multiple values specified for connection type"),
        ("host all all 127.0.0.1,127.0.0.2 md5", "multiple values specified for host address"),
        ("host all all 127.0.0.1 255.0.0.0,x md5", "multiple values specified for netmask"),
        ("host all all all md5,trust", "multiple values specified for authentication type"),
        ("HOST all all all md5", 'invalid connection type "HOST"'),
        ("\ufeffhost all all all md5", 'invalid connection type "\ufeffhost"'),
        ("host all all all MD5", 'invalid authentication method "MD5"'),
        ("host all all 127.0.0.1/33 md5", 'invalid CIDR mask in address "127.0.0.1/33"'),
        ("host all all ::1/129 md5", 'invalid CIDR mask in address "::1/129"'),
        ("host all all 256.0.0.1/8 md5", 'specifying both host name and CIDR mask is invalid: "256.0.0.1/8"'),
        ("host all all db.example/8 md5", 'specifying both host name and CIDR mask is invalid: "db.example/8"'),
        ("host all all 127.0.0.1 trust", 'invalid IP mask "trust": Name or service not known'),
        ("host all all 127.0.0.1 ::1 md5", "IP address and mask do not match"),
        ("host all all all peer", "peer authentication is only supported on local sockets"),
        ("local all all gss", "gssapi authentication is not supported on local sockets"),
        ("host all all all cert", "cert authentication is only supported on hostssl connections"),
        ("host all all all bsd", 'invalid authentication method "bsd": not supported by this build'),
        ("host all all all md5 foo", "authentication option not in name=value format: foo"),
        ("host all all all md5 foo=1", 'unrecognized authentication option name: "foo"'),
        ("host all all all md5 ident_usermap=1", 'unrecognized authentication option name: "ident_usermap"'),
        (
            "host all all all md5 map=x",
            'authentication option "map" is only valid for authentication methods ident, peer, gssapi, sspi, and cert',
        ),
        ("host all all all md5 clientcert=verify-ca", 'clientcert can only be configured for "hostssl" rows'),
        ("hostssl all all all md5 clientcert=1", 'invalid value for clientcert: "1"'),
        (
            "hostssl all all all cert clientcert=verify-ca",
            'clientcert can only be set to "verify-full" when using "cert" authentication',
        ),
        ("host all /a( all md5", 'invalid regular expression "a(": parentheses () not balanced'),
        ('host "/*" all all md5', 'invalid regular expression "*": quantifier operand invalid'),
        ("host all @missing all md5", 'could not open file "missing": No such file or directory'),
        ("include missing", 'could not open file "missing": No such file or directory'),
        ("include_dir missing", 'could not open directory "missing"'),
        ('include_dir ""', "empty configuration directory name"),
        ("include a b", 'invalid connection type "include"'),
    ],
)
def test_a_bad_line_is_named_with_the_words_of_the_server(line: str, message: str) -> None:
    assert _errors(f"{HOST}{line}\n{HOST}") == [(2, message)]


def test_blank_before_a_comma_ends_the_list_and_shifts_the_columns() -> None:
    assert _errors("host all ,twc all 127.0.0.1/32 md5") == [(1, 'invalid authentication method "127.0.0.1/32"')]
    assert _words(_rules("host all, twc,\tx,,y all all md5")[0].databases) == ["all", "twc", "x", "y"]


def test_every_bad_line_is_reported_and_the_good_ones_are_kept() -> None:
    hba = parse_hba("bad\nhost all all all md5\nworse\nlocal all all peer\n", path="/etc/pg_hba.conf")
    assert hba.errors == (
        HbaError(1, 'invalid connection type "bad"', "/etc/pg_hba.conf", "bad"),
        HbaError(3, 'invalid connection type "worse"', "/etc/pg_hba.conf", "worse"),
    )
    assert [rule.line for rule in hba.rules] == [2, 4]


def test_a_file_without_rules_is_refused_as_a_whole() -> None:
    assert _errors("# nothing\n\n") == [(0, 'configuration file "pg_hba.conf" contains no entries')]


def test_continued_line_counts_from_its_first_physical_line() -> None:
    text = "host \\\n all # c \\\n all all md5\nhost all \\\r\n all all \\\r\n trust\r\nbad\n"
    hba = parse_hba(text)
    assert [(error.line, error.message) for error in hba.errors] == [
        (1, "end-of-line before role specification"),
        (7, 'invalid connection type "bad"'),
    ]
    (rule,) = hba.rules
    assert (rule.line, rule.last_line, rule.text) == (4, 6, "host all  all all  trust")


def test_backslash_means_nothing_before_version_14() -> None:
    assert _errors("host all all all md5 \\\n", 13) == [(1, "authentication option not in name=value format: \\")]


def test_a_second_backslash_is_kept() -> None:
    assert _words(_rules("host all a\\\\\nb all md5")[0].users) == ["a\\b"]


def test_client_certificate_values_changed_with_14() -> None:
    assert _errors("hostssl all all all md5 clientcert=0", 13) == []
    assert _errors("hostssl all all all md5 clientcert=0", 14) == [(1, 'invalid value for clientcert: "0"')]
    assert _errors("hostssl all all all cert clientname=DN", 13) == [
        (1, 'unrecognized authentication option name: "clientname"')
    ]


def test_oauth_is_known_since_18() -> None:
    line = "host all all all oauth issuer=a scope=b"
    assert _errors(line, 17) == [(1, 'invalid authentication method "oauth"')]
    assert _errors(line, 18) == []


def test_overlong_token_is_refused_before_16() -> None:
    line = f"host all {'x' * 10240} all md5"
    assert _errors(line, 15) == [(1, "authentication file token too long")]
    assert _errors(line, 16) == []


def test_include_lines_are_unknown_before_16() -> None:
    assert _errors("include x", 15, {"x": HOST}) == [(1, 'invalid connection type "include"')]


def test_errors_of_an_included_file_name_that_file() -> None:
    hba = parse_hba(HOST + "include sub/x\n", path="/d/pg_hba.conf", reader=MemoryReader({"/d/sub/x": "\nbad\n"}))
    assert hba.errors == (HbaError(2, 'invalid connection type "bad"', "/d/sub/x", "bad", included=True),)
    assert str(hba.errors[0]) == 'line 2 of /d/sub/x: invalid connection type "..."'


def test_included_rules_stand_where_the_directive_stood() -> None:
    files = {
        "d/b.conf": "host b b all md5\n",
        "d/a.conf": "# x\nhost a a all md5\ninclude_if_exists none\n",
        "d/.c.conf": "bad",
        "d/c.txt": "bad",
    }
    rules = _rules(HOST + "include_dir d\nlocal all all peer\n", 16, files)
    assert [(rule.file, rule.line, rule.main_line, rule.included) for rule in rules] == [
        ("pg_hba.conf", 1, 1, False),
        ("d/a.conf", 2, 2, True),
        ("d/b.conf", 1, 2, True),
        ("pg_hba.conf", 3, 3, False),
    ]


def test_files_nest_ten_deep_and_no_deeper() -> None:
    files = {f"f{n}": f"u{n} @f{n + 1}" for n in range(1, 12)} | {"f10": "end"}
    assert len(_rules("host all @f1 all md5", 16, files)[0].users) == 10
    message = 'could not open file "f11": maximum nesting depth exceeded'
    assert _errors("host all @f1 all md5", 16, files | {"f10": "u10 @f11"}) == [(1, message)]
    assert _errors(HOST + "include loop", 16, {"loop": "include loop"})[0][1].endswith("maximum nesting depth exceeded")


def test_a_file_that_includes_itself_ends_in_an_error_on_old_servers_too() -> None:
    assert len(_errors("host all @loop all md5", 15, {"loop": "a @loop"})) == 1


def test_words_of_a_file_are_found_relative_to_the_including_file() -> None:
    files = {"sub/a": 'x, "all" @b', "sub/b": "y # z\n\n@/abs", "/abs": "w"}
    (rule,) = _rules("host all u,@sub/a,v all md5", 17, files)
    assert rule.users == (
        Token("u"), Token("x"), Token("all", quoted=True), Token("y"), Token("w"), Token("v"),
    )  # fmt: skip


def test_an_empty_file_leaves_no_column_behind() -> None:
    assert _errors("host all @e all md5", 17, {"e": "# x"}) == [(1, "end-of-line before authentication method")]


def test_quotes_make_names_of_keywords_but_not_of_the_connection_type() -> None:
    (rule,) = _rules('"host" "all" "+x" "all" "md5"')
    assert (rule.databases, rule.users) == ((Token("all", quoted=True),), (Token("+x", quoted=True),))
    assert rule.net[3] == "all"  # a host of that name


@pytest.mark.parametrize(
    ("word", "token"),
    [
        ('"a b"', Token("a b", quoted=True)),
        ('a" b"', Token("a b")),
        ('"a""b"', Token('a"b', quoted=True)),
        ('""', Token("", quoted=True)),
        ('""""', Token('"', quoted=True)),
        ('"x,#y"z', Token("x,#yz", quoted=True)),
        ("@", Token("@")),
        ('"@x"', Token("@x", quoted=True)),
        ("a\u00a0b", Token("a\u00a0b")),
        ("a\vb", Token("a\vb")),
    ],
)
def test_words_are_unquoted_like_in_the_server(word: str, token: Token) -> None:
    (rule,) = _rules(f"local {word} all trust")
    assert rule.databases == (token,)


def test_a_nul_ends_the_line_and_swallows_its_line_feed() -> None:
    assert _words(_rules("local all a\0bc\nd trust\n")[0].users) == ["ad"]


def test_bytes_that_are_no_utf8_are_kept(tmp_path: object) -> None:
    path = f"{tmp_path}/pg_hba.conf"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"local \xff all trust\r\n")
    hba = read_hba(path)
    assert [rule.databases for rule in hba.rules] == [(Token("\udcff"),)]
    assert DiskReader().list_dir(str(tmp_path)) == ["pg_hba.conf"]


def test_an_unreadable_main_file_raises(tmp_path: object) -> None:
    with pytest.raises(FileNotFoundError):
        read_hba(f"{tmp_path}/none")


def test_ident_on_the_socket_is_peer() -> None:
    assert _rules("local all all ident map=x")[0].method is Method.PEER


def test_a_rule_prints_as_one_line_that_means_the_same() -> None:
    (rule,) = _rules('hostssl  a" b",all   "x""y",+z 127.0.0.1\t255.0.0.0 cert  map="a b" # c')
    assert format_rule(rule) == 'hostssl a" b",all "x""y",+z 127.0.0.1 255.0.0.0 cert "map=a b"'
