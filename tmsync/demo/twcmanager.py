"""A stand-in for TWCManager: a folder with its files, and a web control that takes tokens as the real one does.

Source: TWCManager lib/TWCManager/Control/HTTPControl.py (getStatus, getConfig, /settings/save and its 302 whatever
comes of it), lib/TWCManager/TWCMaster.py (saveSettings).
"""

import base64
import http.client
import http.server
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tmsync.demo.web import WebStandIn

BEARER: Final = "carApiBearerToken"
ASK_S: Final = 10.0
SETTINGS: Final = {
    BEARER: "",
    "carApiRefreshToken": "",
    "carApiTokenExpireTime": 0,
    "chargeNowAmps": 32,
    "scheduledAmpsMax": 16,
    "Vehicles": {},
}
STATUS: Final = {"carsCharging": 1, "chargerLoadWatts": "7360.00", "currentPolicy": "Track Green Energy"}
MAX_BODY_BYTES: Final = 64 * 1024


class StandIn(WebStandIn):
    """A TWCManager in `folder`; as a context manager its web control answers on a free loopback port inside.

    proxy: where it sends its calls to Tesla's API.
    """

    def __init__(self, folder: Path, proxy: str) -> None:
        super().__init__()
        self.config_file = folder / "config.json"
        self.settings_file = folder / "settings.json"
        self.config: dict[str, Any] = {
            "config": {"settingsPath": str(folder), "teslaProxy": proxy},
            "control": {"HTTP": {"enabled": True, "listenPort": self.port}},
            "vehicle": {"TeslaMate": {"enabled": False}},
        }
        self._memory: dict[str, Any] = dict(SETTINGS)
        _write_private(self.config_file, json.dumps(self.config, indent=2))
        _write_private(self.settings_file, json.dumps(self._memory))

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        return _handler(self)

    def ask(self, vin: str) -> tuple[str, str]:
        """What Tesla's API says of a car, asked as TWCManager does by way of its teslaProxy; and who answered.

        Raises: OSError while nobody answers.
        """
        address = urlsplit(self.config["config"]["teslaProxy"])
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=ASK_S)
        try:
            target = f"/api/1/vehicles/{vin}/vehicle_data?endpoints=location_data%3Bcharge_state%3Bdrive_state"
            connection.request("GET", target, headers={"Authorization": f"Bearer {self._memory[BEARER]}"})
            answer = connection.getresponse()
            document, source = json.loads(answer.read()), answer.headers["X-Tmsync-Source"]
        except http.client.HTTPException as error:
            raise OSError from error
        finally:
            connection.close()
        if answer.status != 200:
            return f"HTTP status {answer.status}", source
        charge, drive = document["response"]["charge_state"], document["response"]["drive_state"]
        moves = ", on the road" if drive.get("shift_state") else ""
        return f"{charge['charging_state']} at {charge['battery_level']} %{moves}", source

    def take(self, form: dict[str, str]) -> None:
        """Settings that were posted: applied at once, and saved."""
        self._memory.update(form)
        if form.get(BEARER):
            self._memory["carApiTokenExpireTime"] = _expiry(form[BEARER])
        temporary = self.settings_file.with_name("settings.json.tmp")
        _write_private(temporary, json.dumps(self._memory))
        self.settings_file.rename(self.settings_file.with_name("settings.json.backup"))
        temporary.rename(self.settings_file)


def _handler(twc: StandIn) -> type[http.server.BaseHTTPRequestHandler]:
    pages = {"/api/getStatus": STATUS, "/api/getConfig": twc.config}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing: what is posted is secret."""

        def do_GET(self) -> None:
            known = pages.get(self.path)
            self._send(404 if known is None else 200, json.dumps(known or {}).encode())

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES)
            form = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
            if self.path == "/settings/save":
                twc.take({key: values[0] for key, values in form.items()})
            self._send(302, b"", Location="/")

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _expiry(token: str) -> int:
    """The token's own `exp`, which TWCManager goes by."""
    payload = token.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
