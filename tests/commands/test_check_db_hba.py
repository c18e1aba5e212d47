"""check-db --pg-hba: the file's result, the insertion, and the fix applied to a real cluster."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.surroundings import LOCAL, OPEN, Run, TeslaMate, tmsync

MINE = "host teslamate teslamate 192.168.1.50/32 scram-sha-256"
REJECTING = "# mine\nlocal all all peer\nhost all all 0.0.0.0/0 reject\nhost all all 192.168.1.0/24 scram-sha-256\n"


def offline(path: Path, *arguments: str, address: str = "192.168.1.50") -> Run:
    """The file alone, nothing contacted."""
    return tmsync("check-db", "--json", "--pg-hba", str(path), "--offline", "--client-address", address, *arguments)


@pytest.fixture
def hba(tmp_path: Path) -> Path:
    path = tmp_path / "pg_hba.conf"
    path.write_text(REJECTING)
    return path


# -- offline


def test_offline_runs_the_one_check_and_contacts_nothing(hba: Path) -> None:
    run = offline(hba, "--db-host", "never.asked.invalid")
    assert [check["id"] for check in run.json["checks"]] == ["hba-file"]
    assert run.code == 1


def test_reject_line_is_named_with_why_the_later_line_is_not_reached(hba: Path) -> None:
    run = offline(hba)
    check = run.check("hba-file")
    assert (check["status"], check["cause"], check["outcome"]) == ("fail", "rejected", "reject")
    assert check["match"] == {"line": 3, "text": "host all all 0.0.0.0/0 reject", "method": "reject"}
    assert check["errors"] == []
    assert (check["hba_line"], check["insert_before_line"]) == (MINE, 3)
    assert f"+{MINE}\n" in check["diff"]
    assert "line 4 `host all all 192.168.1.0/24 scram-sha-256` would match, but line 3" in check["detail"]
    assert hba.read_text() == REJECTING


def test_no_entry_names_what_is_nearly_right(hba: Path) -> None:
    hba.write_text("host teslamate teslamate 192.168.2.0/24 scram-sha-256\nhostssl all all 192.168.1.50/32 md5")
    check = offline(hba, "--no-client-tls").check("hba-file")
    assert (check["cause"], check["outcome"], check["match"]) == ("no-entry", "no-entry", None)
    assert (check["hba_line"], check["insert_before_line"]) == (MINE, 3)
    assert "its address does not cover 192.168.1.50" in check["detail"]
    assert "it wants TLS and the connection has none" in check["detail"]
    assert offline(hba, "--client-tls").check("hba-file")["outcome"] == "scram-sha-256"
    # Without either flag what sslmode tries counts: prefer tries TLS first.
    assert offline(hba).code == 0
    assert offline(hba, "--sslmode", "disable").check("hba-file")["cause"] == "no-entry"


def test_broken_file_is_reported_as_what_it_is(hba: Path) -> None:
    hba.write_text("host all all 192.168.1.0/24\nhost all all all \\\n  scram\nhost all all all scram-sha-256\n")
    run = offline(hba)
    check = run.check("hba-file")
    assert (run.code, check["status"], check["cause"]) == (1, "fail", "syntax-error")
    assert check["errors"] == [
        {"line": 1, "message": "end-of-line before authentication method"},
        {"line": 2, "message": 'invalid authentication method "scram"'},
    ]
    assert check["match"]["line"] == 4
    assert "keeps the rules it had" in " ".join(check["fix"])


def test_membership_and_included_files_count(hba: Path) -> None:
    (hba.parent / "users.txt").write_text("+readers, boss\n")
    (hba.parent / "more.conf").write_text("\nhost all @users.txt all scram-sha-256\n")
    hba.write_text("include more.conf\n")
    assert offline(hba).check("hba-file")["cause"] == "no-entry"
    check = offline(hba, "--member-of", "readers").check("hba-file")
    assert (check["outcome"], check["match"]["line"], check["match"]["file"]) == (
        "scram-sha-256", 2, str(hba.parent / "more.conf"),
    )  # fmt: skip


def test_version_beside_the_file_decides_how_it_is_read(hba: Path) -> None:
    hba.write_text("include more.conf\n")
    (hba.parent / "PG_VERSION").write_text("15\n")
    check = offline(hba).check("hba-file")
    assert check["errors"] == [{"line": 1, "message": 'invalid connection type "include"'}]
    assert check["server_major"] == 15


@pytest.mark.parametrize("method", ["peer", "ident", "gss", "cert"])
def test_method_without_password_is_a_failure_with_a_fix(hba: Path, method: str) -> None:
    address = "local" if method == "peer" else "192.168.1.50"
    hba.write_text(f"local all all {method}\n" if method == "peer" else f"hostssl all all all {method}\n")
    check = offline(hba, "--client-tls", address=address).check("hba-file")
    assert (check["cause"], check["insert_before_line"]) == ("no-password-method", 1)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("host all all 0.0.0.0/0 trust", "trust-over-network"),
        ("host all all all scram-sha-256", "any-address"),
        ("host all all 192.168.1.0/24 md5", "md5"),
        ("host all all 192.168.1.0/24 password", "cleartext-over-network"),
    ],
)
def test_entry_wider_or_weaker_than_needed_is_a_warning(hba: Path, rule: str, kind: str) -> None:
    hba.write_text(f"{rule}\n")
    run = offline(hba, "--no-client-tls")
    check = run.check("hba-file")
    assert (run.code, check["status"], check["cause"]) == (0, "warn", "too-wide")
    assert kind in [finding["kind"] for finding in check["findings"]]


def test_rule_that_is_never_reached_is_remarked(hba: Path) -> None:
    hba.write_text(f"{MINE}\n{MINE}\n")
    check = offline(hba).check("hba-file")
    assert check["status"] == "pass"
    assert [(finding["line"], finding["kind"]) for finding in check["findings"]] == [(2, "unreachable")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--offline"], "--offline goes with --pg-hba"),
        (["--apply"], "--apply goes with --pg-hba"),
        (["--pg-hba", "/nonexistent/pg_hba.conf", "--offline", "--client-address", "10.0.0.1"], "No such file"),
        (["--pg-hba", "/dev/zero", "--offline", "--client-address", "10.0.0.1"], "not a regular file"),
        (["--pg-hba", "/etc/hostname", "--offline"], "--client-address"),
        (["--pg-hba", "/etc/hostname", "--offline", "--client-address", "me"], "not an IP address"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], words: str) -> None:
    run = tmsync("check-db", *arguments)
    assert run.code == 2
    assert words in run.out + run.err
    assert "Traceback" not in run.err


# -- apply


def test_apply_offline_writes_the_line_and_says_how_to_reload(hba: Path) -> None:
    hba.chmod(0o640)
    run = offline(hba, "--apply")
    check = run.check("hba-file")
    assert (run.code, check["status"], check["applied"], check["reloaded"]) == (0, "pass", True, False)
    assert hba.read_text().splitlines()[2] == MINE
    assert Path(check["backup"]).read_text() == REJECTING
    assert stat.S_IMODE(hba.stat().st_mode) == stat.S_IMODE(Path(check["backup"]).stat().st_mode) == 0o640
    assert "SELECT pg_reload_conf();" in check["fix"]
    again = offline(hba, "--apply")
    assert (again.code, again.check("hba-file")["match"]["line"]) == (0, 3)
    assert hba.read_text().count(MINE) == 1


@pytest.mark.parametrize("text", ["host all all\n", "local all all trust\x00\n"], ids=["broken", "nul"])
def test_apply_writes_nothing_when_it_would_not_help(hba: Path, text: str) -> None:
    hba.write_text(text)
    before = hba.stat()
    assert offline(hba, "--apply").code == 1
    assert hba.read_text() == text
    assert (hba.stat().st_ino, hba.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in hba.parent.iterdir()) == ["pg_hba.conf"]


@pytest.mark.root
def test_apply_by_a_user_who_may_not_write_changes_nothing(hba: Path) -> None:
    for folder in hba.parents:
        folder.chmod(folder.stat().st_mode | 0o055)
        if folder == Path("/tmp"):
            break
    # Everything is imported before the user changes, who may not be able to read the installation.
    script = (
        "import contextlib, io, os, sys\n"
        "from tmsync.cli import run\n"
        "from tmsync.core.check_db import hba_apply\n"
        "with contextlib.redirect_stdout(io.StringIO()): run(sys.argv[1:])\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(run([*sys.argv[1:], '--apply']))\n"
    )
    arguments = ["check-db", "--json", "--pg-hba", str(hba), "--offline", "--client-address", "192.168.1.50"]
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={"HOME": "/nonexistent"})
    check = json.loads(done.stdout)["checks"][0]
    assert (done.returncode, check["cause"]) == (1, "hba-unwritable")
    assert hba.read_text() == REJECTING


def test_apply_on_a_real_cluster_turns_a_failing_check_into_a_passing_one(every_teslamate: TeslaMate) -> None:
    rules = f"{LOCAL}host all all 127.0.0.0/8 reject\n"
    every_teslamate.hba(rules)
    path = every_teslamate.postgres.hba_file
    owner = path.stat()
    arguments = ("--pg-hba", str(path))
    before = every_teslamate.check_db(*arguments)
    assert (before.code, before.failed["cause"] if before.failed else "") == (1, "rejected")
    assert "By the file: line 2 rejects" in before.check("pg-hba")["detail"]
    assert before.check("hba-file")["insert_before_line"] == 2
    run = every_teslamate.check_db(*arguments, "--apply")
    assert run.failed is None, run.out
    assert run.code == 0
    check = run.check("hba-file")
    assert (check["applied"], check["reloaded"]) == (True, True)
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) == (owner.st_uid, owner.st_gid, owner.st_mode)
    assert every_teslamate.check_db().code == 0
    path.with_name("pg_hba.conf.backup").unlink()


def test_file_that_the_server_has_not_read_yet_is_told(teslamate: TeslaMate) -> None:
    teslamate.hba(LOCAL)
    teslamate.postgres.write_hba(OPEN)
    run = teslamate.check_db("--pg-hba", str(teslamate.postgres.hba_file))
    assert run.failed is not None
    assert run.failed["id"] == "pg-hba"
    assert "has not read this version yet" in run.failed["detail"]
    # There is nothing to insert, but the server can be told.
    assert teslamate.check_db("--pg-hba", str(teslamate.postgres.hba_file), "--apply").code == 0
    assert teslamate.check_db().code == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_anywhere_the_file_is_the_old_or_the_new_one(tmp_path: Path, moment: str) -> None:
    script = (
        "import os, signal, sys\n"
        "from tmsync.cli import run\n"
        "from tmsync.core.files import replace\n"
        "from tmsync.core.check_db import examine, hba_apply\n"
        "step, moment, done = int(sys.argv[1]), sys.argv[2], 0\n"
        "def guarded(call):\n"
        "    def wrapped(*arguments, **named):\n"
        "        global done\n"
        "        done += 1\n"
        "        if done == step and moment == 'before': os.kill(os.getpid(), signal.SIGKILL)\n"
        "        result = call(*arguments, **named)\n"
        "        if done == step and moment == 'after': os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return result\n"
        "    return wrapped\n"
        "write = hba_apply.write_insertion\n"
        "def armed(*arguments):\n"
        "    for name in ('open', 'fsync', 'fchmod', 'rename', 'replace', 'unlink', 'close'):\n"
        "        setattr(os, name, guarded(getattr(os, name)))\n"
        "    return write(*arguments)\n"
        "hba_apply.write_insertion = armed\n"
        "sys.exit(run(sys.argv[3:]))\n"
    )
    new = REJECTING.replace("host all all 0.0", f"{MINE}\nhost all all 0.0")
    steps = 0
    while True:
        steps += 1
        path = tmp_path / str(steps) / "pg_hba.conf"
        path.parent.mkdir()
        path.write_text(REJECTING)
        arguments = ["check-db", "--pg-hba", str(path), "--offline", "--client-address", "192.168.1.50", "--apply"]
        command = [sys.executable, "-c", script, str(steps), moment, *arguments]
        code = subprocess.run(command, capture_output=True, env={"HOME": "/nonexistent"}).returncode
        assert path.read_text() in (REJECTING, new)
        if code == 0:
            break
        assert code == -9
    assert steps > 5


def test_apply_never_overwrites_a_backup_the_users_own_or_the_original(hba: Path) -> None:
    kept = hba.with_name("pg_hba.conf.backup")
    kept.write_text("# my own\n")
    first = json.loads(offline(hba, "--apply").out)["checks"][0]
    assert (kept.read_text(), Path(first["backup"]).name) == ("# my own\n", "pg_hba.conf.backup.1")
    assert Path(first["backup"]).read_text() == REJECTING
    offline(hba, "--apply", address="192.168.1.51")
    assert Path(first["backup"]).read_text() == REJECTING
    assert hba.with_name("pg_hba.conf.backup.2").exists()


def test_apply_fixes_a_file_of_comments_only(hba: Path) -> None:
    hba.write_text("# nothing yet\n")
    assert offline(hba, "--apply").code == 0
    assert hba.read_text() == f"# nothing yet\n{MINE}\n"


def test_apply_keeps_extended_attributes_and_sweeps_what_a_killed_run_left(hba: Path) -> None:
    left = hba.with_name(".pg_hba.conf.tmsync-0123456789ab")
    left.write_text("left behind")
    os.utime(left, (1, 1))
    os.setxattr(hba, "user.note", b"mine")
    assert offline(hba, "--apply").code == 0
    assert os.getxattr(hba, "user.note") == b"mine"
    assert sorted(path.name for path in hba.parent.iterdir()) == ["pg_hba.conf", "pg_hba.conf.backup"]


SECRET_LINES = [
    "ldapserver=h ldapbasedn=x ldapbindpasswd=my-SECRET",
    'ldapserver=h ldapbasedn=x "ldapbindpasswd=my-SECRET with blanks my-SECRET"',
    'ldapserver=h ldapbasedn=x ldapbindpasswd="my-SECRET ""quoted"" my-SECRET"',
    'ldapserver=h ldapbasedn=x ldapbindpasswd=my"-SECRET my-SECRET"',
    'ldapserver=h ldapbasedn=x "ldapbindpasswd"=my-SECRET',
    'ldapserver=h ldapbasedn=x ldap"bindpasswd=my-SECRET my-SECRET"',
    "ldapserver=h ldapbasedn=x ldapbindpasswd=\\\nmy-SECRET",
    "ldapserver=h ldapbasedn=x ldapbindpass\\\nwd=my-SEC\\\nRET-SECRET",
    "ldapserver=h ldapbasedn=x ldapbindpasswd=my#SECRET",
    "ldapserver=h ldapbasedn=x ldapbindpasswd=my,my-SECRET",
    "ldapserver=h ldapbasedn=x ldapbindpasswd=my, my-SECRET",
    "ldapserver=h ldapbasedn=x ldapbindpasswd = my-SECRET",
    "ldapserver=h ldapbasedn=x # ldapbindpasswd=my-SECRET",
]


@pytest.mark.parametrize("options", SECRET_LINES)
@pytest.mark.parametrize("form", ["--json", "--format=table"])
@pytest.mark.parametrize("address", ["192.168.1.50", "10.0.0.1"])
def test_passwords_in_rules_are_not_shown(hba: Path, options: str, form: str, address: str) -> None:
    rule = f"host all all 192.168.1.50/32 ldap {options}\n"
    hba.write_text(f"{rule}{rule}host x x all radius radiussecrets=my-SECRET\n")
    run = tmsync("check-db", form, "--pg-hba", str(hba), "--offline", "--client-address", address)
    assert "SECRET" not in run.out + run.err


def test_what_an_included_file_holds_is_not_quoted(hba: Path) -> None:
    hba.with_name("shadow").write_text("root:$6$my-SECRET:19000::::::\n")
    hba.with_name("PG_VERSION").write_text("17\n")
    for line in (
        "include shadow",
        "host @shadow @shadow all md5",
        "host all all all @shadow",
        "host a a a md5 @shadow",
    ):
        hba.write_text(f"{line}\n")
        for form in ("--json", "--format=table"):
            run = tmsync("check-db", form, "--pg-hba", str(hba), "--offline", "--client-address", "10.0.0.1")
            assert "SECRET" not in run.out + run.err, (line, run.out)


def test_included_pipes_and_devices_hang_nobody(hba: Path) -> None:
    os.mkfifo(hba.with_name("pipe"))
    hba.with_name("PG_VERSION").write_text("17\n")
    for line in ("include pipe", "host @pipe all all md5", "include /dev/zero", "host @/dev/zero all all md5"):
        hba.write_text(f"{line}\n")
        run = offline(hba)
        assert run.code == 1
        assert "it is not a regular file" in json.loads(run.out)["checks"][0]["summary"]
    hba.with_name("PG_VERSION").unlink()
    os.mkfifo(hba.with_name("PG_VERSION"))
    for path in (hba.with_name("pipe"), Path("/dev/zero")):
        assert offline(path).json["checks"][0]["cause"] == "unreadable-file"


def test_expression_that_python_would_try_for_ever_is_left_to_the_server(hba: Path) -> None:
    hba.with_name("PG_VERSION").write_text("17\n")
    hba.write_text("host all /(e*)*(s*)*x all trust\nhost all /^.*t.*e.*s.*l.*!$ all trust\n")
    check = offline(hba).check("hba-file")
    assert check["detail"].count("only the server can tell") == 2


def test_endless_includes_end(hba: Path) -> None:
    hba.with_name("PG_VERSION").write_text("17\n")
    for level in range(10):
        hba.with_name(f"{level}.conf").write_text(f"include {level + 1}.conf\n" * 10)
    hba.write_text("include 0.conf\n")
    check = offline(hba).check("hba-file")
    assert check["cause"] == "syntax-error"
    assert "more is included than tmsync reads" in check["errors"][-1]["message"]


def test_apply_tells_of_hard_links_and_lost_attributes(hba: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.setxattr(hba, "user.note", b"mine")
    monkeypatch.setattr(os, "setxattr", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
    hba.with_name("other").hardlink_to(hba)
    check = offline(hba, "--apply").check("hba-file")
    assert "hard links: 1" in check["detail"]
    assert "user.note" in check["detail"]
    assert hba.with_name("other").read_text() == REJECTING


# -- the running server's own rules


@pytest.fixture
def superuser(teslamate: TeslaMate) -> TeslaMate:
    """TeslaMate's role as the official postgres image makes it: a superuser."""
    teslamate.sql("alter role teslamate superuser", "postgres")
    yield teslamate  # type: ignore[misc]
    teslamate.sql("alter role teslamate nosuperuser", "postgres")


