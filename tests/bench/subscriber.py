"""One subscriber, counting to so many messages: `bare` is paho and nothing else, `tmsync` all that watch-mqtt does,
`publishing` what serve does that publishes, and `judging` the same but for the publishing.

`python -m tests.bench.subscriber KIND PORT COUNT [MARK]` prints "ready" once it is subscribed, and at the end a line of
JSON: the seconds from the first message to the last; from message MARK on the processor's time for each, and by
how much the resident memory grew.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tmsync.core.config.settings import Settings
    from tmsync.core.telemetry.monitor import TelemetryMonitor

FIRST, LAST = 0, 1
STALLED_S = 3.0


class Count:
    """Counts, and takes the time and the memory."""

    def __init__(self, most: int, mark: int) -> None:
        self.most, self.mark = most, mark
        self.seen = 0
        self.times = [0.0, 0.0]
        self.memory = [0, 0]
        self.cpu = [0.0, 0.0]
        self.done = threading.Event()

    def __call__(self) -> None:
        self.seen += 1
        if self.seen == 1:
            self.times[FIRST] = time.perf_counter()
        elif self.seen == self.mark:
            self.memory[FIRST], self.cpu[FIRST] = resident(), time.process_time()
        elif self.seen == self.most:
            self.end()

    def end(self) -> None:
        self.times[LAST] = time.perf_counter()
        self.memory[LAST], self.cpu[LAST] = resident(), time.process_time()
        self.done.set()

    @property
    def cpu_per_message(self) -> float:
        return (self.cpu[LAST] - self.cpu[FIRST]) / max(self.seen - self.mark, 1)


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


def settings_for(port: int, **environ: str) -> "Settings":
    from tmsync.core.config.load import load_settings

    known = {"TMSYNC_MQTT_HOST": "127.0.0.1", "TMSYNC_MQTT_PORT": str(port), "HOME": "/nonexistent"}
    return load_settings(environ=known | environ)


@contextmanager
def monitoring(settings: "Settings", count: Count) -> Iterator["TelemetryMonitor"]:
    """Subscribed, and counting."""
    from tmsync.core.clock import SystemClock
    from tmsync.core.telemetry.monitor import TelemetryMonitor, rules_of

    monitor = TelemetryMonitor(settings.mqtt(), rules_of(settings), SystemClock())
    take = monitor.fleet.message

    def counted(topic: str, payload: bytes, at: float, *, retained: bool) -> None:
        take(topic, payload, at, retained=retained)
        count()

    monitor.fleet.message = counted  # type: ignore[method-assign]
    with monitor:
        monitor.wait_connected()
        time.sleep(0.3)
        print("ready", flush=True)
        yield monitor


def tmsync(port: int, count: Count) -> None:
    from tmsync.render.watch import json_line

    with monitoring(settings_for(port), count) as monitor, Path("/dev/null").open("w") as nowhere:
        for batch in monitor.batches(1.0):
            nowhere.writelines(json_line("source", change.as_json()) for change in batch.sources)
            nowhere.writelines(json_line("vehicle", view.as_json()) for view in batch.lines)
            if count.done.is_set():
                return


def judging(port: int, count: Count, *, publishes: bool = False, values: bool = False) -> None:
    from tmsync.core.clock import Instant, SystemClock
    from tmsync.core.publish.publisher import Publisher
    from tmsync.core.publish.topics import State
    from tmsync.core.serve.service import LOOK_EVERY_S

    with tempfile.TemporaryDirectory() as folder:
        environ = {"TMSYNC_SERVE_STATE_DIR": folder, "TMSYNC_PUBLISH_VALUES": str(values).lower()}
        settings, clock = settings_for(port, **environ), SystemClock()
        publisher = Publisher(settings, clock, lambda _: None)
        if publishes:
            publisher.start()
        at, seen, came_at = 0.0, 0, 0.0
        with monitoring(settings, count) as monitor:
            for batch in monitor.batches(1.0):
                # Mosquitto drops what a subscriber that cannot keep up leaves waiting: then the last one never comes.
                if count.seen == seen > 0 and batch.now.running - came_at > STALLED_S:
                    count.end()
                elif count.seen != seen:
                    seen, came_at = count.seen, batch.now.running
                # By the processor's time: a busy machine slows the intake, and would have it published more often.
                if publishes and time.process_time() - at >= LOOK_EVERY_S:
                    at = time.process_time()
                    views = monitor.fleet.views(Instant.of(clock))
                    publisher.update(State(monitor.fleet.namespace, views, settled=True))
                if count.done.is_set():
                    break
        publisher.stop()


def main() -> None:
    kind, port, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    count = Count(most, int(sys.argv[4]) if len(sys.argv) > 4 else 10)
    kinds: dict[str, Callable[[int, Count], None]] = {
        "bare": bare,
        "tmsync": tmsync,
        "judging": judging,
        "publishing": partial(judging, publishes=True),
        "publishing values": partial(judging, publishes=True, values=True),
    }
    kinds[kind](port, count)
    found = {
        "seconds": count.times[LAST] - count.times[FIRST],
        "cpu_per_message": count.cpu_per_message,
        "grown_bytes": count.memory[LAST] - count.memory[FIRST],
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
