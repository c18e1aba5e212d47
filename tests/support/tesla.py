"""A stand-in for Tesla's API on loopback: it notes every request, and answers as it is told, down to the byte."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.support.listeners import listener

VIN = "5YJ3E1EA7KF000001"
EID = 1492931337000001
CAR = {
    "id": EID,
    "vehicle_id": 4711,
    "vin": VIN,
    "display_name": "Blue",
    "state": "online",
    "tokens": ["stream-secret"],
}
DATA = {
    **CAR,
    "drive_state": {"latitude": 1.0, "longitude": 2.0, "gps_as_of": 1764000000, "shift_state": None},
    "charge_state": {
        "charging_state": "Stopped", "battery_level": 50, "charge_limit_soc": 90, "time_to_full_charge": 0.0,
        "scheduled_charging_pending": True,
    },
}  # fmt: skip


class Call(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def what(self) -> str:
        """`POST charge_stop`, `GET vehicle_data`."""
        return f"{self.method} {self.target.partition('?')[0].rpartition('/')[2]}"


def reply(status: int, document: Any, headers: str = "") -> bytes:
    """A whole answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    kind = "" if "content-type" in headers.lower() else "Content-Type: application/json\r\n"
    return f"HTTP/1.1 {status} Said\r\n{kind}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


Answer = bytes | Callable[[socket.socket], None]


class Tesla:
    """says: what is answered instead of the usual, by `Call.what`; a list is used up one by one."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: list[Call] = []
        self.says: dict[str, Answer | list[Answer]] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        return [call.what for call in self.calls]

    def serve(self, sock: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (data := sock.recv(65536)):
                    return
                buffer += data
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            line, *rows = head.decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
            length = int(headers.get("content-length", "0"))
            while len(buffer) < length:
                buffer += sock.recv(65536)
            body, buffer = buffer[:length], buffer[length:]
            method, target, _ = line.split(" ")
            call = Call(method, target, headers, body)
            with self.lock:
                self.calls.append(call)
                said = self.says.get(call.what, self._usual(call))
                answer = said if not isinstance(said, list) else said.pop(0) if said else self._usual(call)
            if callable(answer):
                answer(sock)
                sock.close()
                return
            sock.sendall(answer)
            if headers.get("connection") == "close":
                return

    def _usual(self, call: Call) -> bytes:
        if call.method == "POST":
            return reply(200, {"response": {"result": True, "reason": ""}})
        last = call.target.partition("?")[0].rpartition("/")[2]
        if last in ("vehicles", "products"):
            return reply(200, {"response": [CAR], "count": 1})
        return reply(200, {"response": DATA if last == "vehicle_data" else CAR})


def reset(sock: socket.socket) -> None:
    """Break off the hard way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextmanager
def tesla() -> Iterator[Tesla]:
    found = Tesla()
    with listener(found.serve) as port:
        found.port = port
        yield found
