"""The fix for every failure: steps that work when pasted, nearest cause first.

Source: TeslaMate docs/installation/docker.md (service names `database` and `teslamate`, nothing published but 4000),
PostgreSQL documentation ("Client Authentication", "GRANT"), the official postgres image.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from tmsync.core.check_db.hba_line import reload_steps
from tmsync.core.config.settings import DatabaseSettings
from tmsync.core.errors import Cause, Step
from tmsync.core.postgres.session import sql_name

DOCKER_PSQL: Final = "docker compose exec database psql -U teslamate teslamate"
IN_DATABASE: Final = ", under [database] in tmsync's configuration file"
AS_OWNER: Final = f"Run as the owner of TeslaMate's tables ({DOCKER_PSQL}):"


def network_steps(cause: Cause, target: DatabaseSettings) -> tuple[Step, ...]:
    """For resolve and connect."""
    publish = Step(
        "TeslaMate in Docker publishes no database port. On its machine, add this to the service `database` in"
        " docker-compose.yml and start it again:",
        "\n".join(("    ports:", f'      - "{target.port}:5432"', "docker compose up -d database")),
    )
    listen = Step(
        "PostgreSQL without Docker listens on localhost alone unless told otherwise. In postgresql.conf, then restart:",
        "listen_addresses = '*'\nsudo systemctl restart postgresql",
    )
    if cause is Cause.UNRESOLVABLE:
        return (
            Step("Container names (such as database) mean nothing outside Docker: use the machine's name."),
            Step("Or set database.host to its IP address."),
        )
    if cause is Cause.REFUSED:
        running = Step(
            "See whether the server runs:", "docker compose ps database\nsystemctl status postgresql --no-pager"
        )
        add_on = Step(
            "A PostgreSQL add-on of Home Assistant publishes its port only when one is entered on its Configuration"
            " page, under Network."
        )
        return (
            running,
            publish,
            listen,
            add_on,
            Step(f"Or set database.port, if the server does not use {target.port}."),
        )
    return (
        Step("See whether the machine is on and reachable from here:", f"ping -c 3 {target.host}"),
        Step(
            "A firewall that drops packets looks like this. On the server, for ufw:",
            f"sudo ufw allow {target.port}/tcp",
        ),
        publish,
    )


def protocol_steps(cause: Cause, target: DatabaseSettings) -> tuple[Step, ...]:
    """For protocol."""
    return {
        Cause.NOT_POSTGRESQL: (
            Step(f"Something else answers on port {target.port}: set database.host and database.port to PostgreSQL's."),
            Step(
                "A Docker port that leads nowhere closes at once, too; in the service `database` the port inside"
                " the container is 5432:",
                "docker compose ps database",
            ),
        ),
        Cause.NO_ANSWER: (
            Step(
                "Something accepts the connection and stays silent: a hung server, a paused container or a proxy.",
                "docker compose restart database",
            ),
        ),
        Cause.STARTING_UP: (
            Step("Wait until the server has started (or recovered), then try again. Its log says how far it is:"),
            Step("", "docker compose logs --tail 20 database"),
        ),
        Cause.TOO_MANY_CONNECTIONS: (
            Step(
                "See who holds them:",
                "SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2;",
            ),
            Step("Raise the limit in postgresql.conf, then restart:", "max_connections = 200"),
        ),
    }.get(cause, (Step("The server's log says more:", "docker compose logs --tail 20 database"),))


def _mode(say: str, sslmode: str) -> Step:
    return Step(f"{say}{IN_DATABASE}:", f'sslmode = "{sslmode}"')


def tls_steps(cause: Cause, target: DatabaseSettings) -> tuple[Step, ...]:
    """For tls."""
    if cause is Cause.TLS_UNAVAILABLE:
        return (
            _mode("Allow a connection without TLS, which is what TWCManager uses", "prefer"),
            Step("Or switch TLS on in the server's postgresql.conf (ssl = on, with a certificate)."),
        )
    if cause is Cause.TLS_NAME_MISMATCH:
        return (
            Step(f"Set database.host to a name the certificate holds (it does not hold {target.host})."),
            _mode("Or check the certificate's issuer only", "verify-ca"),
        )
    if cause is Cause.TLS_UNTRUSTED:
        return (
            Step(
                f"Name the certificate of the authority that signed the server's{IN_DATABASE}:",
                'sslrootcert = "/etc/tmsync/root.crt"',
            ),
            _mode(
                "Or encrypt without checking who the server is, which also wants no sslrootcert there and no"
                " ~/.postgresql/root.crt",
                "require",
            ),
        )
    return (Step("The server's log says why it broke off:", "docker compose logs --tail 20 database"),)


def hba_steps(cause: Cause, target: DatabaseSettings, line: str | None) -> tuple[Step, ...]:
    """For pg-hba. line: what lets this host in; None for a name that pg_hba.conf cannot hold."""
    if line is None:
        return (Step(f"No pg_hba.conf can name the role {target.user!r}: use another one."),)
    first: tuple[Step, ...] = ()
    if cause is Cause.TLS_ONLY:
        first = (_mode("Use TLS, which the server's rules let through", "prefer"),)
        add = "Or let this host in without TLS: add this line to the server's pg_hba.conf, above all others:"
    elif cause is Cause.PLAIN_ONLY:
        first = (_mode("Connect without TLS, which the server's rules let through", "prefer"),)
        add = "Or let this host in with TLS: add this line to the server's pg_hba.conf, above all others:"
    else:
        add = "Add this line to the server's pg_hba.conf, above all others (the first line that matches decides):"
    return (
        *first,
        Step(add, line),
        Step(
            "Debian keeps it at /etc/postgresql/<version>/main/pg_hba.conf; any server tells a superuser where it is:",
            "SHOW hba_file;",
        ),
        *_in_docker(line),
        *reload_steps(),
    )


def _in_docker(line: str) -> tuple[Step, ...]:
    """The line put in by one command; not for names that a shell or sed would read otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9_ ./:-]+", line):
        return ()
    insert = f'docker compose exec database sh -c \'sed -i "1i {line}" "$PGDATA/pg_hba.conf"\''
    return (
        Step(
            "In TeslaMate's Docker container (whose image lets every host in with a password, until somebody changes"
            " that):",
            insert,
        ),
    )


