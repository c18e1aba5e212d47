"""A stand-in for Tesla's API: it tells what is true of a simulated car, and counts how often it was asked."""

import http.server
import json
from collections.abc import Callable, Mapping
from typing import Final

from tmsync.demo.web import WebStandIn

Truth = Callable[[], Mapping[str, str | None]]
CHARGE: Final = {"charging_state": str, "battery_level": int, "charge_limit_soc": int}


class TeslaApi(WebStandIn):
    """Of one car; as a context manager it answers inside. truth: the car's values, as TeslaMate tells them."""

    def __init__(self, vin: str, truth: Truth) -> None:
        super().__init__()
        self.calls = 0
        self._vin = vin
        self._truth = truth

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        return _handler(self)

    def answer(self) -> bytes:
        """vehicle_data, as Tesla tells it."""
        self.calls += 1
        truth = self._truth()
        charge = {key: kind(truth[key]) for key, kind in CHARGE.items() if truth[key] is not None}
        place = {key: float(truth[key] or 0) for key in ("latitude", "longitude")}
        car = {"vin": self._vin, "display_name": truth["display_name"], "state": "online"}
        state = {**place, "shift_state": truth["shift_state"], "gps_as_of": 0}
        charge["time_to_full_charge"] = float(truth["time_to_full_charge"] or 0)
        return json.dumps({"response": {**car, "drive_state": state, "charge_state": charge}}).encode()


def _handler(api: TeslaApi) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            body = api.answer()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
