"""Fixes for TeslaMate's database: protocol, TLS, login, tables.

Source: TeslaMate docs/installation/docker.md (services `database` and `teslamate`), PostgreSQL documentation ("Client
Authentication", "GRANT", "ALTER ROLE"), the official postgres image (POSTGRES_PASSWORD).
"""

from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Place, Step
from tmsync.core.fixes import Fixes

PSQL: Final = (
    Step(
        "How to open psql as a superuser:",
        "docker compose exec database psql -U teslamate {database_arg}",
        Place.DOCKER,
    ),
    Step("How to open psql as a superuser:", "sudo -u postgres psql {database_arg}", Place.NATIVE),
)
RECORDS: Final = (
    "GRANT SELECT ON cars, car_settings, states, drives, positions, charging_processes, charges, updates TO {role};"
)
SERVER_LOG: Final = (
    Step("The server's log says more:", "docker compose logs --tail 20 database", Place.DOCKER),
    Step("The server's log says more:", "journalctl -u 'postgresql*' -n 20 --no-pager", Place.NATIVE),
)
DATABASE_NAME: Final = (
    Step("Set database.name to TeslaMate's DATABASE_NAME (teslamate by default)."),
    Step("It is here:", "docker compose exec teslamate printenv DATABASE_NAME", Place.DOCKER),
    Step("It is here:", "systemctl cat teslamate | grep DATABASE_NAME", Place.NATIVE),
)
DATABASE_PASS: Final = (
    Step("TeslaMate's password is here:", "docker compose exec teslamate printenv DATABASE_PASS", Place.DOCKER),
    Step("TeslaMate's password is here:", "systemctl cat teslamate | grep DATABASE_PASS", Place.NATIVE),
)
UNREADABLE_PGPASS: Final = Step("libpq ignores {pgpass} while others can read it:", "chmod 600 {pgpass}")

