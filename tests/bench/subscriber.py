"""One subscriber, counting to so many messages: `bare` is paho and nothing else, `tmsync` all that watch-mqtt does.

`python -m tests.bench.subscriber KIND PORT COUNT [MARK]` prints "ready" once it is subscribed, and at the end a line of
JSON: the seconds from the first message to the last, and the resident memory at MARK messages and at the end.
"""

import json
import sys
import threading
import time
from pathlib import Path

FIRST, LAST = 0, 1


class Count:
    """Counts, and takes the time and the memory."""

    def __init__(self, most: int, mark: int) -> None:
        self.most, self.mark = most, mark
        self.seen = 0
        self.times = [0.0, 0.0]
        self.memory = [0, 0]
        self.done = threading.Event()

    def __call__(self) -> None:
        self.seen += 1
        if self.seen == 1:
            self.times[FIRST] = time.perf_counter()
        elif self.seen == self.mark:
            self.memory[FIRST] = resident()
        elif self.seen == self.most:
            self.times[LAST] = time.perf_counter()
            self.memory[LAST] = resident()
            self.done.set()


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def bare(port: int, count: Count) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda *_: client.subscribe("teslamate/cars/+/+")
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = lambda *_: count()
    client.connect("127.0.0.1", port)
    client.loop_start()
    count.done.wait(300)
    client.disconnect()


def tmsync(port: int, count: Count) -> None:
    from tmsync.core.clock import SystemClock
    from tmsync.core.config.load import load_settings
    from tmsync.core.telemetry.monitor import TelemetryMonitor, rules_of
    from tmsync.render.watch import json_line

    environ = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(port), "HOME": "/nonexistent"}
    settings = load_settings(environ=environ)
    monitor = TelemetryMonitor(settings.mqtt(), rules_of(settings), SystemClock())
    take = monitor.fleet.message

    def counted(topic: str, payload: bytes, at: float, *, retained: bool) -> None:
        take(topic, payload, at, retained=retained)
        count()

    monitor.fleet.message = counted  # type: ignore[method-assign]
    with monitor, Path("/dev/null").open("w") as nowhere:
        monitor.wait_connected()
        time.sleep(0.3)
        print("ready", flush=True)
        for batch in monitor.batches(1.0):
            nowhere.writelines(json_line("source", change.as_json()) for change in batch.sources)
            nowhere.writelines(json_line("vehicle", view.as_json()) for view in batch.lines)
            if count.done.is_set():
                return


def main() -> None:
    kind, port, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    count = Count(most, int(sys.argv[4]) if len(sys.argv) > 4 else 10)
    {"bare": bare, "tmsync": tmsync}[kind](port, count)
    grown = count.memory[LAST] - count.memory[FIRST]
    print(json.dumps({"seconds": count.times[LAST] - count.times[FIRST], "grown_bytes": grown}), flush=True)


if __name__ == "__main__":
    main()
