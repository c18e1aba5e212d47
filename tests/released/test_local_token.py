"""A token of tmsync's own in the hands of TWCManager itself: taken, sent to serve alone, and never to Tesla."""

import json
import os
from pathlib import Path

import pytest

from tests.released.program import Program, tesla
from tests.released.test_facade import PYTHON, VERSIONS, Facade, eventually
from tests.support.surroundings import TeslaMate, tmsync
from tmsync.demo.server import free_port


@pytest.mark.parametrize("lib", VERSIONS, ids=lambda lib: "master" if lib else "1.3.2")
@pytest.mark.parametrize("delivered", ["while it runs", "while it is stopped"])
def test_local_token_is_used_at_serve_and_tesla_gets_teslamates(
    tmp_path: Path, teslamate: TeslaMate, lib: str, delivered: str
) -> None:
    folder, port = tmp_path / "twcmanager", free_port()
    folder.mkdir(mode=0o750)
    program = Program(PYTHON, folder, port, lib=lib)
    program.settings.write_text(json.dumps({"carApiBearerToken": "", "carApiRefreshToken": ""}))
    with tesla() as api:
        environ = teslamate.environ(
            PATH=os.environ["PATH"],
            HOME=str(tmp_path),
            TMSYNC_TWCMANAGER_TOKEN="local",
            TMSYNC_TWCMANAGER_CONFIG_FILE=str(program.config),
            TMSYNC_SERVE_LISTEN=f"127.0.0.1:{port}",
            TMSYNC_SERVE_UPSTREAM=f"http://127.0.0.1:{api.port}",
            TMSYNC_SERVE_STATE_DIR=str(tmp_path / "state"),
        )
        facade = Facade(environ, tmp_path / "serve.log")
        try:
            if delivered == "while it runs":
                program.start()
            facade.start()
            eventually(lambda: _held(program).count(".") == 2, "no local token is delivered")
            if delivered != "while it runs":
                program.start()
            eventually(lambda: api.tokens, "TWCManager asks nothing")
            local = _held(program)
            for _ in range(2):
                assert set(api.tokens) == {teslamate.access}
                # What was written is pushed, too: nothing tells whether it was started after that.
                assert tmsync("sync-tokens", "--json", environ=environ).json["result"] in ("unchanged", "pushed")
                status = tmsync("status", "--json", environ=environ).json
                assert status["tokens"]["in_sync"]
                assert [one["cause"] for one in status["problems"] if one["part"] in ("facade", "twcmanager")] == []
                assert status["facade"]["forwarded"] > 0
                # It keeps the token through a restart, and through a save of its own.
                program.stop()
                api.tokens.clear()
                program.start()
                eventually(lambda: api.tokens, "TWCManager asks nothing after a restart")
            assert _held(program) == local
        finally:
            program.stop()
            facade.stop()
    told = (tmp_path / "serve.log").read_text()
    assert local not in told
    assert teslamate.access not in told


def _held(program: Program) -> str:
    return str(json.loads(program.settings.read_text()).get("carApiBearerToken", ""))