def grants(target: DatabaseSettings, table: str) -> tuple[str, ...]:
    """What a role needs to read the tokens, and no more."""
    schema, role = table.split(".", maxsplit=1)[0], sql_name(target.user)
    return (f"GRANT USAGE ON SCHEMA {schema} TO {role};", f"GRANT SELECT ON {table} TO {role};")


def login_steps(cause: Cause, target: DatabaseSettings, words: str, ignored: str) -> tuple[Step, ...]:
    """For login. ignored: a password file that libpq refuses for its permissions."""
    role, database = sql_name(target.user), sql_name(target.name)
    build = _LOGIN.get(cause)
    if build is None:
        return (Step(f"The server says: {words}"),)
    steps = build(role, database)
    if ignored:
        steps = (Step(f"libpq ignores {ignored} while others can read it:", f"chmod 600 {ignored}"), *steps)
    return steps


def _bad_credentials(role: str, _database: str) -> tuple[Step, ...]:
    return (
        Step(
            "Set database.password to the one that TeslaMate uses:",
            "docker compose exec teslamate printenv DATABASE_PASS",
        ),
        Step(
            "The server tells all of these alike: wrong password, unknown role, expired or missing password, or a"
            " password stored as md5 where pg_hba.conf asks for scram-sha-256. Setting it anew mends the last three"
            " (as a superuser; psql asks for the password):",
            "\n".join((f"{DOCKER_PSQL}", f"\\password {role}")),
        ),
    )


def _no_password(_role: str, _database: str) -> tuple[Step, ...]:
    return (
        Step(
            "Put the password into the configuration file (mode 0600), into a file of its own named by"
            " database.password_file, into TMSYNC_DATABASE_PASSWORD, or into ~/.pgpass. TeslaMate's is here:",
            "docker compose exec teslamate printenv DATABASE_PASS",
        ),
    )


def _unknown_role(role: str, database: str) -> tuple[Step, ...]:
    return (
        Step("Set database.user to TeslaMate's own role (teslamate by default), or create one as a superuser:"),
        Step("", "\n".join((f"CREATE ROLE {role} LOGIN;", f"GRANT CONNECT ON DATABASE {database} TO {role};"))),
        Step("Then give it a password in psql:", f"\\password {role}"),
    )