FIXES: Final[Fixes] = {
    Cause.NOT_POSTGRESQL: (
        Step("Another program answers on port {port}: set database.host and database.port to PostgreSQL's."),
        Step(
            "A published port with nothing behind it closes at once, too; the container's own port is 5432:",
            "docker compose ps database",
            Place.DOCKER,
        ),
    ),
    Cause.NO_ANSWER: (
        Step("The container may be paused, or the server hangs:", "docker compose restart database", Place.DOCKER),
        Step("The server may hang:", "sudo systemctl restart postgresql", Place.NATIVE),
    ),
    Cause.STARTING_UP: (
        Step("Wait until the server has started or recovered, then try again."),
        *SERVER_LOG,
    ),
    Cause.TOO_MANY_CONNECTIONS: (
        Step(
            "See who holds the connections, as a superuser in psql:",
            "SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2;",
        ),
        Step("Raise the server's limit in postgresql.conf, then restart it:", "max_connections = 200"),
        Step(
            "Where the role or the database has a limit of its own, lift it:",
            "ALTER ROLE {role} CONNECTION LIMIT -1;\nALTER DATABASE {database} CONNECTION LIMIT -1;",
        ),
        *PSQL,
    ),
    Cause.CONNECTION_LOST: SERVER_LOG,
    Cause.SERVER_ERROR: (Step("Try again."), *SERVER_LOG),
    Cause.POOLER: (
        Step(
            "A pooler or proxy (PgBouncer, Supavisor, Neon's, RDS Proxy) stands before PostgreSQL: its configuration"
            " decides this, and its log tells more. Where it quotes pg_hba.conf, PostgreSQL refuses the pooler."
        ),
        Step("Or connect to PostgreSQL itself: set database.host and database.port to the server's."),
    ),
    (Cause.BAD_CREDENTIALS, "pooler"): (
        UNREADABLE_PGPASS,
        Step("Set database.password to the one that TeslaMate uses."),
        Step("The pooler must know the role, too; for PgBouncer, by a line of its auth_file:", '"{role}" "password"'),
        Step("Or connect to PostgreSQL itself: set database.host and database.port to the server's."),
        *DATABASE_PASS,
    ),
    (Cause.NO_DATABASE, "pooler"): (
        Step("Set database.name to a database that the pooler lists; for PgBouncer, under [databases]."),
        *DATABASE_NAME[1:],
    ),
    (Cause.TOO_MANY_CONNECTIONS, "pooler"): (
        Step("Raise the pooler's limit; for PgBouncer, in pgbouncer.ini, then restart it:", "max_client_conn = 200"),
        Step("Or connect to PostgreSQL itself: set database.host and database.port to the server's."),
    ),
    Cause.TLS_UNAVAILABLE: (
        Step(
            "Allow a connection without TLS, which is what TWCManager uses, under [database] in tmsync's configuration"
            " file:",
            'sslmode = "prefer"',
        ),
        Step("Or switch TLS on in the server's postgresql.conf (ssl = on, with a certificate)."),
    ),
    Cause.TLS_FAILED: SERVER_LOG,
    Cause.NO_PASSWORD: (
        UNREADABLE_PGPASS,
        Step(
            "Put the password into the configuration file (mode 0600), into a file of its own named by"
            " database.password_file, into TMSYNC_DATABASE_PASSWORD, or into ~/.pgpass."
        ),
        *DATABASE_PASS,
    ),
    Cause.BAD_CREDENTIALS: (
        UNREADABLE_PGPASS,
        Step("Set database.password to the one that TeslaMate uses."),
        Step(
            "The server does not tell these apart: a wrong password, an unknown role, an expired or missing password,"
            " a password stored as md5 where pg_hba.conf asks for scram-sha-256. Setting it again, in psql, fixes all"
            " but the second:",
            "SET password_encryption = 'scram-sha-256';\n\\password {role}",
        ),
        *DATABASE_PASS[:1],
        Step(
            "POSTGRES_PASSWORD in docker-compose.yml counts only when the database's volume is first started: changed"
            " later, it changes nothing.",
            place=Place.DOCKER,
        ),
        *PSQL[:1],
        *DATABASE_PASS[1:],
        *PSQL[1:],
    ),
    Cause.UNKNOWN_ROLE: (
        Step("Set database.user to TeslaMate's own role (teslamate by default)."),
        Step(
            "Or create one, as a superuser in psql:",
            "CREATE ROLE {role} LOGIN;\nGRANT CONNECT ON DATABASE {database} TO {role};\n\\password {role}",
        ),
        *PSQL,
    ),
    Cause.NO_LOGIN: (
        Step("Allow the role to log in, as a superuser in psql:", "ALTER ROLE {role} LOGIN;"),
        *PSQL,
    ),
    Cause.NO_DATABASE: DATABASE_NAME,
    Cause.NO_CONNECT_PRIVILEGE: (
        Step(
            "Allow it, as the database's owner or a superuser in psql:",
            "GRANT CONNECT ON DATABASE {database} TO {role};",
        ),
        *PSQL,
    ),
    Cause.NOT_ACCEPTING: (
        Step(
            "The database was closed to connections. Open it, as a superuser connected to another database:",
            "ALTER DATABASE {database} WITH ALLOW_CONNECTIONS true;",
        ),
        Step(
            "How to open psql as a superuser:", "docker compose exec database psql -U teslamate postgres", Place.DOCKER
        ),
        Step("How to open psql as a superuser:", "sudo -u postgres psql postgres", Place.NATIVE),
    ),
    Cause.LOGIN_FAILED: SERVER_LOG,
    (Cause.LOGIN_FAILED, "libpq"): (
        Step(
            "libpq, PostgreSQL's client library, also reads variables and files of its own. See which there are:",
            "env | grep ^PG\nls -l ~/.postgresql",
        ),
    ),
    Cause.NOT_TESLAMATE: DATABASE_NAME,
    Cause.NO_TOKENS_TABLE: (
        Step("Let TeslaMate finish its migrations:", "docker compose restart teslamate", Place.DOCKER),
        Step("Its log shows how far it got:", "docker compose logs --tail 50 teslamate", Place.DOCKER),
        Step("Let TeslaMate finish its migrations:", "sudo systemctl restart teslamate", Place.NATIVE),
        Step("Its log shows how far it got:", "journalctl -u teslamate -n 50 --no-pager", Place.NATIVE),
    ),
    (Cause.NO_PRIVILEGE, "records"): (
        Step("Allow it, as the owner of TeslaMate's tables or a superuser in psql:", RECORDS),
        *PSQL,
    ),
    Cause.NO_PRIVILEGE: (
        Step(
            "Allow it, as the owner of TeslaMate's tables or a superuser in psql:",
            "GRANT USAGE ON SCHEMA {schema} TO {role};\nGRANT SELECT ON {table} TO {role};",
        ),
        Step(
            "status, watch-mqtt --with-db and serve also read the vehicles and their newest records:",
            RECORDS,
        ),
        Step(
            "and whether TeslaMate is connected (only a superuser can allow this):",
            "GRANT pg_read_all_stats TO {role};",
        ),
        *PSQL,
    ),
    Cause.SIGNED_OUT: (Step("Sign in to your Tesla account on TeslaMate's web page (port 4000), then try again."),),
    Cause.SEVERAL_ROWS: (
        Step(
            "See which row is current (the newest), and delete the others, in psql:",
            "SELECT id, inserted_at, updated_at FROM {table} ORDER BY updated_at;",
        ),
        *PSQL,
    ),
}
