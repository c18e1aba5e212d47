"""Private servers for the tests that ask PostgreSQL itself."""

from collections.abc import Iterator

import pytest

from tests.conftest import ALL_BINARIES
from tests.hba.pgserver import HbaServer

SET_UP = """
CREATE ROLE readers; CREATE ROLE admins; CREATE ROLE mid IN ROLE admins;
CREATE ROLE teslamate LOGIN PASSWORD 'x'; CREATE ROLE twc LOGIN PASSWORD 'x' IN ROLE readers;
CREATE ROLE deep LOGIN PASSWORD 'x' IN ROLE mid; CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'x';
CREATE ROLE "Mixed Case" LOGIN PASSWORD 'x'; CREATE ROLE "a,b" LOGIN PASSWORD 'x'; CREATE ROLE "all" LOGIN PASSWORD 'x';
SET password_encryption = 'md5'; CREATE ROLE grafana LOGIN PASSWORD 'x'; RESET password_encryption
"""


@pytest.fixture(scope="session", params=ALL_BINARIES, ids=lambda binaries: f"postgresql-{binaries.major}")
def hba_server(request: pytest.FixtureRequest) -> Iterator[HbaServer]:
    """One server of every major version at hand, with the roles of SET_UP."""
    settings = {"oauth_validator_libraries": "'any'"} if request.param.major >= 18 else {}
    with HbaServer(request.param, SET_UP, settings) as server:
        yield server