_LOGIN: Final[Mapping[Cause, Callable[[str, str], tuple[Step, ...]]]] = {
    Cause.NO_PASSWORD: _no_password,
    Cause.BAD_CREDENTIALS: _bad_credentials,
    Cause.UNKNOWN_ROLE: _unknown_role,
    Cause.NO_LOGIN: lambda role, _: (Step("Allow the role to log in, as a superuser:", f"ALTER ROLE {role} LOGIN;"),),
    Cause.NO_DATABASE: lambda _, __: (
        Step("Set database.name to TeslaMate's DATABASE_NAME (teslamate by default). It is here:"),
        Step("", "docker compose exec teslamate printenv DATABASE_NAME"),
    ),
    Cause.NO_CONNECT_PRIVILEGE: lambda role, database: (
        Step(AS_OWNER, f"GRANT CONNECT ON DATABASE {database} TO {role};"),
    ),
    Cause.NOT_ACCEPTING: lambda _, database: (
        Step(
            "Somebody has closed the database to connections. As a superuser, connected to another database:",
            f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true;",
        ),
    ),
    Cause.TOO_MANY_CONNECTIONS: lambda role, database: (
        Step("The role or the database has a limit of its own. As a superuser, lift it:"),
        Step(
            "",
            f"ALTER ROLE {role} CONNECTION LIMIT -1;\nALTER DATABASE {database} CONNECTION LIMIT -1;",
        ),
    ),
    Cause.STARTING_UP: lambda _, __: (Step("Wait until the server has started, then try again."),),
}

KEY_STEPS: Final = (
    Step(
        "Set teslamate.encryption_key to TeslaMate's ENCRYPTION_KEY, byte for byte. It is here:",
        "docker compose exec teslamate printenv ENCRYPTION_KEY",
    ),
    Step(
        "If that prints nothing, TeslaMate made a key itself and keeps it in tm_encryption.key, in its import folder"
        " (/opt/app/import in the container) or its temporary folder."
    ),
)
SIGN_IN_STEPS: Final = (
    Step("Sign in to your Tesla account on TeslaMate's web page (port 4000), then try again."),
    Step("TeslaMate's log says why it could not renew the tokens:", "docker compose logs --tail 50 teslamate"),
)
STORE_STEPS: Final[Mapping[Cause, tuple[Step, ...]]] = {
    Cause.NOT_TESLAMATE: (
        Step("Set database.name to TeslaMate's DATABASE_NAME (teslamate by default). It is here:"),
        Step("", "docker compose exec teslamate printenv DATABASE_NAME"),
    ),
    Cause.NO_TOKENS_TABLE: (
        Step("Let TeslaMate finish its migrations:", "docker compose restart teslamate"),
        Step("Its log says how far it came:", "docker compose logs --tail 50 teslamate"),
    ),
    Cause.SIGNED_OUT: SIGN_IN_STEPS[:1],
    Cause.SEVERAL_ROWS: (
        Step("See which row is current (the newest), and delete the others:"),
        Step("", "SELECT id, inserted_at, updated_at FROM {table} ORDER BY updated_at;"),
    ),
    Cause.NO_KEY: KEY_STEPS,
    Cause.WRONG_KEY: KEY_STEPS,
    Cause.CORRUPT: SIGN_IN_STEPS[:1],
    Cause.PLAIN_TEXT: (Step("Update TeslaMate: it encrypts its tokens since 1.27.0."),),
    Cause.EXPIRED: SIGN_IN_STEPS[::-1],
    Cause.EXPIRES_SOON: (
        Step("TeslaMate renews tokens well before this. If it does not, its log says why:", SIGN_IN_STEPS[1].command),
    ),
    Cause.OWNER_API: (
        Step(
            "Tesla has retired the Owner API. Give TeslaMate Fleet API access and sign in again (TeslaMate's manual)."
        ),
    ),
    Cause.NO_JWT: SIGN_IN_STEPS[:1],
}


def store_steps(cause: Cause, target: DatabaseSettings, table: str) -> tuple[Step, ...]:
    """For schema, tokens, decrypt and claims."""
    if cause is Cause.NO_PRIVILEGE:
        return (Step(AS_OWNER, "\n".join(grants(target, table))),)
    steps = STORE_STEPS.get(cause, ())
    return tuple(Step(words, command.format(table=table)) for words, command, _ in steps)
