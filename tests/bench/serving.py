"""One server of the comparison, in a process of its own: `bare`, `facade` or `forwarding`. Says its port, then serves.

bare: aiohttp's own server with a handler that returns the body on standard input. facade: tmsync's, with 20 cars that
are trusted. forwarding: the same without TeslaMate, before the server whose address is the second argument.
"""

import asyncio
import socket
import sys
import threading
from datetime import datetime

from aiohttp import web

from tests.serve.stage import CHARGING, ONLINE, Stage
from tests.support.tesla import VIN, Tesla
from tmsync.core.clock import SystemClock
from tmsync.core.serve.facade import Facade
from tmsync.core.serve.ports import FacadeOptions, Ports, Request
from tmsync.core.teslamate.topics import PARSERS

CARS = 20


class Surroundings(Stage):
    """Real time, and as many cars with as many values as a large household has."""

    def __init__(self, options: FacadeOptions, *, trusted: bool) -> None:
        self.clock = SystemClock()
        super().__init__(Tesla(), options)
        self.fleet.connected(self.clock.monotonic())
        cars = {
            number: self.record._replace(car_id=number, vin=f"{VIN[:-2]}{number:02d}", eid=1000 + number)
            for number in range(1, CARS + 1)
        }
        self.report = self.report._replace(cars=cars, read_at=self.monotonic())
        self.fleet.hear(self.report)
        numbers = [key for key, parser in PARSERS.items() if parser.__name__ == "_number"]
        for number in cars if trusted else ():
            values = {**dict.fromkeys(numbers, "1.5"), **(CHARGING if number == 1 else ONLINE), "healthy": "true"}
            for key, value in values.items():
                self.fleet.message(f"teslamate/cars/{number}/{key}", value.encode(), self.monotonic(), retained=False)

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def now(self) -> datetime:
        return self.clock.now()

    def answered(self, _request: Request) -> None:
        pass


async def serve(kind: str, upstream: str) -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    facade = None
    if kind == "bare":
        body = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))

        async def handler(_: web.BaseRequest) -> web.Response:
            return web.Response(body=body, headers={"Content-Type": "application/json"})

        await asyncio.get_running_loop().create_server(web.Server(handler, access_log=None), sock=sock)
    else:
        around = Surroundings(FacadeOptions(upstream=upstream), trusted=kind == "facade")
        facade = Facade(around.options, Ports(around, around, around, around, around, around, around.clock))
        await facade.start([sock])
    print(sock.getsockname()[1], flush=True)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(done.set)), daemon=True).start()
    await done.wait()
    if facade is not None:
        await facade.stop()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
