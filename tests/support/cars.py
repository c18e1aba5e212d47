"""A stand-in for Tesla's Fleet API with cars that obey commands: what reached it, with which token, in which order."""

import http.server
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

HOME = (50.0, 8.0)


class ApiCar(Protocol):
    """One car as Tesla's API shows it. number: its id there."""

    @property
    def vin(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    def summary(self) -> dict[str, Any]: ...
    def data(self) -> dict[str, Any]: ...
    def obey(self, command: str, body: dict[str, Any]) -> str:
        """Why it does not; empty where it does."""
        ...


@dataclass
class Car:
    """One that does nothing but obey."""

    vin: str
    name: str = "Blue"
    number: int = 1
    state: str = "online"
    charging_state: str = "Charging"
    battery_level: int = 60
    charge_limit_soc: int = 80
    shift_state: str | None = None
    scheduled: bool = False
    place: tuple[float, float] = HOME

    def summary(self) -> dict[str, Any]:
        return {"id": self.number, "vin": self.vin, "display_name": self.name, "state": self.state}

    def data(self) -> dict[str, Any]:
        charge = {
            "battery_level": self.battery_level,
            "charge_limit_soc": self.charge_limit_soc,
            "charging_state": self.charging_state,
            "time_to_full_charge": 1.5,
            "charger_pilot_current": 16,
            "charger_actual_current": 16 if self.charging_state == "Charging" else 0,
            "charger_phases": 1,
            "charger_voltage": 230,
            "scheduled_charging_pending": self.scheduled,
        }
        drive = {
            "latitude": self.place[0],
            "longitude": self.place[1],
            "gps_as_of": int(time.time()),
            "shift_state": self.shift_state,
        }
        named = {"vehicle_name": self.name}
        return {**self.summary(), "charge_state": charge, "drive_state": drive, "vehicle_state": named}

    def obey(self, command: str, body: dict[str, Any]) -> str:
        match command:
            case "charge_start":
                self.charging_state = "Charging"
            case "charge_stop":
                self.charging_state = "Stopped"
            case "set_charge_limit":
                self.charge_limit_soc = body["percent"]
            case "wake_up":
                self.state = "online"
        return ""


@dataclass
class Call:
    """One request. kind: list, state, vehicle_data, or a command's name."""

    kind: str
    vin: str
    token: str
    agent: str
    body: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)


Trouble = Callable[[http.server.BaseHTTPRequestHandler], bool]
"""Answers in place of the API; False leaves the answer to it."""


@dataclass
class Tesla:
    """The API. trouble: by kind of request, what happens in place of an answer. token: the only one it takes."""

    cars: Sequence[ApiCar]
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    trouble: dict[str, Trouble] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str | None = None
    _server: "Server | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, on the same port as before."""
        self._server = Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Take no connections any more, and break those that are there."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server = None

    def kinds(self) -> list[str]:
        with self.lock:
            return [call.kind for call in self.calls]

    def commands(self) -> list[tuple[str, str]]:
        with self.lock:
            return [(call.kind, call.vin) for call in self.calls if call.kind not in READS]

    def forget(self) -> None:
        with self.lock:
            self.calls.clear()

    def car(self, vin: str) -> ApiCar | None:
        return next((car for car in self.cars if vin in (car.vin, str(car.number))), None)


READS = ("list", "state", "vehicle_data")
PATH = re.compile(
    r"/api/1/vehicles(?:/(?P<vin>[A-Za-z0-9]+)(?:/(?P<what>vehicle_data|wake_up|command/(?P<command>\w+)))?)?"
)


def answers(status: int, document: Any = None, **headers: str) -> Trouble:
    """Trouble: this answer."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> bool:
        send(handler, status, document if document is not None else {"response": None, "error": "trouble"}, headers)
        return True

    return answer


def send(
    handler: http.server.BaseHTTPRequestHandler, status: int, document: Any, headers: dict[str, str] | None = None
) -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    for name, value in (headers or {}).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.answer(json.loads(self.rfile.read(length) or b"{}"))

    def answer(self, body: dict[str, Any]) -> None:
        api = self.server.api
        match = PATH.fullmatch(urlsplit(self.path).path)
        vin = match["vin"] or "" if match else ""
        kind = (match["command"] or match["what"] or ("state" if vin else "list")) if match else self.path
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        refused = api.token is not None and bearer != api.token
        with api.lock:
            # What is refused for its token reaches no car.
            what = "refused" if refused else kind
            api.calls.append(Call(what, vin, bearer, self.headers.get("User-Agent", ""), body))
            trouble = api.trouble.get(kind)
        if refused:
            send(self, 401, {"response": None, "error": "token expired (401)"})
        elif trouble is None or not trouble(self):
            self.give(kind, api.car(vin), body)

    def give(self, kind: str, car: ApiCar | None, body: dict[str, Any]) -> None:
        cars = self.server.api.cars
        if kind == "list":
            send(self, 200, {"response": [car.summary() for car in cars], "count": len(cars)})
        elif car is None:
            send(self, 404, {"response": None, "error": "not_found"})
        elif kind == "state":
            send(self, 200, {"response": car.summary()})
        elif car.state != "online" and kind != "wake_up":
            send(self, 408, {"response": None, "error": "vehicle unavailable: vehicle is offline or asleep"})
        elif kind == "vehicle_data":
            send(self, 200, {"response": car.data()})
        else:
            reason = car.obey(kind, body)
            result = car.summary() if kind == "wake_up" else {"result": not reason, "reason": reason}
            send(self, 200, {"response": result})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, api: Tesla) -> None:
        self.api = api
        self.held: set[socket.socket] = set()
        super().__init__(("127.0.0.1", api.port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.held.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.held.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        self.server_close()
        for sock in list(self.held):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def tesla(*cars: ApiCar) -> Iterator[Tesla]:
    """The API on a loopback port."""
    found = Tesla(cars)
    found.start()
    try:
        yield found
    finally:
        found.stop()
