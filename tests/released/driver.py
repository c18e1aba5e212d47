"""Runs in TWCManager's own interpreter, before TWCManager itself.

Its clock runs faster then, and what it is to do comes from standard input.

Arguments: how many times faster, and where it tells what TWCManager believes. A line of input is a background task of
TWCManager's, as its policies queue them; a line `look` writes what it believes of its vehicles.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

SPEED = float(sys.argv[1])
TOLD = Path(sys.argv[2])
BELIEFS = ("name", "VIN", "atHome", "batteryLevel", "chargeLimit", "chargingState", "syncSource", "lat", "lon")

real_isfile = os.path.isfile
# The configuration of this machine's own TWCManager, which names Tesla's real API, is not what a test runs on.
os.path.isfile = lambda path: not str(path).startswith("/etc/twcmanager/") and real_isfile(path)
begun, real_time, real_sleep = time.time(), time.time, time.sleep
time.time = lambda: begun + (real_time() - begun) * SPEED
time.sleep = lambda seconds: real_sleep(max(seconds, 0) / SPEED)


def master() -> object | None:
    return getattr(sys.modules.get("TWCManager.TWCManager"), "master", None)


def obey() -> None:
    for line in sys.stdin:
        if line.strip() == "look":
            vehicles = master().getModuleByName("TeslaAPI").getCarApiVehicles()
            found = [{name: getattr(vehicle, name, None) for name in BELIEFS} for vehicle in vehicles]
            with TOLD.open("a") as told:
                told.write(json.dumps(found) + "\n")
        else:
            master().queue_background_task(json.loads(line))


threading.Thread(target=obey, daemon=True).start()