def test_superuser_is_told_which_line_of_the_server_decides(superuser: TeslaMate) -> None:
    superuser.hba(f"{LOCAL}host all +nobody_here 127.0.0.1/32 reject\nhost all all 127.0.0.0/8 scram-sha-256\n")
    run = superuser.check_db()
    path = str(superuser.postgres.hba_file)
    assert run.check("pg-hba")["hba_file"] == path
    assert run.check("pg-hba")["detail"] == f"line 3 of {path} decides: host all all 127.0.0.0/8 scram-sha-256"


def test_superuser_is_warned_of_a_file_that_the_server_refuses(superuser: TeslaMate) -> None:
    superuser.postgres.write_hba(f"{OPEN}host all all all scram\n")
    run = superuser.check_db()
    check = run.check("pg-hba")
    assert (run.code, check["status"], check["cause"]) == (0, "warn", "syntax-error")
    assert 'pg_hba.conf: invalid authentication method "scram"' in check["detail"]
    superuser.postgres.write_hba(f"{OPEN}host all all all ldap ldapbindpasswd = my-SECRET\n")
    assert "SECRET" not in superuser.check_db().out


LOOKING = (
    "grant pg_read_all_settings to {role}; grant select on pg_catalog.pg_hba_file_rules to {role};"
    " grant execute on function pg_catalog.pg_hba_file_rules() to {role}"
)
READING = (
    "grant pg_read_server_files to {role}; grant execute on function pg_catalog.pg_read_binary_file(text) to {role}"
)
TAKE_AWAY = (
    "revoke pg_read_all_settings, pg_read_server_files from {role};"
    " revoke all on pg_catalog.pg_hba_file_rules from {role};"
    " revoke all on function pg_catalog.pg_hba_file_rules(), pg_catalog.pg_read_binary_file(text) from {role}"
)


@pytest.fixture
def granted(every_teslamate: TeslaMate) -> TeslaMate:
    """A role that may look at the rules without being a superuser; a test may add to that."""
    every_teslamate.sql(LOOKING.format(role="teslamate"))
    yield every_teslamate  # type: ignore[misc]
    every_teslamate.sql(TAKE_AWAY.format(role="teslamate"))


def test_role_with_the_grants_is_told_like_a_superuser(granted: TeslaMate) -> None:
    path = str(granted.postgres.hba_file)
    only_looking = granted.check_db().check("pg-hba")
    assert (only_looking["status"], only_looking["hba_file"], only_looking["detail"]) == ("pass", path, "")
    granted.sql(READING.format(role="teslamate"))
    reading = granted.check_db().check("pg-hba")
    assert (reading["hba_file"], reading["detail"]) == (
        path,
        f"line 2 of {path} decides: host all all all scram-sha-256",
    )
    granted.postgres.write_hba(f"{OPEN}host all all all scram\n")
    assert granted.check_db().check("pg-hba")["cause"] == "syntax-error"


def test_role_without_the_grants_is_not_told(teslamate: TeslaMate) -> None:
    assert "hba_file" not in teslamate.check_db().check("pg-hba")
